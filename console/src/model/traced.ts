/** An actor's traced messages, summed up by type. */

import type { Traced } from "../api/bodies.ts";

export type Message = Traced & { number: number };

export interface TypeSum {
  message: string;
  count: number;
  mean_us: number;
  longest_us: number;
}

/** The most frequent first. */
export function byType(messages: readonly Traced[]): TypeSum[] {
  const sums = new Map<string, { count: number; total: number; longest: number }>();
  for (const { message, handled_us } of messages) {
    const sum = sums.get(message) ?? { count: 0, total: 0, longest: 0 };
    sums.set(message, {
      count: sum.count + 1,
      total: sum.total + handled_us,
      longest: Math.max(sum.longest, handled_us),
    });
  }
  return [...sums]
    .map(([message, { count, total, longest }]) => ({ message, count, mean_us: total / count, longest_us: longest }))
    .sort((a, b) => b.count - a.count || a.message.localeCompare(b.message));
}
