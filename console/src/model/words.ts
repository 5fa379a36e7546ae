/** What an event says, as a sentence's worth of words. */

import type { Fields, Json } from "../api/bodies.ts";
import { metric } from "./format.ts";

const text = (value: Json | undefined): string =>
  value === null || value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);

/** Where in a job it was. */
function where(fields: Fields): string {
  const attempt = Number(fields.attempt ?? 1);
  const round = fields.round === undefined ? "" : `round ${text(fields.round)}`;
  const kind = fields.kind === undefined ? "" : ` ${text(fields.kind)}`;
  return `${round}${kind}${attempt > 1 ? `, attempt ${attempt}` : ""}`;
}

function measured(value: Json | undefined): string {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return "";
  const numbers = Object.entries(value).filter((entry): entry is [string, number] => typeof entry[1] === "number");
  return numbers.map(([name, number]) => `${name} ${metric(number)}`).join(", ");
}

const joined = (...parts: string[]): string => parts.filter((part) => part !== "").join(" · ");

/** In short; `fields` has all of it. */
export function words(kind: string, fields: Fields): string {
  const client = text(fields.client);
  switch (kind) {
    case "job-state":
      return joined(text(fields.state), text(fields.reason));
    case "run-started":
      return `run ${text(fields.run)}`;
    case "run-ended":
      return joined(
        text(fields.outcome),
        text(fields.reason),
        fields.accuracy == null ? "" : `accuracy ${metric(Number(fields.accuracy))}`,
      );
    case "round-opened":
      return joined(where(fields), Array.isArray(fields.cohort) ? `${fields.cohort.length} clients` : "");
    case "round-closed":
      return joined(
        where(fields),
        text(fields.outcome),
        `${text(fields.accepted)} of ${text(fields.cohort)}`,
        measured(fields.metrics),
        text(fields.reason),
      );
    case "checkpoint-saved":
      return joined(text(fields.id), fields.accuracy == null ? "" : `accuracy ${metric(Number(fields.accuracy))}`);
    case "update-accepted":
      return joined(client, where(fields), measured(fields.metrics));
    case "update-refused":
    case "task-failed":
      return joined(client, where(fields), text(fields.reason), text(fields.last));
    default: {
      const rest = Object.entries(fields).filter(([name]) => !["round", "attempt", "kind", "client"].includes(name));
      return joined(client, where(fields), ...rest.map(([name, value]) => `${name} ${text(value)}`));
    }
  }
}
