/** The saved models of a job, to take home. */

import type { Job } from "../../api/bodies.ts";
import { path } from "../../api/http.ts";
import { leaf, metric } from "../../model/format.ts";
import { Empty } from "../../ui/controls.tsx";
import { Glyph } from "../../ui/glyph.tsx";

/** `V2-10`: run, then round. */
function order(id: string): number {
  const [run = 0, round = 0] = id.slice(1).split("-").map(Number);
  return run * 1e6 + round;
}

export function Checkpoints({ job }: { job: Job }) {
  const all = Object.entries(job.checkpoints).sort(([a], [b]) => order(b) - order(a));
  if (all.length === 0) return <Empty>None is saved yet.</Empty>;
  return (
    <table className="plain checkpoints">
      <thead>
        <tr>
          <th>Checkpoint</th>
          <th className="end">Accuracy</th>
          <th>In the storage</th>
          <th>
            <span className="hidden">Download</span>
          </th>
        </tr>
      </thead>
      <tbody>
        {all.map(([id, { accuracy, path: stored }]) => (
          <tr key={id}>
            <th scope="row">{id}</th>
            <td className="end">{metric(accuracy)}</td>
            <td className="mono wrap">{stored}</td>
            <td className="end">
              <a
                className="button"
                href={path("namespaces", job.namespace, "files", stored.replace(/^\//, ""))}
                download={`${job.id}-${id}-${leaf(stored)}`}
              >
                <Glyph of="load" />
                Download<span className="hidden"> {id}</span>
              </a>
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
