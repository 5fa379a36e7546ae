/** The server's time, every second while somebody looks. Ages and countdowns are told by it, not by this machine's clock. */

import { signal } from "@preact/signals";

let ahead = 0;
export const now = signal(Date.now());

/** The server has said what time it is. */
export function serverTime(at: string): void {
  const then = Date.parse(at);
  if (Number.isNaN(then)) return;
  ahead = then - Date.now();
  tick();
}

function tick(): void {
  now.value = Date.now() + ahead;
}

export function startClock(): void {
  setInterval(() => {
    if (document.visibilityState === "visible") tick();
  }, 1000);
  document.addEventListener("visibilitychange", tick);
}
