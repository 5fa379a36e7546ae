/** *Jobs*: all of them, and the way to a new one. */

import { useMemo } from "preact/hooks";
import type { Job } from "../../api/bodies.ts";
import { may } from "../../api/session.ts";
import { instant, metric, plural } from "../../model/format.ts";
import { go, link, refine, route } from "../../route.ts";
import { useLive } from "../../stores/live.ts";
import { jobKey, jobs } from "../../stores/state.ts";
import { now } from "../../stores/time.ts";
import { Badge } from "../../ui/badge.tsx";
import { Choice, Empty, Meter, Search } from "../../ui/controls.tsx";
import { Glyph } from "../../ui/glyph.tsx";
import { type Column, Grid } from "../../ui/grid.tsx";

const STATES = ["RUNNING", "QUEUING", "PENDING", "STARTING", "STOPPING", "STOPPED", "FINISHED", "FAILED", "DELETING"];

const by =
  <T,>(of: (job: Job) => T) =>
  (a: Job, b: Job) =>
    of(a) < of(b) ? -1 : of(a) > of(b) ? 1 : a.id.localeCompare(b.id);

const COLUMNS: Column<Job>[] = [
  {
    id: "id",
    title: "Job",
    width: "minmax(130px, 1.2fr)",
    sort: by(({ id }) => id),
    cell: (job) => (
      <a className="strong" href={link(["jobs", job.namespace, job.id])}>
        {job.id}
      </a>
    ),
  },
  {
    id: "namespace",
    from: 1100,
    title: "Namespace",
    width: "100px",
    sort: by((job) => job.namespace),
    cell: (job) => job.namespace,
  },
  {
    id: "state",
    title: "State",
    width: "108px",
    sort: by((job) => STATES.indexOf(job.status.state)),
    cell: (job) => <Badge state={job.status.state} />,
  },
  {
    id: "progress",
    title: "Progress",
    width: "minmax(84px, 130px)",
    sort: by((job) => job.status.progress),
    cell: (job) => <Progress of={job} />,
  },
  {
    id: "accuracy",
    from: 480,
    title: "Accuracy",
    width: "92px",
    end: true,
    sort: by((job) => accuracy(job) ?? -1),
    cell: (job) => metric(accuracy(job)),
  },
  {
    id: "reason",
    from: 940,
    title: "About",
    width: "minmax(120px, 2fr)",
    cell: (job) => (
      <span title={job.status.reason}>{job.status.reason || <span className="faint">{job.description}</span>}</span>
    ),
  },
  {
    id: "runtime",
    from: 760,
    title: "Runtime",
    width: "90px",
    sort: by((job) => job.runtime ?? ""),
    cell: (job) => job.runtime,
  },
  { id: "run", from: 700, title: "Run", width: "44px", end: true, cell: (job) => job.run },
  {
    id: "author",
    from: 840,
    title: "By",
    width: "96px",
    sort: by((job) => job.author ?? ""),
    cell: (job) => job.author,
  },
  {
    id: "created",
    from: 560,
    title: "Created",
    width: "136px",
    end: true,
    sort: by((job) => job.create_time),
    cell: (job) => instant(job.create_time, now.value),
  },
];

/** Of the newest checkpoint that has one. */
function accuracy(job: Job): number | null {
  const order = (id: string) => Number(id.slice(id.lastIndexOf("-") + 1));
  const run = Object.entries(job.checkpoints).filter(([id]) => id.startsWith(`V${job.run}-`));
  const known = run.filter(([, { accuracy }]) => accuracy !== null).sort(([a], [b]) => order(b) - order(a));
  return known[0]?.[1].accuracy ?? null;
}

const tone = (state: string) => (state === "FAILED" ? "bad" : state === "FINISHED" ? "ok" : "busy");

function Progress({ of: { status } }: { of: Job }) {
  return (
    <span className="progress">
      <Meter part={status.progress / 100} label={`${status.progress} % of its rounds`} tone={tone(status.state)} />
      <span>{status.progress} %</span>
    </span>
  );
}

export function JobsPage() {
  useLive({ topics: ["jobs"] });
  const { query } = route.value;
  const [find, state, namespace] = [query.find ?? "", query.state ?? "", query.namespace ?? ""];
  const all = jobs.all.value;
  const rows = useMemo(
    () => matching([...(all?.values() ?? [])], find, state, namespace),
    [all, find, state, namespace],
  );
  const namespaces = [...new Set([...(all?.values() ?? [])].map((job) => job.namespace))].sort();
  const submit = may("operator") && (
    <a className="button primary" href={link(["jobs", "new"])}>
      <Glyph of="plus" />
      Submit a job
    </a>
  );
  return (
    <section className="page">
      <div className="bar">
        <h1>Jobs</h1>
        <Search
          label="Find a job"
          hint="Find by id, description, author"
          value={find}
          onInput={(find) => refine({ find })}
        />
        <Choice
          label="State"
          value={state}
          options={[["", "any state"], ...STATES.map((state) => [state, state.toLowerCase()] as const)]}
          onChange={(state) => refine({ state })}
        />
        {namespaces.length > 1 && (
          <Choice
            label="Namespace"
            value={namespace}
            options={[["", "all namespaces"], ...namespaces.map((of) => [of, of] as const)]}
            onChange={(namespace) => refine({ namespace })}
          />
        )}
        <span className="grow" />
        {submit}
      </div>
      {(find || state || namespace) && (
        <p className="sums">
          <span role="status">{plural(rows.length, "match", "matches")}</span>
        </p>
      )}
      <Grid
        label="Jobs"
        columns={COLUMNS}
        rows={rows}
        id={jobKey}
        onOpen={(job) => go(link(["jobs", job.namespace, job.id]))}
        empty={
          <Empty>
            {all === null ? "Asking for the jobs…" : all.size > 0 ? "No job is like that." : "There is no job yet."}{" "}
            {all?.size === 0 && submit}
          </Empty>
        }
      />
    </section>
  );
}

/** Those at work first, then the newest. */
function matching(all: Job[], find: string, state: string, namespace: string): Job[] {
  const words = find
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== "");
  const text = (job: Job) =>
    `${job.id} ${job.description ?? ""} ${job.author ?? ""} ${job.runtime ?? ""}`.toLowerCase();
  const rests = (job: Job) => ["STOPPED", "FINISHED", "FAILED"].includes(job.status.state);
  return all
    .filter((job) => (state === "" || job.status.state === state) && (namespace === "" || job.namespace === namespace))
    .filter((job) => words.every((word) => text(job).includes(word)))
    .sort((a, b) => Number(rests(a)) - Number(rests(b)) || (a.create_time < b.create_time ? 1 : -1));
}
