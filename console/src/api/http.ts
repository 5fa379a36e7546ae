/** Requests to the server that served these pages, and what it means when one is not done. */

import { needToken } from "./session.ts";

/** The server's own words for what it did not do. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    reason: string,
  ) {
    super(reason);
  }
}

export type Method = "GET" | "POST" | "PUT" | "DELETE";

const ROOT = "/api/v1";

/** A path below the interface's root, each part of it made safe. Slashes in `rest` stay slashes. */
export function path(...parts: string[]): string {
  return ROOT + parts.map((part) => `/${part.split("/").map(encodeURIComponent).join("/")}`).join("");
}

/** With those of the values that are set. */
export function query(values: Record<string, string | number | boolean | undefined>): string {
  const set = Object.entries(values).filter(([, value]) => value !== undefined && value !== "" && value !== false);
  return set.length === 0 ? "" : `?${new URLSearchParams(set.map(([name, value]) => [name, String(value)]))}`;
}

export async function request<T>(method: Method, url: string, body?: unknown): Promise<T> {
  const json =
    body === undefined ? {} : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  return (await answered(fetch(url, { method, ...json }))).json() as Promise<T>;
}

export const get = <T>(url: string): Promise<T> => request<T>("GET", url);

/** Stores a file in a namespace's storage. */
export async function upload(namespace: string, name: string, bytes: Blob): Promise<void> {
  await answered(fetch(path("namespaces", namespace, "files", name), { method: "PUT", body: bytes }));
}

async function answered(asked: Promise<Response>): Promise<Response> {
  const answer = await asked.catch(() => {
    throw new Refused(0, "no-answer", "The server does not answer. Try again once the connection is back.");
  });
  if (answer.ok) return answer;
  const refused = await refusal(answer);
  if (answer.status === 401) needToken(refused.message);
  throw refused;
}

async function refusal(answer: Response): Promise<Refused> {
  const text = await answer.text();
  try {
    const { reason, code } = JSON.parse(text) as { reason?: string; code?: string };
    return new Refused(answer.status, code ?? "", reason ?? answer.statusText);
  } catch {
    return new Refused(answer.status, "", text || answer.statusText);
  }
}

/** Any error as a sentence. */
export function sentence(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
