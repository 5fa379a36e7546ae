/** What failed in this run, the newest first, each with its traceback. */

import { useEffect, useState } from "preact/hooks";
import type { Job, Rounds, TaskFailure } from "../../api/bodies.ts";
import { get, path, sentence } from "../../api/http.ts";
import { instant } from "../../model/format.ts";
import { link } from "../../route.ts";
import { now } from "../../stores/time.ts";
import { Badge } from "../../ui/badge.tsx";
import { Button, Empty } from "../../ui/controls.tsx";
import { Problem } from "../../ui/dialog.tsx";
import { CauseText } from "./cause.tsx";
import { useDetails } from "./details.ts";

/** Of the same round and client there may be several, in several attempts. */
const key = (of: TaskFailure): string => `${of.round}.${of.kind}.${of.attempt}.${of.client}`;

export function Failures({ job, run }: { job: Job; run: Rounds | null }) {
  const [failures, setFailures] = useState<TaskFailure[] | null>(null);
  const [problem, setProblem] = useState("");
  // whenever somebody failed or a round closed
  const version =
    run &&
    `${run.rounds.length} ${run.current?.members.filter(({ state }) => state === "failed" || state === "refused").length}`;
  useEffect(() => {
    let over = false;
    get<Job>(path("namespaces", job.namespace, "jobs", job.id)).then(
      (known) => !over && setFailures(known.failures ?? []),
      (error: unknown) => !over && setProblem(sentence(error)),
    );
    return () => {
      over = true;
    };
  }, [job.namespace, job.id, job.run, job.status.state, version]);
  if (problem) return <Problem>{problem}</Problem>;
  if (failures === null) return <Empty>Asking for them…</Empty>;
  if (failures.length === 0) return <Empty>Nothing has failed in this run.</Empty>;
  return (
    <ol className="failures" aria-label="Failures, the newest first">
      {failures.map((failure, index) => (
        <Failure key={key(failure)} job={job} of={failure} first={index === 0} />
      ))}
    </ol>
  );
}

function Failure({ job, of, first }: { job: Job; of: TaskFailure; first: boolean }) {
  const known = Boolean(of.exit || of.limit || of.last);
  const [open, setOpen] = useState(first && known);
  return (
    <li className="failure">
      <header>
        <Badge state={of.state} />
        <b>
          <a href={link(["clients"], { client: of.client })}>{of.client}</a>
        </b>
        <span>
          round {of.round}, {of.kind}
          {of.attempt > 1 && `, attempt ${of.attempt}`}
        </span>
        {of.code && <code>{of.code}</code>}
        <time className="faint">{instant(of.at, now.value)}</time>
        {known && (
          <Button kind="quiet" sign={open ? "down" : "right"} pressed={open} onClick={() => setOpen(!open)}>
            Cause
          </Button>
        )}
      </header>
      <p>{of.reason}</p>
      {of.last && !open && <p className="mono">{of.last}</p>}
      {open && <FailureCause job={job} of={of} />}
    </li>
  );
}

function FailureCause({ job, of }: { job: Job; of: TaskFailure }) {
  const details = useDetails(job, [of.round], of.at);
  const member = details.of[0]?.detail.members.find(
    ({ client, kind, attempt }) => client === of.client && kind === of.kind && attempt === of.attempt,
  );
  if (details.problem) return <Problem>{details.problem}</Problem>;
  if (details.asking) return <p className="empty">Asking for it…</p>;
  return member?.cause ? <CauseText of={member.cause} /> : <p className="faint">No more is known of it.</p>;
}
