/** One metric of each client over the last rounds: who learns, who does not, who is slow. */

import { useMemo, useState } from "preact/hooks";
import type { Job, Rounds, TaskKind } from "../../api/bodies.ts";
import { bytes, duration, metric as figure } from "../../model/format.ts";
import { measures, OWN, perClient } from "../../model/measured.ts";
import { Chart, type Series } from "../../ui/chart.tsx";
import { Choice, Empty } from "../../ui/controls.tsx";
import { Problem } from "../../ui/dialog.tsx";
import { type Column, Grid } from "../../ui/grid.tsx";
import { useDetails } from "./details.ts";

/** So many rounds are asked for, one by one. */
const LAST = 20;
/** So many lines have a colour and a name. */
const NAMED = 6;

interface Row {
  client: string;
  values: (number | null)[];
  last: number | null;
  mean: number | null;
  parts: number;
}

export function Clients({ job, run }: { job: Job; run: Rounds | null }) {
  const [kind, setKind] = useState<TaskKind>("train");
  const [metric, setMetric] = useState("loss");
  const [chosen, setChosen] = useState("");
  const complete = [
    ...new Set((run?.rounds ?? []).filter((of) => of.state === "complete" && of.kind === kind).map((of) => of.round)),
  ];
  const rounds = complete.sort((a, b) => a - b).slice(-LAST);
  const names = useMemo(() => [...measures(run?.rounds ?? []).of.keys(), ...Object.keys(OWN)], [run]);
  const shown = names.includes(metric) ? metric : (names[0] ?? "");
  const details = useDetails(job, rounds, kind);
  const series = useMemo(() => perClient(details.of, kind, shown), [details.of, kind, shown]);
  const format = !(shown in OWN)
    ? figure
    : shown.startsWith("time")
      ? (value: number) => duration(value * 1000)
      : bytes;
  const rows = series.map(row);
  return (
    <div className="per-client">
      <div className="bar">
        <Choice
          label="Kind of round"
          value={kind}
          options={[
            ["train", "training"],
            ["evaluate", "evaluation"],
          ]}
          onChange={(kind) => setKind(kind as TaskKind)}
        />
        <Choice
          label="Metric"
          value={shown}
          options={names.map((name) => [name, name] as const)}
          onChange={setMetric}
        />
        <span className="faint">{rounds.length < complete.length ? `the last ${LAST} rounds` : ""}</span>
      </div>
      {details.problem && <Problem>{details.problem}</Problem>}
      {series.length === 0 ? (
        <Empty>
          {details.asking && rounds.length > 0
            ? "Asking for the rounds…"
            : `No ${kind === "train" ? "training" : "evaluation"} round is complete yet.`}
        </Empty>
      ) : (
        <>
          <Chart
            title={shown}
            x={details.of.map(({ round }) => round)}
            xName="round"
            series={lines(rows, chosen)}
            format={format}
          />
          <Grid
            compact
            label={`${shown} by client`}
            columns={columns(format)}
            rows={rows}
            id={({ client }) => client}
            selected={chosen}
            onOpen={({ client }) => setChosen(client === chosen ? "" : client)}
            empty=""
          />
        </>
      )}
    </div>
  );
}

function row({ client, values }: { client: string; values: (number | null)[] }): Row {
  const known = values.filter((value): value is number => value !== null);
  const mean = known.length === 0 ? null : known.reduce((sum, value) => sum + value, 0) / known.length;
  return { client, values, last: known.at(-1) ?? null, mean, parts: known.length };
}

/** Few have a colour each; of many only the chosen one has. */
function lines(rows: Row[], chosen: string): Series[] {
  const few = rows.length <= NAMED && chosen === "";
  const of = rows.map(
    ({ client, values }, index): Series => ({
      name: client,
      values,
      color: few ? index + 1 : client === chosen ? 1 : 0,
    }),
  );
  return of.sort((a, b) => a.color - b.color);
}

function columns(format: (value: number) => string): Column<Row>[] {
  const told = (value: number | null) => (value === null ? "–" : format(value));
  const by = (of: (row: Row) => number) => (a: Row, b: Row) => of(a) - of(b) || a.client.localeCompare(b.client);
  return [
    {
      id: "client",
      title: "Client",
      width: "minmax(110px, 1fr)",
      sort: (a, b) => a.client.localeCompare(b.client),
      cell: (row) => <span className="strong">{row.client}</span>,
    },
    {
      id: "last",
      title: "Last",
      width: "110px",
      end: true,
      sort: by((row) => row.last ?? 0),
      cell: (row) => told(row.last),
    },
    {
      id: "mean",
      title: "Mean",
      width: "110px",
      end: true,
      sort: by((row) => row.mean ?? 0),
      cell: (row) => told(row.mean),
    },
    {
      id: "parts",
      from: 480,
      title: "Rounds",
      width: "80px",
      end: true,
      sort: by((row) => row.parts),
      cell: (row) => row.parts,
    },
  ];
}
