/** What the tree shows of each actor. */

import { age, count, duration, leaf, micros, rate } from "../../model/format.ts";
import type { Shown } from "../../model/lines.ts";
import { troubles } from "../../model/trouble.ts";
import { Badge } from "../../ui/badge.tsx";
import { Glyph } from "../../ui/glyph.tsx";
import type { Column } from "../../ui/grid.tsx";
import { Fill } from "./fill.tsx";

export const COLUMNS: Column<Shown>[] = [
  { id: "actor", title: "Actor", width: "minmax(200px, 2.2fr)", cell: (row) => <Name row={row} /> },
  {
    id: "state",
    title: "State",
    width: "minmax(104px, 118px)",
    cell: ({ actor }) => <Badge state={actor.state} />,
  },
  { id: "mailbox", from: 560, title: "Mailbox", width: "112px", cell: ({ actor }) => <Fill of={actor.mailbox} /> },
  {
    id: "oldest",
    from: 760,
    title: "Oldest",
    width: "72px",
    end: true,
    cell: ({ actor }) => quiet(actor.mailbox.oldest_ms, age),
  },
  { id: "rate", from: 640, title: "Handled/s", width: "88px", end: true, cell: ({ actor }) => quiet(actor.rate, rate) },
  {
    id: "handler",
    from: 700,
    title: "In handler",
    width: "92px",
    end: true,
    cell: ({ actor }) =>
      actor.handler.current_ms === null ? (
        quiet(mean(actor.busy_us, actor.handled), micros)
      ) : (
        <span className="now" title="The present message is in the handler for so long">
          {duration(actor.handler.current_ms)}
        </span>
      ),
  },
  {
    id: "restarts",
    from: 660,
    title: "Restarts",
    width: "80px",
    end: true,
    cell: ({ actor }) => quiet(actor.restarts, count),
  },
  {
    id: "error",
    from: 980,
    title: "Last error",
    width: "minmax(120px, 1.6fr)",
    cell: ({ actor }) => actor.last_error && <span title={actor.last_error}>{actor.last_error}</span>,
  },
];

function Name({ row: { actor, open, below } }: { row: Shown }) {
  const found = troubles(actor);
  return (
    <span className="actor-name" title={actor.path}>
      {leaf(actor.path)}
      {actor.kind !== leaf(actor.path) && actor.kind !== "supervisor" && <span className="faint">{actor.kind}</span>}
      {open === false && <span className="faint">{count(below)} below</span>}
      {found.length > 0 && (
        <span className="alarm" title={found.join(", ")}>
          <Glyph of="triangle" />
          <span className="hidden">{found.join(", ")}</span>
        </span>
      )}
    </span>
  );
}

const mean = (total: number, of: number) => (of === 0 ? 0 : total / of);

/** Nothing to see is shown as little. */
function quiet(value: number, format: (value: number) => string) {
  return value === 0 ? <span className="faint">0</span> : format(value);
}
