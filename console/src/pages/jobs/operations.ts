/** What an operator may do with a job, and in which state (the server has the last word). */

import type { Job, JobState } from "../../api/bodies.ts";
import { path, request } from "../../api/http.ts";
import { go, link } from "../../route.ts";
import { confirm } from "../../ui/dialog.tsx";

const at = ({ namespace, id }: Job): string => path("namespaces", namespace, "jobs", id);

export const startable = (state: JobState): boolean => ["STOPPED", "FINISHED", "FAILED"].includes(state);

export const stoppable = (state: JobState): boolean => ["QUEUING", "PENDING", "STARTING", "RUNNING"].includes(state);

export function startJob(job: Job): void {
  confirm({
    title: `Start ${job.id} again?`,
    text: `Run ${job.run + 1} begins with round 1; what run ${job.run} made stays.`,
    verb: "Start",
    done: `${job.id} starts again.`,
    act: () => request("PUT", `${at(job)}:start`, null),
  });
}

export function stopJob(job: Job): void {
  confirm({
    title: `Stop ${job.id}?`,
    text: "The round at work is given up and its clients are told to end. Checkpoints stay.",
    verb: "Stop",
    danger: true,
    done: `${job.id} stops.`,
    act: () => request("PUT", `${at(job)}:stop`, null),
  });
}

export function removeJob(job: Job): void {
  confirm({
    title: `Delete ${job.id}?`,
    text: "The job, its rounds and its events are removed, a run is ended. Files in the storage stay.",
    verb: "Delete",
    danger: true,
    done: `${job.id} was deleted.`,
    act: async () => {
      await request("DELETE", at(job));
      go(link(["jobs"]));
    },
  });
}
