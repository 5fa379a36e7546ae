/**
 * Rows of the same height, of which only those on the screen are in the page: ten thousand cost as much as fifty. Of those, only
 * what has changed is drawn again.
 * A grid, or a treegrid when rows have levels (WAI-ARIA): one row has the focus, arrows move it.
 */

import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { Glyph } from "./glyph.tsx";
import { type Actions, Line } from "./line.tsx";
import { type Move, move } from "./roving.ts";
import { narrow } from "./screen.ts";

export interface Column<R> {
  id: string;
  title: string;
  /** A track of a CSS grid. */
  width: string;
  cell: (row: R) => ComponentChildren;
  end?: boolean;
  sort?: (a: R, b: R) => number;
  /** Left out where the grid is narrower, in CSS pixels. */
  from?: number;
}

export interface Level {
  level: number;
  open: boolean | undefined;
  position: number;
  setSize: number;
}

/** A list, or what makes its rows when they are asked for. */
export interface Rows<R> {
  readonly length: number;
  at(index: number): R | undefined;
  /** Where the row of this id is; below 0 when it is not there. */
  place?(id: string): number;
}

interface GridProps<R> {
  label: string;
  columns: Column<R>[];
  rows: Rows<R>;
  id: (row: R) => string;
  empty: ComponentChildren;
  tree?: (row: R) => Level;
  onToggle?: (row: R, open: boolean) => void;
  onOpen?: (row: R) => void;
  selected?: string | undefined;
  rowClass?: (row: R) => string;
  /** Stays at the end as rows are added. */
  follow?: boolean;
  /** As high as its rows, up to a limit; else it fills its place. */
  compact?: boolean;
}

/** Rows kept above and below those on the screen. */
const AROUND = 5;

export function Grid<R>(props: GridProps<R>) {
  const { columns, id, tree, selected, follow } = props;
  const box = useRef<HTMLDivElement>(null);
  const [{ top, height, width }, setView] = useState({ top: 0, height: 800, width: 1200 });
  const [active, setActive] = useState("");
  const [[sortBy, down], setSort] = useState<[string, boolean]>(["", false]);
  const toFocus = useRef(false);
  const rowHeight = narrow.value ? 44 : 30;
  const shownColumns = useMemo(() => columns.filter(({ from = 0 }) => width >= from), [columns, width]);
  const rows = useMemo(() => sorted(props.rows, columns, sortBy, down), [props.rows, sortBy, down]);
  const first = Math.max(0, Math.floor(top / rowHeight) - AROUND);
  const last = Math.min(rows.length, Math.ceil((top + height) / rowHeight) + AROUND);
  const activeAt = active === "" ? -1 : place(rows, id, active);
  const actions = useRef<Actions<R>>({});
  actions.current = { onOpen: props.onOpen, onToggle: props.onToggle, onFocus: setActive };

  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    const look = () => setView(viewOf(element));
    const observer = new ResizeObserver(look);
    observer.observe(element);
    look();
    return () => observer.disconnect();
  }, [rows.length === 0]);

  useLayoutEffect(() => {
    if (!toFocus.current) return;
    toFocus.current = false;
    box.current?.querySelector<HTMLElement>('[role="row"][tabindex="0"]')?.focus({ preventScroll: true });
  });

  useLayoutEffect(() => {
    if (follow && box.current !== null) box.current.scrollTop = box.current.scrollHeight;
  }, [follow, rows]);

  const focusRow = (at: number) => {
    const row = rows.at(at);
    const element = box.current;
    if (row === undefined || element === null) return;
    setActive(id(row));
    toFocus.current = true;
    const [from, to] = [at * rowHeight, (at + 1) * rowHeight];
    const inside = element.clientHeight - rowHeight;
    if (from < element.scrollTop) element.scrollTop = from;
    else if (to > element.scrollTop + inside) element.scrollTop = to - inside;
  };

  const onKeyDown = (event: KeyboardEvent) => {
    if (!(event.target instanceof HTMLElement) || event.target.getAttribute("role") !== "row") return;
    const at = Math.max(activeAt, 0);
    const page = Math.max(1, Math.floor(height / rowHeight) - 2);
    const done = move(event.key, at, rows.length, page, tree && ((of) => level(rows.at(of), tree)));
    if (done === null) return;
    event.preventDefault();
    carryOut(done, at);
  };

  const carryOut = (done: Move, at: number) => {
    const row = rows.at(at);
    if (done.to !== undefined) focusRow(done.to);
    else if (row === undefined) return;
    else if (done.toggle !== undefined) props.onToggle?.(row, done.toggle);
    else if (done.open) props.onOpen?.(row);
  };

  if (rows.length === 0) return <div className="grid-empty">{props.empty}</div>;
  const template = { gridTemplateColumns: shownColumns.map((column) => column.width).join(" ") };
  const indices = Array.from({ length: Math.max(0, last - first) }, (_, index) => first + index);
  // the row with the focus stays in the page, else it loses it when scrolled away
  if (activeAt >= 0 && (activeAt < first || activeAt >= last)) indices.push(activeAt);
  const tabbable = activeAt >= 0 ? activeAt : first;

  const bodyHeight = (rows.length + 1) * rowHeight;
  return (
    <div
      ref={box}
      className={props.compact ? "grid compact" : "grid"}
      style={props.compact ? { height: `${bodyHeight + 1}px` } : undefined}
      role={tree ? "treegrid" : "grid"}
      aria-label={props.label}
      aria-rowcount={rows.length + 1}
      onScroll={(event) => setView(viewOf(event.currentTarget))}
      onKeyDown={onKeyDown}
    >
      <div className="grid-head" role="row" aria-rowindex={1} style={{ ...template, height: `${rowHeight}px` }}>
        {shownColumns.map((column) => (
          <Head key={column.id} column={column} sorted={sortBy === column.id ? down : undefined} onSort={setSort} />
        ))}
      </div>
      <div className="grid-body" role="rowgroup" style={{ height: `${rows.length * rowHeight}px` }}>
        {indices.map((at) => {
          const row = rows.at(at);
          if (row === undefined) return null;
          const key = id(row);
          return (
            <Line
              key={key}
              id={key}
              at={at}
              row={row}
              columns={shownColumns}
              template={template.gridTemplateColumns}
              height={rowHeight}
              tabbable={at === tabbable}
              selected={selected === undefined ? undefined : key === selected}
              class={props.rowClass?.(row) ?? ""}
              opens={props.onOpen !== undefined}
              of={tree?.(row)}
              actions={actions}
            />
          );
        })}
      </div>
    </div>
  );
}

const viewOf = (element: HTMLElement) => ({
  top: element.scrollTop,
  height: element.clientHeight,
  width: element.clientWidth,
});

function sorted<R>(rows: Rows<R>, columns: Column<R>[], by: string, down: boolean): Rows<R> {
  const compare = columns.find((column) => column.id === by)?.sort;
  if (compare === undefined) return rows;
  return all(rows).sort(down ? (a, b) => compare(b, a) : compare);
}

const all = <R,>(rows: Rows<R>): R[] => Array.from({ length: rows.length }, (_, index) => rows.at(index) as R);

function place<R>(rows: Rows<R>, id: (row: R) => string, of: string): number {
  return rows.place?.(of) ?? all(rows).findIndex((row) => id(row) === of);
}

function level<R>(row: R | undefined, tree: (row: R) => Level): Level | undefined {
  return row === undefined ? undefined : tree(row);
}

interface HeadProps<R> {
  column: Column<R>;
  /** Downwards, upwards, or not by this one. */
  sorted: boolean | undefined;
  onSort: (by: [string, boolean]) => void;
}

function Head<R>({ column, sorted, onSort }: HeadProps<R>) {
  const aria = sorted === undefined ? undefined : sorted ? "descending" : "ascending";
  return (
    <div role="columnheader" className={column.end ? "cell end" : "cell"} aria-sort={aria}>
      {column.sort ? (
        <button
          type="button"
          className="sort"
          onClick={() => onSort([column.id, sorted === undefined ? !!column.end : !sorted])}
        >
          {column.title}
          {sorted !== undefined && <Glyph of={sorted ? "down" : "up"} />}
        </button>
      ) : (
        column.title
      )}
    </div>
  );
}
