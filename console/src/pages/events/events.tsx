/** What happened, over all jobs or of one, as rows. */

import { useMemo, useState } from "preact/hooks";
import type { JobEvent } from "../../api/bodies.ts";
import { says } from "../../model/filter.ts";
import { instant } from "../../model/format.ts";
import { words } from "../../model/words.ts";
import { link } from "../../route.ts";
import type { History } from "../../stores/history.ts";
import { events } from "../../stores/state.ts";
import { now } from "../../stores/time.ts";
import { Empty, Tell } from "../../ui/controls.tsx";
import { Dialog, Problem } from "../../ui/dialog.tsx";
import { type Column, Grid } from "../../ui/grid.tsx";

const COLUMNS: Column<JobEvent>[] = [
  {
    id: "at",
    title: "At",
    width: "min(140px, 24%)",
    cell: (event) => <time dateTime={event.at}>{instant(event.at, now.value)}</time>,
  },
  {
    id: "job",
    from: 760,
    title: "Job",
    width: "minmax(90px, 0.5fr)",
    cell: (event) => event.job && <JobLink of={event.job} />,
  },
  { id: "kind", title: "What", width: "min(140px, 24%)", cell: (event) => <Kind of={event} /> },
  {
    id: "words",
    title: "Details",
    width: "minmax(0, 3fr)",
    cell: (event) => words(event.kind, event.fields),
  },
];

function JobLink({ of }: { of: string }) {
  return <a href={link(["jobs", ...of.split("/")])}>{of}</a>;
}

const BAD = new Set(["task-failed", "update-refused", "client-lost", "event-damaged"]);

function Kind({ of: { kind, fields } }: { of: JobEvent }) {
  const bad = BAD.has(kind) || fields.outcome === "failed" || fields.state === "FAILED";
  return <span className={bad ? "kind bad" : "kind"}>{kind}</span>;
}

interface Props {
  history: History;
  find: string;
  follows: boolean;
  /** Of one job: its name is not said in each row. */
  one?: boolean;
}

export function EventList({ history, find, follows, one }: Props) {
  const [opened, setOpened] = useState<JobEvent | null>(null);
  const { items } = events.value;
  const rows = useMemo(() => items.filter((event) => says(find, event.job, event.kind, event.fields)), [items, find]);
  return (
    <>
      {history.problem && <Problem>{history.problem}</Problem>}
      <Grid
        label="Events"
        columns={one ? COLUMNS.filter(({ id }) => id !== "job") : COLUMNS}
        rows={rows}
        id={(event) => String(event.id)}
        follow={follows}
        onOpen={setOpened}
        empty={<Empty>{history.ready ? "Nothing has happened that is like that." : "Asking for the events…"}</Empty>}
      />
      {opened && (
        <Dialog title={`${opened.kind}, ${instant(opened.at, now.value)}`} onClose={() => setOpened(null)}>
          <div className="dialog-text">
            <Tell value={{ id: opened.id, job: opened.job, ...opened.fields }} />
          </div>
        </Dialog>
      )}
    </>
  );
}
