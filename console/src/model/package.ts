/** A folder of scripts as a zip, as `nsfl-ctl` packs it: nothing hidden, no caches, the same bytes for the same content. */

import { type Zippable, zipSync } from "fflate";

export interface PackedFile {
  /** Below the folder. */
  name: string;
  bytes: Uint8Array;
}

/** Names of parts that stay at home. */
const isLeft = (part: string): boolean => part.startsWith(".") || part === "__pycache__";

/** Where a file of a chosen folder goes in the package; none when it stays at home. */
export function place(relative: string): string | null {
  const parts = relative.split("/").slice(1);
  return parts.length === 0 || parts.some(isLeft) ? null : parts.join("/");
}

/** Zip knows no time before this. */
const LONG_AGO = new Date(1980, 0, 1);

export function pack(files: readonly PackedFile[]): Uint8Array {
  const sorted = [...files].sort((a, b) => (a.name < b.name ? -1 : 1));
  const entries: Zippable = {};
  for (const { name, bytes } of sorted) entries[name] = [bytes, { mtime: LONG_AGO }];
  return zipSync(entries, { level: 6 });
}
