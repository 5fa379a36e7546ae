/** Why a trainer or an extender failed: how its process ended, its traceback, its last lines. */

import type { Cause } from "../../api/bodies.ts";
import { Facts } from "../../ui/controls.tsx";

export function CauseText({ of: { exit, limit, worker, traceback, log } }: { of: Cause }) {
  return (
    <div className="cause">
      <Facts
        of={[
          ["ended with", exit],
          ["limit", limit],
          ["worker", worker ?? undefined],
        ]}
      />
      {traceback && (
        <pre tabIndex={0} aria-label="Traceback">
          {traceback}
        </pre>
      )}
      {log && log.trim() !== traceback?.trim() && (
        <details open={!traceback}>
          <summary>Last lines of its output</summary>
          <pre tabIndex={0} aria-label="Last lines of its output">
            {log}
          </pre>
        </details>
      )}
    </div>
  );
}
