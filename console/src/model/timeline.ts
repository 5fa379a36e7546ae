/** Where each client of the current round is, on its way from being selected to being accepted. */

import type { Awaited, CurrentRound, Member, Round } from "../api/bodies.ts";

export const STAGES = ["selected", "sent", "training", "uploading", "accepted"] as const;
export type Stage = (typeof STAGES)[number];

export interface Step {
  client: string;
  member: Member;
  /** How far it has come. */
  stage: Stage;
  /** It will come no further in this attempt. */
  ended: "accepted" | "refused" | "failed" | "straggler" | null;
  /** Its link is down. */
  away: boolean;
  /** When it came to each stage, as far as that is known. */
  times: Partial<Record<Stage, string>>;
  /** Of its training, 0 to 1, if known. */
  done: number | null;
  progress: Awaited | null;
}

const ENDED = new Set(["accepted", "refused", "failed", "straggler"]);

/** Of the attempt that is open or was the last; those who are awaited first, the least advanced before the others. */
export function timeline(current: CurrentRound, attempt: Round | undefined): Step[] {
  const [awaited, away] = [new Set(current.awaited), new Set(current.away)];
  const progress = new Map(current.progress.map((told) => [told.client, told]));
  const ours = ({ attempt: of, kind }: Member) =>
    attempt === undefined || (of === attempt.attempt && kind === attempt.kind);
  const steps = current.members.filter(ours).map((member): Step => {
    const told = progress.get(member.client) ?? null;
    const ended = ENDED.has(member.state) ? (member.state as Step["ended"]) : null;
    const gone = away.has(member.client);
    const done = told?.done ?? null;
    const [at, times] = [stage(member, gone, told), timesOf(member, told, attempt)];
    return { client: member.client, member, stage: at, ended, times, away: gone, done, progress: told };
  });
  const order = (step: Step) => (step.ended === null ? 0 : step.ended === "accepted" ? 2 : 1);
  const far = (step: Step) => STAGES.indexOf(step.stage) + (step.done ?? 0);
  return steps
    .filter((step) => step.ended !== null || awaited.size === 0 || awaited.has(step.client))
    .sort((a, b) => order(a) - order(b) || far(a) - far(b) || a.client.localeCompare(b.client));
}

function timesOf(member: Member, told: Awaited | null, attempt: Round | undefined): Step["times"] {
  const [uploading, accepted] = [member.uploading ?? told?.uploading, member.state === "accepted" ? member.at : null];
  return {
    ...(attempt && { selected: attempt.opened }),
    ...(member.sent && { sent: member.sent }),
    ...(member.started && { training: member.started }),
    ...(uploading && { uploading }),
    ...(accepted && { accepted }),
  };
}

/** A member that failed has come as far as it said last. */
function stage(member: Member, away: boolean, told: Awaited | null): Stage {
  if (member.state === "accepted") return "accepted";
  if (member.state === "refused" || member.uploading || told?.uploading) return "uploading";
  if (member.state === "started" || member.state === "failed" || told !== null) return "training";
  return away ? "selected" : "sent";
}

/** The attempt the current round is in: the open one, else the newest. */
export function newest(rounds: Round[], round: number): Round | undefined {
  const attempts = rounds.filter((of) => of.round === round);
  return attempts.find((of) => of.state === "open") ?? attempts.at(-1);
}
