/** A stream of server-sent events that comes again by itself. Fetch and timers are given, so that tests own the time. */

import { type ServerEvent, SseParser } from "./sse.ts";

export type Following =
  | { is: "opening" }
  | { is: "open" }
  /** Since when there is no stream, and when the next try is. */
  | { is: "lost"; since: number; next: number };

export interface FollowOptions {
  /** Asks for the stream, to begin after the event with this id. */
  open(after: string, signal: AbortSignal): Promise<Response>;
  on(event: ServerEvent): void;
  state(state: Following): void;
  /** What no further try changes, such as that a token is needed. */
  refused(status: number): void;
  clock: Clock;
}

export interface Clock {
  now(): number;
  /** 0 to 1. */
  random(): number;
  after(ms: number, then: () => void): () => void;
}

export const clock: Clock = {
  now: () => Date.now(),
  random: () => Math.random(),
  after: (ms, then) => {
    const timer = setTimeout(then, ms);
    return () => clearTimeout(timer);
  },
};

const FIRST_WAIT = 250;
const LONGEST_WAIT = 5000;
/** The server writes at least a comment every 15 s. */
const SILENCE = 40_000;

export interface Follower {
  /** Tries at once if it is waiting for the next try. */
  now(): void;
  close(): void;
}

export function follow(options: FollowOptions): Follower {
  const { clock } = options;
  let closed = false;
  let after = "";
  let tries = 0;
  let since: number | null = null;
  let isOpen = false;
  let cancelWait: (() => void) | null = null;
  let abort = new AbortController();

  const lost = () => {
    if (closed) return;
    isOpen = false;
    since ??= clock.now();
    const most = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** tries++);
    const wait = Math.round(most * (0.5 + clock.random() / 2));
    options.state({ is: "lost", since, next: clock.now() + wait });
    cancelWait = clock.after(wait, attempt);
  };

  const attempt = async () => {
    cancelWait = null;
    abort = new AbortController();
    let cancelSilence = () => {};
    const heard = () => {
      cancelSilence();
      cancelSilence = clock.after(SILENCE, () => abort.abort());
    };
    heard();
    try {
      const answer = await options.open(after, abort.signal);
      if (closed) return;
      if (answer.status >= 400 && answer.status < 500) {
        closed = true;
        options.refused(answer.status);
        return;
      }
      if (!answer.ok || answer.body === null) return lost();
      const [reader, text, parser] = [answer.body.getReader(), new TextDecoder(), new SseParser()];
      for (;;) {
        const { done, value } = await reader.read();
        if (closed || done) break;
        heard();
        if (!isOpen) options.state({ is: "open" });
        [isOpen, since, tries] = [true, null, 0];
        for (const event of parser.push(text.decode(value, { stream: true }))) {
          after = event.id || after;
          options.on(event);
        }
      }
      lost();
    } catch {
      lost();
    } finally {
      cancelSilence();
    }
  };

  options.state({ is: "opening" });
  void attempt();
  return {
    now() {
      if (cancelWait === null) return;
      cancelWait();
      void attempt();
    },
    close() {
      closed = true;
      cancelWait?.();
      abort.abort();
    },
  };
}
