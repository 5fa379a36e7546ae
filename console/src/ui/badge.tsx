/** A state as sign and word. One table says how each state of the system looks. */

import { Glyph, type Sign } from "./glyph.tsx";

export type Tone = "ok" | "busy" | "warn" | "bad" | "calm";

const LOOKS: Record<string, [Tone, Sign]> = {
  // actors
  running: ["ok", "disc"],
  starting: ["busy", "half"],
  restarting: ["warn", "turn"],
  stopped: ["calm", "square"],
  unresponsive: ["bad", "triangle"],
  // jobs
  QUEUING: ["calm", "clock"],
  PENDING: ["warn", "clock"],
  STARTING: ["busy", "half"],
  RUNNING: ["busy", "disc"],
  STOPPING: ["busy", "half"],
  STOPPED: ["calm", "square"],
  FINISHED: ["ok", "check"],
  FAILED: ["bad", "cross"],
  DELETING: ["calm", "half"],
  // rounds and members
  open: ["busy", "disc"],
  complete: ["ok", "check"],
  failed: ["bad", "cross"],
  invited: ["calm", "clock"],
  started: ["busy", "disc"],
  accepted: ["ok", "check"],
  refused: ["bad", "cross"],
  straggler: ["warn", "clock"],
  // clients
  online: ["ok", "disc"],
  cordoned: ["warn", "bar"],
  lost: ["bad", "away"],
  removed: ["calm", "dash"],
  // log levels
  ERROR: ["bad", "cross"],
  WARN: ["warn", "triangle"],
  INFO: ["calm", "dash"],
  DEBUG: ["calm", "ring"],
  TRACE: ["calm", "ring"],
};

export function Badge({ state, text }: { state: string; text?: string }) {
  const [tone, sign] = LOOKS[state] ?? ["calm", "ring"];
  return (
    <span className={`badge tone-${tone}`}>
      <Glyph of={sign} />
      {text ?? state.toLowerCase()}
    </span>
  );
}
