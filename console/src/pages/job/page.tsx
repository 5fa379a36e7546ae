/** *One job*: how far it is, whom it waits for and until when, what it measured, what failed, what it made. */

import type { ComponentChildren } from "preact";
import type { Job, Rounds } from "../../api/bodies.ts";
import { may } from "../../api/session.ts";
import { age, instant } from "../../model/format.ts";
import { link, refine, route } from "../../route.ts";
import { useEventHistory } from "../../stores/history.ts";
import { useLive } from "../../stores/live.ts";
import { jobs, rounds } from "../../stores/state.ts";
import { now } from "../../stores/time.ts";
import { Badge } from "../../ui/badge.tsx";
import { Button, Empty, Facts, Meter } from "../../ui/controls.tsx";
import { Problem } from "../../ui/dialog.tsx";
import { Glyph } from "../../ui/glyph.tsx";
import { Tabs } from "../../ui/tabs.tsx";
import { EventList } from "../events/events.tsx";
import { removeJob, startable, startJob, stopJob, stoppable } from "../jobs/operations.ts";
import { Checkpoints } from "./checkpoints.tsx";
import { Clients } from "./clients.tsx";
import { Current } from "./current.tsx";
import { Document } from "./document.tsx";
import { Failures } from "./failures.tsx";
import { Measured } from "./measured.tsx";
import { RoundList } from "./rounds.tsx";

export function JobPage() {
  const { parts, query } = route.value;
  const [, namespace = "", id = ""] = parts;
  const key = `${namespace}/${id}`;
  useLive({ topics: ["jobs", "rounds", "events"], job: key });
  const history = useEventHistory({ job: key });
  const known = jobs.all.value;
  const job = known?.get(key);
  const run = rounds.all.value?.get(key) ?? null;
  if (job === undefined) {
    return (
      <section className="page">
        <h1>{id}</h1>
        <Empty>
          {known === null ? "Asking for the job…" : `There is no job ${id} in namespace ${namespace} (any more).`}
        </Empty>
      </section>
    );
  }
  const views: [string, string, ComponentChildren][] = [
    ["", "Now", <Now key="now" job={job} run={run} />],
    ["rounds", "Rounds", <RoundList key="rounds" job={job} run={run} />],
    ["clients", "Clients", <Clients key="clients" job={job} run={run} />],
    ["failures", "Failures", <Failures key="failures" job={job} run={run} />],
    [
      "checkpoints",
      counted("Checkpoints", Object.keys(job.checkpoints).length),
      <Checkpoints key="checkpoints" job={job} />,
    ],
    ["events", "Events", <EventList key="events" history={history} find={query.find ?? ""} follows one />],
    ["document", "Document", <Document key="document" job={job} />],
  ];
  const view = views.find(([tab]) => tab === (query.tab ?? "")) ?? views[0];
  return (
    <section className="page job">
      <Head job={job} />
      <Tabs
        label="Views of the job"
        tabs={views.map(([tab, title]) => [tab, title] as const)}
        current={query.tab ?? ""}
        onChoose={(tab) => refine({ tab, round: undefined })}
      />
      <div className="view" role="tabpanel" aria-label={view?.[1] ?? ""}>
        {view?.[2]}
      </div>
    </section>
  );
}

const counted = (title: string, number: number): string => (number === 0 ? title : `${title} ${number}`);

function Head({ job }: { job: Job }) {
  const { state, reason, progress } = job.status;
  return (
    <>
      <div className="bar">
        <h1>
          <a href={link(["jobs"])} className="crumb">
            Jobs
          </a>
          <span aria-hidden="true"> / </span>
          {job.namespace !== "default" && <span className="faint">{job.namespace} / </span>}
          {job.id}
        </h1>
        <Badge state={state} />
        <span className="progress wide">
          <Meter
            part={progress / 100}
            label={`${progress} % of its rounds`}
            tone={state === "FAILED" ? "bad" : state === "FINISHED" ? "ok" : "busy"}
          />
          <span>{progress} %</span>
        </span>
        <span className="grow" />
        {may("operator") && (
          <>
            {startable(state) && (
              <Button sign="play" kind="primary" onClick={() => startJob(job)}>
                Start again
              </Button>
            )}
            {stoppable(state) && (
              <Button sign="square" onClick={() => stopJob(job)}>
                Stop
              </Button>
            )}
            <a className="button" href={link(["jobs", "new"], { like: `${job.namespace}/${job.id}` })}>
              <Glyph of="plus" />
              Another like it
            </a>
            {state !== "DELETING" && (
              <Button sign="close" onClick={() => removeJob(job)}>
                Delete
              </Button>
            )}
          </>
        )}
      </div>
      {reason && (state === "FAILED" ? <Problem>{reason}</Problem> : <p className="remark">{reason}</p>)}
      <Facts
        of={[
          ["about", job.description],
          ["run", job.run],
          ["runtime", [job.runtime, job.task_entry].filter(Boolean).join(", ")],
          ["by", job.author],
          ["created", instant(job.create_time, now.value)],
          [
            "started",
            job.start_time &&
              `${instant(job.start_time, now.value)} (${age(now.value - Date.parse(job.start_time))} ago)`,
          ],
        ]}
      />
    </>
  );
}

function Now({ job, run }: { job: Job; run: Rounds | null }) {
  if (run === null || run.rounds.length === 0) return <Empty>{waits(job)}</Empty>;
  return (
    <>
      <Current job={job} run={run} />
      <Measured job={job} run={run} />
    </>
  );
}

function waits({ status: { state, reason } }: Job): string {
  if (reason) return reason;
  if (state === "QUEUING") return "It waits for its turn.";
  if (state === "PENDING") return "It waits for the clients it asks for.";
  return "No round has begun yet.";
}
