/** What was stored before one looked, put before what the live stream brings. */

import { useEffect, useState } from "preact/hooks";
import type { JobEvent, LogLine } from "../api/bodies.ts";
import { get, path, query, sentence } from "../api/http.ts";
import { empty } from "../model/buffer.ts";
import { addEvents, addLogs, events, logs } from "./state.ts";

const NEWEST = 1000;

export interface History {
  ready: boolean;
  problem: string;
}

type Filter = Record<string, string>;

export function useEventHistory(filter: Filter): History {
  return useHistory(
    filter,
    async (url) => {
      const { events: newest } = await get<{ events: JobEvent[] }>(path("events") + url);
      return () => addEvents(newest);
    },
    () => {
      events.value = empty;
    },
  );
}

export function useLogHistory(filter: Filter): History {
  return useHistory(
    filter,
    async (url) => {
      const { logs: newest } = await get<{ logs: LogLine[] }>(path("logs") + url);
      return () => addLogs(newest);
    },
    () => {
      logs.value = empty;
    },
  );
}

function useHistory(filter: Filter, load: (url: string) => Promise<() => void>, clear: () => void): History {
  const [history, setHistory] = useState<History>({ ready: false, problem: "" });
  useEffect(() => {
    let over = false;
    clear();
    load(query({ ...filter, newest: true, limit: NEWEST })).then(
      (put) => {
        if (over) return;
        put();
        setHistory({ ready: true, problem: "" });
      },
      (error: unknown) => !over && setHistory({ ready: true, problem: sentence(error) }),
    );
    return () => {
      over = true;
    };
  }, [JSON.stringify(filter)]);
  return history;
}

const PAUSE_MS = 250;

/** A value once it has stayed the same for a moment: what is typed is not asked for letter by letter. */
export function useSettled<T>(value: T): T {
  const [settled, settle] = useState(value);
  const text = JSON.stringify(value);
  useEffect(() => {
    const timer = setTimeout(() => settle(value), PAUSE_MS);
    return () => clearTimeout(timer);
  }, [text]);
  return settled;
}
