/** Every attempt of every round of the run; one of them with its clients. */

import type { Job, Member, Round, Rounds } from "../../api/bodies.ts";
import { bytes, duration, instant, metric } from "../../model/format.ts";
import { refine, route } from "../../route.ts";
import { now } from "../../stores/time.ts";
import { Badge } from "../../ui/badge.tsx";
import { Empty } from "../../ui/controls.tsx";
import { Problem } from "../../ui/dialog.tsx";
import { type Column, Grid } from "../../ui/grid.tsx";
import { Panel } from "../../ui/panel.tsx";
import { CauseText } from "./cause.tsx";
import { useDetails } from "./details.ts";

const COLUMNS: Column<Round>[] = [
  { id: "round", title: "Round", width: "minmax(60px, 0.5fr)", cell: (of) => of.round },
  {
    id: "kind",
    title: "Kind",
    width: "minmax(88px, 0.7fr)",
    cell: (of) => `${of.kind}${of.attempt > 1 ? ` (${of.attempt})` : ""}`,
  },
  { id: "state", title: "State", width: "minmax(112px, 0.8fr)", cell: (of) => <Badge state={of.state} /> },
  {
    id: "accepted",
    from: 440,
    title: "Accepted",
    width: "88px",
    end: true,
    cell: (of) => `${of.accepted} / ${of.cohort}`,
  },
  {
    id: "took",
    from: 500,
    title: "Took",
    width: "84px",
    end: true,
    cell: (of) => (of.closed === null ? "–" : duration(Date.parse(of.closed) - Date.parse(of.opened))),
  },
  {
    id: "accuracy",
    title: "Accuracy",
    width: "84px",
    end: true,
    cell: (of) => metric(of.metrics.accuracy),
  },
  { id: "loss", from: 580, title: "Loss", width: "84px", end: true, cell: (of) => metric(of.metrics.loss) },
  {
    id: "model",
    from: 660,
    title: "Model",
    width: "84px",
    end: true,
    cell: (of) => (of.model === null ? "–" : bytes(of.model.bytes)),
  },
  { id: "opened", from: 880, title: "Opened", width: "140px", end: true, cell: (of) => instant(of.opened, now.value) },
  { id: "reason", from: 1000, title: "Why", width: "minmax(60px, 2fr)", cell: (of) => of.reason },
];

const key = (of: Round): string => `${of.round}.${of.kind}.${of.attempt}`;

export function RoundList({ job, run }: { job: Job; run: Rounds | null }) {
  const chosen = route.value.query.round;
  const rows = [...(run?.rounds ?? [])].reverse();
  const round = rows.find((of) => key(of) === chosen);
  return (
    <div className="split">
      <div className="main-part">
        <Grid
          label="Rounds"
          columns={COLUMNS}
          rows={rows}
          id={key}
          selected={chosen}
          onOpen={(of) => refine({ round: key(of) })}
          empty={<Empty>No round has begun yet.</Empty>}
        />
      </div>
      {round && <RoundPanel key={chosen} job={job} round={round} />}
    </div>
  );
}

function RoundPanel({ job, round }: { job: Job; round: Round }) {
  const { of, problem, asking } = useDetails(job, [round.round], `${round.state}${round.accepted}`);
  const members =
    of[0]?.detail.members.filter(({ kind, attempt }) => kind === round.kind && attempt === round.attempt) ?? [];
  return (
    <Panel
      title={`Round ${round.round}, ${round.kind}`}
      subtitle={round.attempt > 1 ? `attempt ${round.attempt}` : `${members.length} clients`}
      onClose={() => refine({ round: undefined })}
    >
      {problem && <Problem>{problem}</Problem>}
      {asking && <p className="empty">Asking for it…</p>}
      {round.reason && <Problem>{round.reason}</Problem>}
      {round.cause && <CauseText of={round.cause} />}
      {round.model && (
        <p className="faint mono digest" title="SHA-256 of the model">
          {round.model.sha256}
        </p>
      )}
      {members.map((member) => (
        <MemberPart key={member.client} of={member} opened={round.opened} />
      ))}
    </Panel>
  );
}

function MemberPart({ of, opened }: { of: Member; opened: string }) {
  const metrics = Object.entries(of.metrics).map(([name, value]) => `${name} ${metric(value)}`);
  const after = (at: string) => duration(Date.parse(at) - Date.parse(opened));
  const way = [
    of.sent && `sent after ${after(of.sent)}`,
    of.started && `training after ${after(of.started)}`,
    of.uploading && `uploading after ${after(of.uploading)}`,
    of.bytes && `${bytes(of.bytes)} brought`,
  ].filter(Boolean);
  return (
    <div className="member">
      <p>
        <b>{of.client}</b> <Badge state={of.state} /> <span className="faint">after {after(of.at)}</span>
      </p>
      {way.length > 0 && <p className="faint">{way.join(" · ")}</p>}
      {metrics.length > 0 && <p className="mono">{metrics.join(" · ")}</p>}
      {of.reason && <p>{of.reason}</p>}
      {of.cause && <CauseText of={of.cause} />}
    </div>
  );
}
