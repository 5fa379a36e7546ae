/** What an operator has to see to: of an actor, of a client. Words, so that colour is never the only sign. */

import type { Actor, Client } from "../api/bodies.ts";
import { duration } from "./format.ts";

/** A message older than this waits too long, a handler that runs longer is slow. */
const SLOW_MS = 1000;
/** A failure is news for so long. */
const RECENT_MS = 10 * 60_000;

export function troubles(actor: Actor, now = Date.now()): string[] {
  const found: string[] = [];
  const { mailbox, handler, failure } = actor;
  if (actor.state !== "running") found.push(actor.state);
  if (mailbox.depth * 2 > mailbox.capacity && mailbox.capacity > 0) found.push("mailbox half full");
  if (mailbox.oldest_ms > SLOW_MS) found.push(`message waits ${duration(mailbox.oldest_ms)}`);
  if ((handler.current_ms ?? 0) > SLOW_MS) found.push(`in its handler for ${duration(handler.current_ms ?? 0)}`);
  if (failure?.at && now - Date.parse(failure.at) < RECENT_MS) found.push("failed lately");
  return found;
}

export type Health = "online" | "cordoned" | "lost" | "removed";

export function health(client: Client): Health {
  return client.state === "online" && client.cordoned ? "cordoned" : client.state;
}
