/** One row of a grid. Drawn again only when it, its place or its columns have changed, or a signal that a cell has read. */

import { Component } from "preact";
import { Glyph } from "./glyph.tsx";
import type { Column, Level } from "./grid.tsx";

/** What is done with a row. */
export interface Actions<R> {
  onOpen?: ((row: R) => void) | undefined;
  onToggle?: ((row: R, open: boolean) => void) | undefined;
  onFocus?: (id: string) => void;
}

interface LineProps<R> {
  id: string;
  at: number;
  row: R;
  columns: Column<R>[];
  template: string;
  height: number;
  tabbable: boolean;
  selected: boolean | undefined;
  class: string;
  opens: boolean;
  of: Level | undefined;
  /** As they are when something happens: they are new with each look at the whole. */
  actions: { current: Actions<R> };
}

export class Line<R> extends Component<LineProps<R>> {
  override shouldComponentUpdate(next: LineProps<R>): boolean {
    return !alike(this.props, next, (key, a, b) => (key === "row" || key === "of") && alike(a, b));
  }

  override render({
    id,
    at,
    row,
    columns,
    template,
    height,
    tabbable,
    selected,
    class: own,
    opens,
    of,
    actions,
  }: LineProps<R>) {
    return (
      <div
        role="row"
        className={`grid-row ${selected ? "selected" : ""} ${own} ${opens ? "opens" : ""}`}
        style={{ gridTemplateColumns: template, height: `${height}px`, transform: `translateY(${at * height}px)` }}
        tabIndex={tabbable ? 0 : -1}
        aria-rowindex={at + 2}
        aria-selected={selected}
        aria-level={of?.level}
        aria-expanded={of?.open}
        aria-posinset={of?.position}
        aria-setsize={of?.setSize}
        onFocus={() => actions.current.onFocus?.(id)}
        onClick={(event) => {
          const on = event.target as Element;
          if (on.closest("[data-toggle]")) actions.current.onToggle?.(this.props.row, !this.props.of?.open);
          else if (!on.closest("a, button, input")) actions.current.onOpen?.(this.props.row);
        }}
      >
        {columns.map((column, index) => (
          <div
            key={column.id}
            role={index === 0 ? "rowheader" : "gridcell"}
            className={column.end ? "cell end" : "cell"}
          >
            {index === 0 && of && <Indent of={of} />}
            {column.cell(row)}
          </div>
        ))}
      </div>
    );
  }
}

/** Whether two objects hold the same, one level deep; `too` may find two values alike that are not the same. */
function alike(a: unknown, b: unknown, too?: (key: string, a: unknown, b: unknown) => boolean): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  const [left, right] = [a as Record<string, unknown>, b as Record<string, unknown>];
  const keys = Object.keys(left);
  if (keys.length !== Object.keys(right).length) return false;
  return keys.every((key) => left[key] === right[key] || too?.(key, left[key], right[key]));
}

function Indent({ of }: { of: Level }) {
  return (
    <span
      className="indent"
      style={{ width: `${(of.level - 1) * 14 + 18}px` }}
      data-toggle={of.open === undefined ? undefined : ""}
    >
      {of.open !== undefined && <Glyph of={of.open ? "down" : "right"} />}
    </span>
  );
}
