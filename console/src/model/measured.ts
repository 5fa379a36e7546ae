/** What the rounds of a run measured, as series over the rounds. Pure. */

import type { Member, Round, RoundDetail, TaskKind } from "../api/bodies.ts";

export interface Measures {
  rounds: number[];
  /** Metric name to a value a round, by kind. */
  of: Map<string, Partial<Record<TaskKind, (number | null)[]>>>;
  seconds: (number | null)[];
  bytes: (number | null)[];
  accepted: (number | null)[];
}

/** What a job is judged by. */
export const MAIN = ["accuracy", "loss"];

/** Of complete attempts. Accuracy and loss come first, then the others by name. */
export function measures(rounds: readonly Round[]): Measures {
  const complete = rounds.filter((round) => round.state === "complete");
  const numbers = [...new Set(complete.map((round) => round.round))].sort((a, b) => a - b);
  const at = new Map(numbers.map((round, index) => [round, index]));
  const blank = () => numbers.map((): number | null => null);
  const found: Measures["of"] = new Map();
  const [seconds, bytes, accepted] = [blank(), blank(), blank()];
  for (const round of complete) {
    const index = at.get(round.round) ?? 0;
    for (const [name, value] of Object.entries(round.metrics)) {
      const kinds = found.get(name) ?? {};
      const values = kinds[round.kind] ?? blank();
      values[index] = value;
      found.set(name, { ...kinds, [round.kind]: values });
    }
    if (round.kind !== "train") continue;
    if (round.closed !== null) seconds[index] = (Date.parse(round.closed) - Date.parse(round.opened)) / 1000;
    bytes[index] = round.model?.bytes ?? null;
    accepted[index] = round.accepted;
  }
  const rank = (name: string) => (MAIN.includes(name) ? MAIN.indexOf(name) : MAIN.length);
  const names = [...found.keys()].sort((a, b) => rank(a) - rank(b) || a.localeCompare(b));
  return { rounds: numbers, of: new Map(names.map((name) => [name, found.get(name) ?? {}])), seconds, bytes, accepted };
}

export interface ClientSeries {
  client: string;
  values: (number | null)[];
}

/** One metric of each client over these rounds, and how long each took to answer. */
export function perClient(
  details: readonly { round: number; detail: RoundDetail }[],
  kind: TaskKind,
  metric: string,
): ClientSeries[] {
  const series = new Map<string, (number | null)[]>();
  details.forEach(({ detail }, index) => {
    for (const member of detail.members) {
      if (member.kind !== kind || member.state !== "accepted") continue;
      const values = series.get(member.client) ?? details.map(() => null);
      const own = OWN[metric];
      values[index] = own ? own(member, detail) : (member.metrics[metric] ?? null);
      series.set(member.client, values);
    }
  });
  return [...series].map(([client, values]) => ({ client, values })).sort((a, b) => a.client.localeCompare(b.client));
}

/** Beside what clients measure: what the server knows of their way. */
export const OWN: Record<string, (member: Member, detail: RoundDetail) => number | null> = {
  "time to answer": (member, { attempts }) => {
    const attempt = attempts.find((of) => of.attempt === member.attempt && of.kind === member.kind);
    return seconds(attempt?.opened, member.at);
  },
  "time in training": (member) => seconds(member.started, member.uploading ?? member.at),
  "time to bring it": (member) => seconds(member.uploading, member.at),
  "bytes brought": (member) => member.bytes ?? null,
};

function seconds(from: string | undefined, to: string): number | null {
  return from === undefined ? null : (Date.parse(to) - Date.parse(from)) / 1000;
}
