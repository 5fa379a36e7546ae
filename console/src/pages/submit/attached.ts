/** What goes along with a job document: scripts and a model, stored first, then named in the document. */

import type { JobDocument } from "../../api/bodies.ts";
import { changed } from "../../model/document.ts";
import { pack, place } from "../../model/package.ts";

export interface Attached {
  /** Of a folder, or one zip. */
  scripts: readonly File[];
  model: File | null;
}

export const NOTHING: Attached = { scripts: [], model: null };

type Upload = (namespace: string, name: string, bytes: Blob) => Promise<void>;

/** Stores what is attached and gives the document that names it. */
export async function store(
  namespace: string,
  document: JobDocument,
  { scripts, model }: Attached,
  upload: Upload,
  told: (what: string) => void,
): Promise<JobDocument> {
  let whole = document;
  if (scripts.length > 0) {
    told("Storing the scripts…");
    const name = `scripts/${document.id}/scripts.zip`;
    await upload(namespace, name, await zipped(scripts));
    whole = changed(whole, "scripts.path", name);
  }
  if (model !== null) {
    told("Storing the model…");
    const name = `models/${document.id}/${model.name}`;
    await upload(namespace, name, model);
    whole = changed(whole, "model_path", name);
  }
  return whole;
}

/** A zip goes as it is. */
async function zipped(files: readonly File[]): Promise<Blob> {
  const [first] = files;
  if (files.length === 1 && first?.name.endsWith(".zip")) return first;
  const kept = files.flatMap((file) => {
    const name = place(file.webkitRelativePath);
    return name === null ? [] : [{ name, file }];
  });
  if (kept.length === 0) throw new Error("The folder of scripts has nothing in it that could be sent.");
  const read = kept.map(async ({ name, file }) => ({ name, bytes: new Uint8Array(await file.arrayBuffer()) }));
  return new Blob([pack(await Promise.all(read)) as Uint8Array<ArrayBuffer>]);
}

/** Task configurations among them: which one to name in the document. */
export function configurations(files: readonly File[]): string[] {
  const names = files.map((file) => place(file.webkitRelativePath)).filter((name): name is string => name !== null);
  return names.filter((name) => name.endsWith(".json")).sort();
}
