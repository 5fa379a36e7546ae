/** The job document as it was written. */

import type { Job } from "../../api/bodies.ts";
import { written } from "../../model/document.ts";

export function Document({ job }: { job: Job }) {
  return (
    <pre tabIndex={0} aria-label="Job document">
      {JSON.stringify(written(job), null, 2)}
    </pre>
  );
}
