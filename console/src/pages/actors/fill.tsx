/** How full a mailbox is: waiting now, as a bar with the most that ever waited. */

import type { Actor } from "../../api/bodies.ts";
import { count } from "../../model/format.ts";

export function Fill({ of: { depth, capacity, high_water } }: { of: Actor["mailbox"] }) {
  if (capacity === 0) return null;
  const part = (value: number) => `${Math.min(100, (value / capacity) * 100)}%`;
  const tone = depth * 2 > capacity ? "bad" : depth * 10 > capacity ? "warn" : "busy";
  const text = `${count(depth)} of ${count(capacity)} waiting, ${count(high_water)} at most so far`;
  return (
    <span className="fill" title={text}>
      <span className={depth === 0 ? "faint" : ""}>{count(depth)}</span>
      <span className={`meter tone-${tone}`} role="img" aria-label={text}>
        <span style={{ width: part(depth) }} />
        <i style={{ left: part(high_water) }} />
      </span>
    </span>
  );
}
