/** Accuracy, loss and whatever else was measured, time and size, over the rounds. */

import { useMemo } from "preact/hooks";
import type { Job, Rounds } from "../../api/bodies.ts";
import { bytes, count, duration } from "../../model/format.ts";
import { MAIN, measures } from "../../model/measured.ts";
import { Chart, type Series } from "../../ui/chart.tsx";
import { Empty } from "../../ui/controls.tsx";

export function Measured({ run }: { job: Job; run: Rounds }) {
  const found = useMemo(() => measures(run.rounds), [run.rounds]);
  const all = [...found.of];
  const isMain = ([name]: (typeof all)[number]) => MAIN.includes(name);
  const [first, others] = [all.filter(isMain), all.filter((of) => !isMain(of))];
  if (found.rounds.length === 0) return <Empty>No round is complete yet.</Empty>;
  const chart = ([name, { train, evaluate }]: (typeof all)[number]) => {
    const series: Series[] = [];
    if (evaluate) series.push({ name: "evaluated", values: evaluate, color: 1 });
    if (train) series.push({ name: "training", values: train, color: 2, dashed: true });
    return <Chart key={name} title={name} x={found.rounds} xName="round" series={series} />;
  };
  return (
    <section className="charts" aria-label="Measured">
      {first.map(chart)}
      <Chart
        title="time"
        x={found.rounds}
        xName="round"
        series={[{ name: "training round", values: found.seconds, color: 3 }]}
        format={(seconds) => duration(seconds * 1000)}
        fromZero
      />
      <Chart
        title="model"
        x={found.rounds}
        xName="round"
        series={[{ name: "bytes", values: found.bytes, color: 3 }]}
        format={bytes}
        fromZero
      />
      <Chart
        title="updates"
        x={found.rounds}
        xName="round"
        series={[{ name: "accepted", values: found.accepted, color: 1 }]}
        format={count}
        fromZero
      />
      {others.map(chart)}
    </section>
  );
}
