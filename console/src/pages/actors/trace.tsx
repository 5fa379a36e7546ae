/** An actor's messages for a minute: by type, then one by one. */

import { useSignal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import type { Traced } from "../../api/bodies.ts";
import { clock, follow } from "../../api/follow.ts";
import { path as at, query } from "../../api/http.ts";
import { count, instant, micros, plural } from "../../model/format.ts";
import { byType, type Message } from "../../model/traced.ts";
import { now } from "../../stores/time.ts";
import { Button } from "../../ui/controls.tsx";
import { Grid } from "../../ui/grid.tsx";

const SECONDS = 60;
const MOST = 2000;

type Phase = "on" | "over" | "refused";

export function Trace({ path, onClose }: { path: string; onClose: () => void }) {
  const messages = useSignal<readonly Message[]>([]);
  const [lost, setLost] = useState(0);
  const [phase, setPhase] = useState<Phase>("on");
  const [left, setLeft] = useState(SECONDS);
  useEffect(() => {
    const timer = setInterval(() => setLeft((left) => Math.max(0, left - 1)), 1000);
    const follower = follow({
      clock,
      open: (_, signal) => fetch(`${at("actors", path)}:trace${query({ seconds: SECONDS })}`, { signal }),
      on: ({ event, data }) => {
        if (event === "message") {
          const next = { ...(JSON.parse(data) as Traced), number: (messages.value.at(-1)?.number ?? 0) + 1 };
          messages.value = [...messages.value, next].slice(-MOST);
        } else if (event === "lost") setLost((before) => before + (JSON.parse(data) as { count: number }).count);
        else if (event === "end") end("over");
      },
      // a trace that is cut is over: what came in between would be missing
      state: ({ is }) => is === "lost" && end("over"),
      refused: () => end("refused"),
    });
    const end = (how: Phase) => {
      follower.close();
      clearInterval(timer);
      setPhase(how);
    };
    return () => end("over");
  }, [path]);
  return (
    <section className="trace" aria-label="Trace">
      <header>
        <h3>Trace</h3>
        <span className="faint" role="status">
          {phase === "on" ? `${left} s left` : phase === "over" ? "ended" : "the server refused it"}
          {messages.value.length > 0 && `, ${plural(messages.value.length, "message")}`}
          {lost > 0 && `, ${count(lost)} missed`}
        </span>
        <Button kind="quiet" onClick={onClose}>
          {phase === "on" ? "End" : "Close"}
        </Button>
      </header>
      <table className="plain">
        <thead>
          <tr>
            <th>Message</th>
            <th className="end">Count</th>
            <th className="end">Mean</th>
            <th className="end">Longest</th>
          </tr>
        </thead>
        <tbody>
          {byType(messages.value).map((of) => (
            <tr key={of.message}>
              <td className="mono">{of.message}</td>
              <td className="end">{count(of.count)}</td>
              <td className="end">{micros(of.mean_us)}</td>
              <td className="end">{micros(of.longest_us)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {messages.value.length > 0 && (
        <div className="trace-list">
          <Grid
            label="Messages"
            rows={messages.value}
            id={(row) => String(row.number)}
            empty=""
            follow={phase === "on"}
            columns={[
              { id: "at", title: "At", width: "72px", cell: (row) => instant(row.at, now.value) },
              {
                id: "message",
                title: "Message",
                width: "1fr",
                cell: (row) => <span className="mono">{row.message}</span>,
              },
              {
                id: "waited",
                from: 360,
                title: "Waited",
                width: "72px",
                end: true,
                cell: (row) => (row.waited_us === null ? row.from : micros(row.waited_us)),
              },
              {
                id: "handled",
                title: "Handled",
                width: "76px",
                end: true,
                cell: (row) => (row.ok ? micros(row.handled_us) : "failed"),
              },
            ]}
          />
        </div>
      )}
    </section>
  );
}
