/** The job document: read from a file, changed field by field, and what the server says of a field. */

import { type JobDocument, SET_BY_SERVER } from "../api/bodies.ts";

/** As it was written, without what the server added. */
export function written(job: JobDocument): JobDocument {
  const added = new Set<string>(SET_BY_SERVER);
  return Object.fromEntries(Object.entries(job).filter(([name, value]) => !added.has(name) && value !== null));
}

type Part = Record<string, unknown>;

const isPart = (value: unknown): value is Part => typeof value === "object" && value !== null && !Array.isArray(value);

/** The value at a path such as `hyper_parameters.client_num`. */
export function at(document: JobDocument, path: string): unknown {
  return path.split(".").reduce<unknown>((part, name) => (isPart(part) ? part[name] : undefined), document);
}

/** With this value there; without the field, and what it leaves empty, when there is no value. */
export function changed(document: JobDocument, path: string, value: unknown): JobDocument {
  return put(document, path.split("."), value) ?? {};
}

function put(part: Part, [name = "", ...rest]: string[], value: unknown): Part | undefined {
  const inner = part[name];
  const next = rest.length === 0 ? value : put(isPart(inner) ? inner : {}, rest, value);
  const { [name]: _, ...others } = part;
  const all = next === undefined ? others : { ...part, [name]: next };
  return Object.keys(all).length === 0 ? undefined : all;
}

/** JSON, YAML or TOML, by the file's name. */
export async function read(name: string, text: string): Promise<JobDocument> {
  const document = await parsed(name.slice(name.lastIndexOf(".") + 1).toLowerCase(), text);
  if (!isPart(document)) throw new Error("A job document is an object with named fields.");
  return document;
}

async function parsed(kind: string, text: string): Promise<unknown> {
  if (kind === "yaml" || kind === "yml") return (await import("js-yaml")).load(text);
  if (kind === "toml") return (await import("smol-toml")).parse(text);
  return JSON.parse(text);
}

/** `job document: hyper_parameters.client_num: must be …` names the field. */
export function fieldOf(reason: string): string | undefined {
  return /^job document: ([a-z_.]+)/.exec(reason)?.[1];
}
