/** Things by their key, as a state topic of the live stream brings them: all at first, then what changed. */

import { type Signal, signal } from "@preact/signals";

export interface Keyed<T> {
  /** None before the stream has said anything. */
  all: Signal<ReadonlyMap<string, T> | null>;
  apply(full: boolean, changed: readonly T[], gone: readonly string[]): void;
}

export function keyed<T>(key: (item: T) => string): Keyed<T> {
  const all = signal<ReadonlyMap<string, T> | null>(null);
  return {
    all,
    apply(full, changed, gone) {
      const next = new Map(full ? [] : all.value);
      for (const item of changed) next.set(key(item), item);
      for (const of of gone) next.delete(of);
      all.value = next;
    },
  };
}
