/** Which page is shown, as it stands behind the `#`: `#/jobs/default/digits?tab=rounds`. */

import { computed, signal } from "@preact/signals";

export interface Route {
  parts: string[];
  query: Record<string, string>;
}

export function parse(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const parts = path.split("/").filter((part) => part !== "");
  return { parts: parts.map(decoded), query: Object.fromEntries(new URLSearchParams(query)) };
}

/** What leads to a page; values that are empty are left out. */
export function link(parts: string[], query: Record<string, string | undefined> = {}): string {
  const set = Object.entries(query).filter((entry): entry is [string, string] => !!entry[1]);
  const search = set.length > 0 ? `?${new URLSearchParams(set)}` : "";
  return `#/${parts.map(encodeURIComponent).join("/")}${search}`;
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

const hash = signal(typeof location === "undefined" ? "" : location.hash);
export const route = computed(() => parse(hash.value));

/** Changes the query of the page that is shown, without a step in the history. */
export function refine(change: Record<string, string | undefined>): void {
  const { parts, query } = route.value;
  history.replaceState(null, "", link(parts, { ...query, ...change }));
  hash.value = location.hash;
}

export function go(to: string): void {
  location.hash = to;
}

if (typeof window !== "undefined") {
  window.addEventListener("hashchange", () => {
    hash.value = location.hash;
  });
}
