/** What the server wrote into its log, as rows. */

import { useMemo, useState } from "preact/hooks";
import { says } from "../../model/filter.ts";
import { instant } from "../../model/format.ts";
import type { History } from "../../stores/history.ts";
import { logs, type NumberedLine } from "../../stores/state.ts";
import { now } from "../../stores/time.ts";
import { Badge } from "../../ui/badge.tsx";
import { Empty, Tell } from "../../ui/controls.tsx";
import { Dialog, Problem } from "../../ui/dialog.tsx";
import { type Column, Grid } from "../../ui/grid.tsx";

const COLUMNS: Column<NumberedLine>[] = [
  {
    id: "at",
    from: 600,
    title: "At",
    width: "140px",
    cell: (line) => <time dateTime={line.at}>{instant(line.at, now.value)}</time>,
  },
  { id: "level", title: "Level", width: "84px", cell: (line) => <Badge state={line.level} /> },
  {
    id: "target",
    from: 900,
    title: "Where",
    width: "minmax(120px, 200px)",
    cell: (line) => <span className="faint">{line.target}</span>,
  },
  { id: "message", title: "Message", width: "minmax(0, 3fr)", cell: (line) => <Message of={line} /> },
];

/** Told when the line is opened. */
const LONG = new Set(["id", "trace", "span"]);

function Message({ of: { message, fields } }: { of: NumberedLine }) {
  const told = Object.entries(fields).filter(([name, value]) => !LONG.has(name) && value !== "");
  const said = told.map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`);
  return (
    <span>
      {message} <span className="faint mono">{said.join(" ")}</span>
    </span>
  );
}

interface Props {
  history: History;
  find: string;
  follows: boolean;
}

export function LogList({ history, find, follows }: Props) {
  const [opened, setOpened] = useState<NumberedLine | null>(null);
  const { items } = logs.value;
  const rows = useMemo(() => items.filter((line) => says(find, line.target, line.message, line.fields)), [items, find]);
  return (
    <>
      {history.problem && <Problem>{history.problem}</Problem>}
      <Grid
        label="Log lines"
        columns={COLUMNS}
        rows={rows}
        id={(line) => String(line.number)}
        follow={follows}
        onOpen={setOpened}
        empty={<Empty>{history.ready ? "No line is like that." : "Asking for the log…"}</Empty>}
      />
      {opened && (
        <Dialog title={opened.message} onClose={() => setOpened(null)} wide>
          <div className="dialog-text">
            <Tell value={{ at: opened.at, level: opened.level, target: opened.target, ...opened.fields }} />
          </div>
        </Dialog>
      )}
    </>
  );
}
