/**
 * Rows of the same height, of which only those on the screen are in the page: ten thousand cost as much as fifty.
 * A grid, or a treegrid when rows have levels (WAI-ARIA): one row has the focus, arrows move it.
 */

import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { Glyph } from "./glyph.tsx";
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

interface GridProps<R> {
  label: string;
  columns: Column<R>[];
  rows: readonly R[];
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
  const shownColumns = columns.filter(({ from }) => from === undefined || width >= from);
  const rows = useMemo(() => sorted(props.rows, columns, sortBy, down), [props.rows, sortBy, down]);
  const first = Math.max(0, Math.floor(top / rowHeight) - AROUND);
  const last = Math.min(rows.length, Math.ceil((top + height) / rowHeight) + AROUND);
  const activeAt = active === "" ? -1 : rows.findIndex((row) => id(row) === active);

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
    const row = rows[at];
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
    const done = move(event.key, at, rows.length, page, tree && ((of) => level(rows[of], tree)));
    if (done === null) return;
    event.preventDefault();
    carryOut(done, at);
  };

  const carryOut = (done: Move, at: number) => {
    const row = rows[at];
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
          const row = rows[at];
          if (row === undefined) return null;
          const [key, of] = [id(row), tree?.(row)];
          return (
            <div
              key={key}
              role="row"
              className={`grid-row ${key === selected ? "selected" : ""} ${props.rowClass?.(row) ?? ""} ${props.onOpen ? "opens" : ""}`}
              style={{ ...template, height: `${rowHeight}px`, transform: `translateY(${at * rowHeight}px)` }}
              tabIndex={at === tabbable ? 0 : -1}
              aria-rowindex={at + 2}
              aria-selected={selected === undefined ? undefined : key === selected}
              aria-level={of?.level}
              aria-expanded={of?.open}
              aria-posinset={of?.position}
              aria-setsize={of?.setSize}
              onFocus={() => setActive(key)}
              onClick={(event) => {
                const on = event.target as Element;
                if (on.closest("[data-toggle]")) props.onToggle?.(row, !of?.open);
                else if (!on.closest("a, button, input")) props.onOpen?.(row);
              }}
            >
              {shownColumns.map((column, index) => (
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

function sorted<R>(rows: readonly R[], columns: Column<R>[], by: string, down: boolean): readonly R[] {
  const compare = columns.find((column) => column.id === by)?.sort;
  if (compare === undefined) return rows;
  return [...rows].sort(down ? (a, b) => compare(b, a) : compare);
}

function level<R>(row: R | undefined, tree: (row: R) => Level): Level | undefined {
  return row === undefined ? undefined : tree(row);
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
