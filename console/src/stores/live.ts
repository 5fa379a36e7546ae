/** The one stream that is open while somebody looks: what the page shown is interested in, and whether the server is there. */

import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { Client, Hello, Job, JobEvent, LogLine, Rounds } from "../api/bodies.ts";
import { clock, type Follower, type Following, follow } from "../api/follow.ts";
import { path, query } from "../api/http.ts";
import { needToken } from "../api/session.ts";
import type { ServerEvent } from "../api/sse.ts";
import type { ActorsUpdate } from "../model/tree.ts";
import { addEvents, addLogs, applyActors, clients, jobKey, jobs, rounds, serverRestarted } from "./state.ts";
import { serverTime } from "./time.ts";

export type Topic = "jobs" | "rounds" | "clients" | "actors" | "events" | "logs";

export interface Interest {
  topics: Topic[];
  job?: string | undefined;
  client?: string | undefined;
  actor?: string | undefined;
  level?: string | undefined;
}

export const following = signal<Following>({ is: "opening" });
export const hello = signal<Hello | null>(null);
/** What the server could not send fast enough, by topic. */
export const missed = signal<Record<string, number>>({});

/** A page nobody looks at costs the server nothing after so long. */
const UNSEEN = 30_000;

/** Keeps the stream open with what a page shows, for as long as it is shown. */
export function useLive(interest: Interest, enabled = true): void {
  const wanted = JSON.stringify(interest);
  useEffect(() => (enabled ? open(interest) : undefined), [wanted, enabled]);
}

function open(interest: Interest): () => void {
  const { topics, ...filter } = interest;
  const url = path("live") + query({ topics: topics.join(","), ...filter });
  let follower: Follower | null = null;
  let cancelUnseen = () => {};
  const start = () => {
    follower ??= follow({
      clock,
      open: (after, signal) => {
        const headers: Record<string, string> = { Accept: "text/event-stream" };
        if (after !== "") headers["Last-Event-ID"] = after;
        return fetch(url, { signal, headers, cache: "no-store" });
      },
      on: dispatch,
      state: told,
      refused: (status) => {
        if (status === 401) needToken("The token is not valid any more.");
      },
    });
  };
  const look = () => {
    cancelUnseen();
    if (document.visibilityState === "visible") {
      start();
      follower?.now();
    } else {
      cancelUnseen = clock.after(UNSEEN, () => {
        follower?.close();
        follower = null;
      });
    }
  };
  const online = () => follower?.now();
  start();
  document.addEventListener("visibilitychange", look);
  window.addEventListener("online", online);
  return () => {
    document.removeEventListener("visibilitychange", look);
    window.removeEventListener("online", online);
    cancelUnseen();
    follower?.close();
  };
}

/** Another page's stream does not make a lost server be there. */
function told(state: Following): void {
  if (state.is === "opening" && following.value.is === "lost") return;
  if (state.is === "lost" && following.value.is === "lost") {
    following.value = { ...state, since: Math.min(state.since, following.value.since) };
    return;
  }
  following.value = state;
}

const HANDLERS: Record<string, (data: never) => void> = {
  hello: (told: Hello) => {
    serverTime(told.now);
    if (hello.value !== null && hello.value.boot !== told.boot) serverRestarted();
    hello.value = told;
    missed.value = {};
  },
  jobs: ({ full, jobs: changed, gone }: { full: boolean; jobs: Job[]; gone: { namespace: string; id: string }[] }) =>
    jobs.apply(full, changed, gone.map(jobKey)),
  rounds: (told: Rounds) => rounds.apply(false, [told], []),
  clients: ({ full, clients: changed, gone }: { full: boolean; clients: Client[]; gone: string[] }) =>
    clients.apply(full, changed, gone),
  actors: (update: ActorsUpdate) => applyActors(update),
  event: (event: JobEvent) => addEvents([event]),
  log: (line: LogLine) => addLogs([line]),
  lost: ({ topic, count }: { topic: string; count: number }) => {
    missed.value = { ...missed.value, [topic]: (missed.value[topic] ?? 0) + count };
  },
};

function dispatch({ event, data }: ServerEvent): void {
  HANDLERS[event]?.(JSON.parse(data) as never);
}
