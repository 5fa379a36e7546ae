/** Rounds in full, asked for when they are looked at. One that is over never changes and is kept. */

import { useEffect, useState } from "preact/hooks";
import type { Job, Round, RoundDetail } from "../../api/bodies.ts";
import { get, path, sentence } from "../../api/http.ts";

const kept = new Map<string, RoundDetail>();
const MOST_KEPT = 200;

export interface Details {
  of: { round: number; detail: RoundDetail }[];
  problem: string;
  asking: boolean;
}

/** Of these rounds, in their order; `version` says when the open one has changed. */
export function useDetails(job: Job, rounds: readonly number[], version: unknown): Details {
  const [details, setDetails] = useState<Details>({ of: [], problem: "", asking: true });
  useEffect(() => {
    let over = false;
    Promise.all(rounds.map(async (round) => ({ round, detail: await detail(job, round) }))).then(
      (of) => !over && setDetails({ of, problem: "", asking: false }),
      (error: unknown) => !over && setDetails((before) => ({ ...before, problem: sentence(error), asking: false })),
    );
    return () => {
      over = true;
    };
  }, [job.namespace, job.id, job.run, rounds.join(), version]);
  return details;
}

async function detail({ namespace, id, run, create_time }: Job, round: number): Promise<RoundDetail> {
  const key = `${namespace}/${id} ${create_time} ${run} ${round}`;
  const known = kept.get(key);
  if (known !== undefined) return known;
  const asked = await get<RoundDetail>(path("namespaces", namespace, "jobs", id, "rounds", String(round)));
  if (asked.run === run && asked.attempts.every(isOver) && asked.attempts.some(({ state }) => state === "complete"))
    keep(key, asked);
  return asked;
}

const isOver = ({ state }: Round): boolean => state !== "open";

function keep(key: string, detail: RoundDetail): void {
  kept.set(key, detail);
  const oldest = kept.keys().next();
  if (kept.size > MOST_KEPT && !oldest.done) kept.delete(oldest.value);
}
