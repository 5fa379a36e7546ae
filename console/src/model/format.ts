/** Figures and times as people read them: short, with units, the same everywhere. */

const DAY = 86_400_000;

/** `340 ms`, `4.2 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`. */
export function duration(ms: number): string {
  if (ms < 0) return "0 s";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)} s`;
  return long(Math.round(ms / 1000));
}

/** The same in whole seconds, for what counts while one looks. */
export function age(ms: number): string {
  return ms < 60_000 ? `${Math.max(0, Math.floor(ms / 1000))} s` : long(Math.floor(ms / 1000));
}

function long(seconds: number): string {
  const [s, m, h, d] = [
    seconds % 60,
    Math.floor(seconds / 60) % 60,
    Math.floor(seconds / 3600) % 24,
    Math.floor((seconds * 1000) / DAY),
  ];
  if (d > 0) return h > 0 ? `${d} d ${h} h` : `${d} d`;
  if (h > 0) return m > 0 ? `${h} h ${m} min` : `${h} h`;
  if (m > 0) return s > 0 ? `${m} min ${s} s` : `${m} min`;
  return `${s} s`;
}

/** From microseconds. */
export function micros(us: number): string {
  return us < 1000 ? `${Math.round(us)} µs` : us < 10_000 ? `${(us / 1000).toFixed(1)} ms` : duration(us / 1000);
}

const UNITS = ["B", "KB", "MB", "GB", "TB"];

export function bytes(count: number): string {
  let [value, unit] = [count, 0];
  while (value >= 1000 && unit < UNITS.length - 1) [value, unit] = [value / 1000, unit + 1];
  return `${unit > 0 && value < 10 ? value.toFixed(1) : Math.round(value)} ${UNITS[unit]}`;
}

const grouped = new Intl.NumberFormat("en-GB");

export const count = (value: number): string => grouped.format(value);

/** A measured value: four digits that count. */
export function metric(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  if (Number.isInteger(value)) return grouped.format(value);
  const size = Math.abs(value);
  return size >= 1e6 || size < 1e-3 ? value.toExponential(2) : value.toPrecision(4);
}

/** Messages a second. */
export function rate(value: number): string {
  return value === 0 ? "0" : value < 10 ? value.toFixed(1) : grouped.format(Math.round(value));
}

const two = (n: number) => String(n).padStart(2, "0");

/** Local time of day; the date before it when it is not today. */
export function instant(at: string, now: number): string {
  const then = new Date(at);
  const time = `${two(then.getHours())}:${two(then.getMinutes())}:${two(then.getSeconds())}`;
  const today = new Date(now);
  return then.toDateString() === today.toDateString() ? time : `${day(then)} ${time}`;
}

function day(date: Date): string {
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

/** The last part of a path. */
export const leaf = (path: string): string => path.slice(path.lastIndexOf("/") + 1);

export const plural = (n: number, one: string, many = `${one}s`): string => `${count(n)} ${n === 1 ? one : many}`;
