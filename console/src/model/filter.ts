/** Which events and log lines somebody wants to see; the server filters by the same, this is for what is typed. */

import type { Fields } from "../api/bodies.ts";

/** All words somewhere in it. */
export function says(text: string, ...parts: (string | Fields | null)[]): boolean {
  const words = text
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== "");
  if (words.length === 0) return true;
  const whole = parts
    .map((part) => (typeof part === "object" ? JSON.stringify(part) : part))
    .join(" ")
    .toLowerCase();
  return words.every((word) => whole.includes(word));
}
