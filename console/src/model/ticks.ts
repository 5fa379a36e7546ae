/** Round numbers along an axis. */

/** Between the two and beyond them as far as the next round number; about `wanted` of them. */
export function ticks(from: number, to: number, wanted: number): number[] {
  const [low, high] = from === to ? around(from) : [from, to];
  const rough = (high - low) / Math.max(1, wanted);
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5].find((of) => of * unit >= rough * 0.999) ?? 10) * unit;
  const [first, last] = [Math.floor(low / step + 1e-9), Math.ceil(high / step - 1e-9)];
  return Array.from({ length: last - first + 1 }, (_, index) => clean((first + index) * step, step));
}

function around(value: number): [number, number] {
  const half = value === 0 ? 1 : Math.abs(value) / 2;
  return [value - half, value + half];
}

/** Without the crumbs of binary fractions. */
function clean(value: number, step: number): number {
  const digits = Math.max(0, -Math.floor(Math.log10(step)) + 1);
  return Number(value.toFixed(Math.min(20, digits)));
}
