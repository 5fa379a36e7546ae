/** What the live stream tells, as the pages read it. Each is as it was last told, also while the server is away. */

import { signal } from "@preact/signals";
import type { Client, Job, JobEvent, LogLine, Rounds } from "../api/bodies.ts";
import { type Buffer, empty, merged } from "../model/buffer.ts";
import { type ActorsUpdate, Tree } from "../model/tree.ts";
import { keyed } from "./keyed.ts";

export const jobKey = (job: { namespace: string; id: string }): string => `${job.namespace}/${job.id}`;

export const jobs = keyed<Job>(jobKey);
export const rounds = keyed<Rounds>(jobKey);
export const clients = keyed<Client>((client) => client.id);

/** A tree changes in place; a new object around it says so. */
export const actors = signal<{ tree: Tree } | null>(null);

export function applyActors(update: ActorsUpdate): void {
  const tree = update.full ? new Tree() : (actors.value?.tree ?? new Tree());
  tree.apply(update);
  actors.value = { tree };
}

/** Kept of events and of log lines. */
const MOST = 5000;

/** A line's number over all lives of the server that were seen: each life counts its lines from 1. */
export type NumberedLine = LogLine & { number: number };

export const events = signal<Buffer<JobEvent>>(empty);
export const logs = signal<Buffer<NumberedLine>>(empty);

let life = 0;

export function serverRestarted(): void {
  life++;
}

export function addEvents(more: JobEvent[]): void {
  events.value = merged(events.value, more, (event) => event.id, MOST);
}

export function addLogs(more: LogLine[]): void {
  const numbered = more.map((line) => ({ ...line, number: life * 1e9 + line.seq }));
  logs.value = merged(logs.value, numbered, (line) => line.number, MOST);
}
