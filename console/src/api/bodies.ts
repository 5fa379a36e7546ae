/** The bodies of the server's interface, as far as the pages read them. What a server adds is not looked at. */

/** RFC 3339, UTC, with milliseconds. */
export type Time = string;
export type Measured = Record<string, number | null>;
export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
export type Fields = Record<string, Json>;

export type ActorState = "starting" | "running" | "restarting" | "stopped" | "unresponsive";

export interface Actor {
  path: string;
  kind: string;
  state: ActorState;
  restarts: number;
  started: Time | null;
  mailbox: { depth: number; capacity: number; high_water: number; waiting: number; oldest_ms: number };
  handled: number;
  rate: number;
  busy_us: number;
  handler: { last_us: number; longest_us: number; slow: number; current_ms: number | null };
  dead_letters: number;
  rejected: number;
  unanswered: number;
  restarted: { at: Time; cause: string | null }[];
  last_error: string | null;
  failure: { message: string; causes: string[]; at: Time | null } | null;
}

/** With what it tells of itself and the actors below it. */
export interface ActorTree extends Actor {
  detail: Json;
  children: ActorTree[];
}

/** As the live stream brings it. */
export interface ActorRow extends Actor {
  parent: string | null;
  depth: number;
}

export interface Traced {
  at: Time;
  message: string;
  from: "mailbox" | "own";
  waited_us: number | null;
  handled_us: number;
  ok: boolean;
}

export type JobState =
  | "QUEUING"
  | "PENDING"
  | "STARTING"
  | "RUNNING"
  | "STOPPING"
  | "STOPPED"
  | "FINISHED"
  | "FAILED"
  | "DELETING";

export interface HyperParameters {
  max_round_num?: number;
  client_num?: number;
  threshold_client_num?: number;
  evaluate_interval?: number;
  save_interval?: number;
  round_timeout?: number;
  learning_rate?: number;
  close_at_threshold?: boolean;
}

/** As users write it. */
export interface JobDocument {
  id?: string;
  description?: string;
  runtime?: string;
  task_entry?: string;
  scripts?: { path: string; config_file: string };
  model_path?: string;
  checkpoint_id?: string;
  datasets?: string | string[];
  clients?: string | string[];
  output?: string;
  hyper_parameters?: HyperParameters;
  resource?: { worker_num?: number; cpu?: number; gpu?: number; memory?: number };
  aggregator?: { name: string; params?: Fields };
  optimizer?: Fields;
  parameters?: Fields;
  priority?: number;
  [other: string]: unknown;
}

/** What the server sets beside the document. */
export const SET_BY_SERVER = [
  "namespace",
  "create_time",
  "start_time",
  "run",
  "status",
  "checkpoints",
  "author",
  "awaited",
  "failures",
] as const;

export interface Job extends JobDocument {
  id: string;
  namespace: string;
  create_time: Time;
  start_time: Time | null;
  run: number;
  status: { state: JobState; reason: string; progress: number };
  checkpoints: Record<string, { accuracy: number | null; path: string }>;
  author?: string;
  failures?: TaskFailure[];
}

export interface Cause {
  exit?: string | null;
  limit?: string | null;
  traceback?: string | null;
  log?: string;
  worker?: number | null;
}

export type TaskKind = "train" | "evaluate";

export interface Round {
  round: number;
  attempt: number;
  kind: TaskKind;
  state: "open" | "complete" | "failed";
  reason: string;
  opened: Time;
  closed: Time | null;
  cohort: number;
  accepted: number;
  metrics: Measured;
  model: { sha256: string; bytes: number } | null;
  cause?: Cause | null;
}

export type MemberState = "invited" | "started" | "accepted" | "refused" | "failed" | "straggler";

export interface Member {
  client: string;
  attempt: number;
  kind: TaskKind;
  state: MemberState;
  metrics: Measured;
  code?: string | null;
  reason: string;
  cause?: Cause | null;
  sent?: Time;
  started?: Time;
  uploading?: Time;
  /** Of its update, once accepted. */
  bytes?: number;
  at: Time;
}

export interface TaskFailure {
  round: number;
  attempt: number;
  kind: TaskKind;
  client: string;
  state: MemberState;
  code?: string | null;
  reason: string;
  exit?: string | null;
  limit?: string | null;
  last?: string | null;
  at: Time;
}

export interface Awaited {
  client: string;
  done: number | null;
  message: string;
  metrics: Measured;
  at: Time | null;
  uploading?: Time;
}

export interface CurrentRound {
  round: number;
  awaited: string[];
  away: string[];
  progress: Awaited[];
  deadline: Time | null;
  members: Member[];
}

export interface Rounds {
  namespace: string;
  id: string;
  run: number;
  rounds: Round[];
  current: CurrentRound | null;
}

export interface RoundDetail {
  run: number;
  attempts: Round[];
  members: Member[];
}

export interface Resource {
  worker_num: number;
  cpu: number;
  gpu: number;
  memory_mb: number;
}

export interface ClientTask {
  job: string;
  run: number;
  round: number;
  attempt: number;
  kind: TaskKind;
  state: string;
  at: Time;
  done: number | null;
  message: string;
}

export interface Client {
  id: string;
  address: string;
  os: string;
  version: string;
  runtimes: string[];
  label: string;
  state: "online" | "lost" | "removed";
  max_tasks: number;
  current_tasks: number;
  resource: Resource;
  datasets: Record<string, number>;
  registered: Time;
  last_seen: Time;
  cordoned: boolean;
  mark: { by: string; at: Time; reason: string } | null;
  observable: boolean;
  session: number | null;
  link: Link | null;
  tasks?: ClientTask[];
}

export interface Link {
  connected: boolean;
  /** 0 before the first answer. */
  rtt_us: number;
  bytes_in: number;
  bytes_out: number;
  frames_in: number;
  frames_out: number;
  reconnects: number;
  sessions_lost: number;
  outbox_messages: number;
  queued_bytes: number;
}

export interface JobEvent {
  id: number;
  at: Time;
  job: string | null;
  kind: string;
  fields: Fields;
}

export interface Progress {
  at: Time;
  job: string;
  kind: string;
  fields: { round: number; attempt: number; kind: TaskKind; client: string } & Omit<Awaited, "client" | "at">;
}

export interface LogLine {
  seq: number;
  at: Time;
  level: "ERROR" | "WARN" | "INFO" | "DEBUG" | "TRACE";
  target: string;
  message: string;
  fields: Fields;
}

export interface Hello {
  version: string;
  boot: Time;
  now: Time;
  name: string;
  role: string;
}
