/** A line chart in SVG: takes its colours from the page, has a cursor for mouse and arrows, and says its figures. */

import { useEffect, useRef, useState } from "preact/hooks";
import { metric } from "../model/format.ts";
import { ticks } from "../model/ticks.ts";

export interface Series {
  name: string;
  /** One for each x; what was not measured is left out of the line. */
  values: readonly (number | null)[];
  /** Of the palette: 1, 2, …; 0 is one of many. */
  color: number;
  dashed?: boolean;
}

interface ChartProps {
  title: string;
  x: readonly number[];
  xName: string;
  series: readonly Series[];
  format?: (value: number) => string;
  /** Begins at 0 whatever is measured. */
  fromZero?: boolean;
}

const plain = new Intl.NumberFormat("en-GB", { maximumSignificantDigits: 6 });

const HEIGHT = 168;
const EDGE = { top: 8, right: 12, bottom: 22, left: 48 };

export function Chart({ title, x, xName, series, format = metric, fromZero }: ChartProps) {
  const plot = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(480);
  const [cursor, setCursor] = useState<number | null>(null);
  useEffect(() => {
    const element = plot.current;
    if (element === null) return;
    const observer = new ResizeObserver(() => setWidth(Math.max(160, element.clientWidth)));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  const measured = series.flatMap((of) => of.values).filter((value): value is number => value !== null);
  const marks = measured.length > 0 ? ticks(fromZero ? 0 : Math.min(...measured), Math.max(...measured), 4) : [0, 1];
  const [low, high] = [marks[0] ?? 0, marks.at(-1) ?? 1];
  const [from, to] = [x[0] ?? 0, x.at(-1) ?? 1];
  const [inner, tall] = [width - EDGE.left - EDGE.right, HEIGHT - EDGE.top - EDGE.bottom];
  const px = (value: number) => EDGE.left + (to === from ? inner / 2 : ((value - from) / (to - from)) * inner);
  const py = (value: number) => EDGE.top + (1 - (value - low) / (high - low || 1)) * tall;
  const xMarks = ticks(from, to, Math.max(2, Math.min(8, inner / 60))).filter(
    (at) => at >= from && at <= to && Number.isInteger(at),
  );
  const named = series.filter((of) => of.color > 0);

  const seek = (clientX: number) => {
    const left = plot.current?.getBoundingClientRect().left ?? 0;
    const at = from + ((clientX - left - EDGE.left) / inner) * (to - from);
    setCursor(nearest(x, at));
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (step === 0) return;
    event.preventDefault();
    setCursor(Math.min(x.length - 1, Math.max(0, (cursor ?? x.length) + step)));
  };

  return (
    <figure className="chart">
      <figcaption>
        <span className="chart-title">{title}</span>
        {named.map((of) => (
          <span key={of.name} className={`key series-${of.color}`}>
            <svg viewBox="0 0 18 8" aria-hidden="true">
              <path d="M0 4h18" className={of.dashed ? "dashed" : ""} />
            </svg>
            {of.name}
            <b>{valueAt(of, cursor, format)}</b>
          </span>
        ))}
        <span className="chart-at">{cursor === null ? "" : `${xName} ${x[cursor]}`}</span>
      </figcaption>
      <div
        ref={plot}
        className="chart-plot"
        role="slider"
        tabIndex={0}
        aria-label={`${title}, ${xName}`}
        aria-valuemin={from}
        aria-valuemax={to}
        aria-valuenow={x[cursor ?? x.length - 1] ?? 0}
        aria-valuetext={told(series, x, cursor, xName, format)}
        onKeyDown={onKeyDown}
        onPointerMove={(event) => seek(event.clientX)}
        onPointerLeave={() => setCursor(null)}
        onBlur={() => setCursor(null)}
      >
        <svg width={width} height={HEIGHT} viewBox={`0 0 ${width} ${HEIGHT}`} aria-hidden="true">
          {marks.map((at) => (
            <g key={at} className="mark">
              <line x1={EDGE.left} x2={width - EDGE.right} y1={py(at)} y2={py(at)} />
              <text x={EDGE.left - 6} y={py(at) + 4} text-anchor="end">
                {format === metric ? plain.format(at) : format(at)}
              </text>
            </g>
          ))}
          {xMarks.map((at) => (
            <text key={at} className="x-mark" x={px(at)} y={HEIGHT - 6} text-anchor="middle">
              {at}
            </text>
          ))}
          {cursor !== null && (
            <line
              className="cursor"
              x1={px(x[cursor] ?? 0)}
              x2={px(x[cursor] ?? 0)}
              y1={EDGE.top}
              y2={EDGE.top + tall}
            />
          )}
          {series.map((of) => (
            <Line key={of.name} of={of} x={x} px={px} py={py} cursor={cursor} />
          ))}
        </svg>
      </div>
    </figure>
  );
}

interface LineProps {
  of: Series;
  x: readonly number[];
  px: (value: number) => number;
  py: (value: number) => number;
  cursor: number | null;
}

function Line({ of, x, px, py, cursor }: LineProps) {
  const points = x.flatMap((at, index): [number, number, number][] => {
    const value = of.values[index];
    return value === null || value === undefined ? [] : [[index, px(at), py(value)]];
  });
  const path = points
    .map(([, left, top], index) => `${index === 0 ? "M" : "L"}${left.toFixed(1)} ${top.toFixed(1)}`)
    .join("");
  const dots =
    points.length <= 30 && of.color > 0 ? points : points.filter(([index]) => index === cursor && of.color > 0);
  return (
    <g className={`series series-${of.color}`}>
      <path d={path} className={of.dashed ? "dashed" : ""} />
      {dots.map(([index, left, top]) => (
        <circle key={index} cx={left} cy={top} r={index === cursor ? 4 : 2.2} />
      ))}
    </g>
  );
}

function nearest(x: readonly number[], at: number): number | null {
  let best: number | null = null;
  x.forEach((value, index) => {
    if (best === null || Math.abs(value - at) < Math.abs((x[best] ?? 0) - at)) best = index;
  });
  return best;
}

/** At the cursor; without one the last that was measured. */
function valueAt(of: Series, cursor: number | null, format: (value: number) => string): string {
  const value = cursor === null ? of.values.findLast((value) => value !== null) : of.values[cursor];
  return value === null || value === undefined ? "–" : format(value);
}

function told(
  series: readonly Series[],
  x: readonly number[],
  cursor: number | null,
  xName: string,
  format: (value: number) => string,
): string {
  const values = series.slice(0, 6).map((of) => `${of.name} ${valueAt(of, cursor, format)}`);
  return `${xName} ${x[cursor ?? x.length - 1] ?? ""}: ${values.join(", ")}`;
}
