/** A world as large as one likes: a tree of actors, clients, a job at work. Made by counting, so always the same. */

import type { ActorRow, Client, CurrentRound, Job, Member, Round } from "../../src/api/bodies.ts";

const T0 = Date.now() - 3_600_000;
export const time = (seconds: number): string => new Date(T0 + seconds * 1000).toISOString();

function actor(path: string, kind: string, parent: string | null, depth: number, number: number): ActorRow {
  const handled = (number * 37) % 5000;
  return {
    path,
    kind,
    parent,
    depth,
    state: "running",
    restarts: number % 97 === 0 ? 1 : 0,
    started: time(number % 600),
    mailbox: {
      depth: number % 11 === 0 ? number % 7 : 0,
      capacity: 1024,
      high_water: number % 60,
      waiting: 0,
      oldest_ms: 0,
    },
    handled,
    rate: (number % 50) / 10,
    busy_us: handled * 120,
    handler: { last_us: 80, longest_us: 2400, slow: 0, current_ms: null },
    dead_letters: 0,
    rejected: 0,
    unanswered: 0,
    restarted: [],
    last_error: null,
    failure: null,
  };
}

/** A server with this many actors: sessions of clients, and jobs with four actors each. */
export function actors(count: number): ActorRow[] {
  const rows: ActorRow[] = [];
  const add = (path: string, kind: string, parent: string | null, depth: number) => {
    if (rows.length < count) rows.push(actor(path, kind, parent, depth, rows.length));
  };
  add("server", "supervisor", null, 0);
  add("selector", "selector", "server", 1);
  add("core", "supervisor", "server", 1);
  add("scheduler", "scheduler", "core", 2);
  add("jobs", "supervisor", "core", 2);
  const sessions = Math.floor(count / 2);
  for (let job = 0; rows.length < count - sessions - 3; job++) {
    const of = `jobs/default/job-${String(job).padStart(4, "0")}`;
    add(of, "supervisor", "jobs", 3);
    for (const part of ["aggregator", "extender", "coordinator"]) add(`${of}/${part}`, part, of, 4);
  }
  add("gateway", "supervisor", "server", 1);
  add("sessions", "supervisor", "gateway", 2);
  for (let client = 0; rows.length < count; client++) add(`sessions/${name(client)}`, "session", "sessions", 3);
  return rows;
}

export const name = (client: number): string => `site-${String(client).padStart(4, "0")}`;

export function clients(count: number): Client[] {
  return Array.from({ length: count }, (_, number) => ({
    id: name(number),
    address: `10.0.${number >> 8}.${number & 255}`,
    os: "linux",
    version: "0.1.0",
    runtimes: number % 3 === 0 ? ["builtin", "pytorch"] : ["builtin"],
    label: number % 5 === 0 ? "north" : "",
    state: number % 40 === 7 ? "lost" : "online",
    max_tasks: 4,
    current_tasks: number % 3,
    resource: { worker_num: 64, cpu: 8, gpu: number % 2, memory_mb: 32000 },
    datasets: { digits: 400 + number },
    registered: time(number),
    last_seen: time(3590),
    cordoned: number % 90 === 3,
    mark: number % 90 === 3 ? { by: "ada", at: time(1200), reason: "disk is being changed" } : null,
    observable: number % 4 === 0,
    session: number + 1,
    link: {
      connected: true,
      rtt_us: 400 + number * 13,
      bytes_in: number * 9000,
      bytes_out: number * 22_000,
      frames_in: number,
      frames_out: number,
      reconnects: number % 4,
      sessions_lost: 0,
      outbox_messages: 0,
      queued_bytes: 0,
    },
  }));
}

export function jobs(count: number): Job[] {
  return Array.from({ length: count }, (_, number) => ({
    id: `job-${String(number).padStart(4, "0")}`,
    namespace: "default",
    description: "made for a test",
    runtime: "builtin",
    task_entry: "classifier",
    output: "out",
    hyper_parameters: { max_round_num: 20, client_num: 4, threshold_client_num: 3 },
    create_time: time(number),
    start_time: time(number + 5),
    run: 1,
    status:
      number === 0 ? { state: "RUNNING", reason: "", progress: 40 } : { state: "FINISHED", reason: "", progress: 100 },
    checkpoints: { "V1-5": { accuracy: 0.91, path: "out/checkpoint_5.safetensors" } },
    author: "ada",
  }));
}

/** A round that waits for most of its clients. */
export function round(members: number): { rounds: Round[]; current: CurrentRound } {
  const opened = time(3590);
  const of = (client: number): Member => ({
    client: name(client),
    attempt: 1,
    kind: "train",
    state: client % 3 === 0 ? "accepted" : "started",
    metrics: {},
    reason: "",
    at: time(3595),
  });
  const all = Array.from({ length: members }, (_, client) => of(client));
  const awaited = all.filter(({ state }) => state === "started").map(({ client }) => client);
  const progress = awaited.map((client, index) => ({
    client,
    done: (index % 10) / 10,
    message: "epoch 2",
    metrics: { loss: 0.4 },
    at: time(3598),
  }));
  const open: Round = {
    round: 9,
    attempt: 1,
    kind: "train",
    state: "open",
    reason: "",
    opened,
    closed: null,
    cohort: members,
    accepted: members - awaited.length,
    metrics: {},
    model: null,
  };
  return {
    rounds: [open],
    current: { round: 9, awaited, away: awaited.slice(0, 3), progress, deadline: time(4200), members: all },
  };
}
