/** The newest of a stream of numbered things, each once, oldest first. */

export interface Buffer<T> {
  readonly items: readonly T[];
  /** Left out because there are too many. */
  readonly dropped: number;
}

export const empty = { items: [], dropped: 0 };

/** With these among those that are there. Most often they are newer; what is known already is not taken twice. */
export function merged<T>(buffer: Buffer<T>, more: readonly T[], number: (item: T) => number, most: number): Buffer<T> {
  if (more.length === 0) return buffer;
  const all = isNewer(buffer.items, more, number) ? [...buffer.items, ...more] : union(buffer.items, more, number);
  const over = Math.max(0, all.length - most);
  return { items: over > 0 ? all.slice(over) : all, dropped: buffer.dropped + over };
}

function isNewer<T>(items: readonly T[], more: readonly T[], number: (item: T) => number): boolean {
  let last = items.length === 0 ? Number.NEGATIVE_INFINITY : number(items[items.length - 1] as T);
  for (const item of more) {
    if (number(item) <= last) return false;
    last = number(item);
  }
  return true;
}

function union<T>(a: readonly T[], b: readonly T[], number: (item: T) => number): T[] {
  const all = new Map([...a, ...b].map((item) => [number(item), item]));
  return [...all.values()].sort((x, y) => number(x) - number(y));
}
