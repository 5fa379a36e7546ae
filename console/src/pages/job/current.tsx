/** The round at work: whom it waits for, until when, and where each client is. */

import type { Job, Round, Rounds } from "../../api/bodies.ts";
import { age, count, duration, instant, metric, plural } from "../../model/format.ts";
import { newest, STAGES, type Stage, type Step, timeline } from "../../model/timeline.ts";
import { link } from "../../route.ts";
import { now } from "../../stores/time.ts";
import { Badge } from "../../ui/badge.tsx";
import { Glyph } from "../../ui/glyph.tsx";
import { type Column, Grid } from "../../ui/grid.tsx";

export function Current({ job, run }: { job: Job; run: Rounds }) {
  const { current } = run;
  if (current === null) return null;
  const attempt = newest(run.rounds, current.round);
  const steps = timeline(current, attempt);
  const [open, needed] = [attempt?.state === "open", job.hyper_parameters?.threshold_client_num ?? 1];
  return (
    <section className="current" aria-label="Current round">
      <header>
        <h2>
          {open ? "Round" : "Last round"} {current.round}
          {job.hyper_parameters?.max_round_num !== undefined && (
            <span className="faint"> of {job.hyper_parameters.max_round_num}</span>
          )}
        </h2>
        {attempt && <Badge state={attempt.state} text={`${attempt.kind}, ${attempt.state}`} />}
        {attempt !== undefined && attempt.attempt > 1 && <span className="tag">attempt {attempt.attempt}</span>}
        <span className="faint">{attempt && span(attempt)}</span>
      </header>
      {attempt?.reason && <p className="remark">{attempt.reason}</p>}
      {open && <Waits steps={steps} deadline={current.deadline} needed={needed} />}
      <Grid
        compact
        label="Clients of the round"
        columns={COLUMNS}
        rows={steps}
        id={(step) => step.client}
        empty={<p className="empty">No client is in it.</p>}
      />
    </section>
  );
}

function span({ opened, closed }: Round): string {
  const end = closed === null ? now.value : Date.parse(closed);
  return `${closed === null ? "for" : "took"} ${closed === null ? age(end - Date.parse(opened)) : duration(end - Date.parse(opened))}`;
}

interface WaitsProps {
  steps: Step[];
  deadline: string | null;
  needed: number;
}

/** Names as long as they can be read at a glance. */
const NAMES = 6;

function Waits({ steps, deadline, needed }: WaitsProps) {
  const awaited = steps.filter((step) => step.ended === null);
  const accepted = steps.filter((step) => step.ended === "accepted").length;
  const left = deadline === null ? null : Date.parse(deadline) - now.value;
  return (
    <p className="waits">
      <Glyph of="clock" />
      <span>
        {awaited.length === 0 ? (
          "All have answered; the next model is made."
        ) : (
          <>
            Waits for{" "}
            <b>
              {awaited.slice(0, NAMES).map((step, index) => (
                <Awaits key={step.client} step={step} first={index === 0} />
              ))}
            </b>
            {awaited.length > NAMES && ` and ${count(awaited.length - NAMES)} more`}
            {deadline !== null && left !== null && (
              <>
                {" until "}
                <b>{instant(deadline, now.value)}</b> ({left > 0 ? `${age(left)} left` : "due"})
              </>
            )}
            .
          </>
        )}{" "}
        {count(accepted)} of {plural(steps.length, "client")} accepted,{" "}
        {accepted >= needed ? "enough to complete it" : `${count(needed)} are needed`}.
      </span>
    </p>
  );
}

function Awaits({ step, first }: { step: Step; first: boolean }) {
  return (
    <>
      {!first && ", "}
      {step.client}
      {step.away && " (away)"}
    </>
  );
}

const COLUMNS: Column<Step>[] = [
  {
    id: "client",
    title: "Client",
    width: "minmax(90px, 1fr)",
    cell: ({ client }) => <a href={link(["clients"], { client })}>{client}</a>,
  },
  {
    id: "stages",
    title: STAGES.join(" · "),
    width: "minmax(120px, 2.4fr)",
    cell: (step) => <Stages of={step} />,
  },
  { id: "state", title: "Is", width: "minmax(96px, 120px)", cell: (step) => <Is of={step} /> },
  {
    id: "says",
    from: 640,
    title: "Says",
    width: "minmax(80px, 1.6fr)",
    cell: ({ progress, member }) =>
      member.reason ||
      [
        progress?.message,
        ...Object.entries(progress?.metrics ?? member.metrics).map(([name, value]) => `${name} ${metric(value)}`),
      ]
        .filter(Boolean)
        .join(" · "),
  },
  {
    id: "since",
    from: 560,
    title: "Since",
    width: "72px",
    end: true,
    cell: ({ member }) => age(now.value - Date.parse(member.at)),
  },
];

function Is({ of: { stage, ended, away } }: { of: Step }) {
  if (ended !== null) return <Badge state={ended} />;
  return away ? (
    <Badge state="lost" text="away" />
  ) : (
    <Badge state={stage === "training" ? "started" : "invited"} text={stage} />
  );
}

/** The first by the clock, the others by how long after it. */
function moment(stage: Stage, times: Step["times"]): string {
  const [at, first] = [times[stage], times.selected];
  if (at === undefined) return "";
  return stage === "selected" || first === undefined
    ? instant(at, now.value)
    : `+${duration(Date.parse(at) - Date.parse(first))}`;
}

const when = (stage: Stage, times: Step["times"]): string =>
  stage === "selected" ? `selected ${moment(stage, times)}` : `${stage} ${moment(stage, times).replace("+", "after ")}`;

/** Five steps in a row: those done are full, the one at work shows how far it is. */
function Stages({ of: { stage, ended, done, times } }: { of: Step }) {
  const at = STAGES.indexOf(stage);
  const far = stage === "training" && done !== null ? `, ${Math.round(done * 100)} %` : "";
  const text = [`${ended ?? stage}${far}`, ...STAGES.flatMap((name) => (times[name] ? when(name, times) : []))].join(
    "; ",
  );
  return (
    <span className={`stages ${ended === null ? "" : `ended-${ended}`}`} role="img" aria-label={text}>
      {STAGES.map((name, index) => (
        <span key={name} className={index < at || ended === "accepted" ? "past" : index === at ? "here" : ""}>
          {index === at && ended === null && name === "training" && <span style={{ width: `${(done ?? 0) * 100}%` }} />}
        </span>
      ))}
      {stage === "training" && done !== null && ended === null ? <b>{Math.round(done * 100)} %</b> : <b />}
      {STAGES.map((name) => (
        <small key={name} data-stage={name}>
          {moment(name, times)}
        </small>
      ))}
    </span>
  );
}
