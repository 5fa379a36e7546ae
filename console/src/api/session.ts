/** Who looks at the pages, and what they may do. The token itself is kept by the browser, out of reach of scripts. */

import { computed, signal } from "@preact/signals";

export type Role = "viewer" | "operator" | "admin";

export interface Identity {
  name: string;
  role: Role;
  by: "token" | "loopback";
}

export type Session =
  | { is: "asking" }
  | { is: "needed"; reason: string }
  /** The server does not answer. */
  | { is: "away"; reason: string }
  | { is: "open"; who: Identity };

export const session = signal<Session>({ is: "asking" });

const RANK: Record<Role, number> = { viewer: 0, operator: 1, admin: 2 };

const rank = computed(() => (session.value.is === "open" ? RANK[session.value.who.role] : -1));

/** Whether whoever looks has at least this role. */
export const may = (role: Role): boolean => rank.value >= RANK[role];

export function needToken(reason: string): void {
  session.value = { is: "needed", reason };
}

/** Asks the server who we are. */
export async function ask(): Promise<void> {
  await open(fetch("/api/v1/session"), "");
}

/** Gives the server a token; it sets the cookie. */
export async function enter(token: string): Promise<void> {
  const headers = { "Content-Type": "application/json" };
  const asked = fetch("/api/v1/session", { method: "POST", headers, body: JSON.stringify({ token }) });
  await open(asked, "The server does not know this token, or it was revoked.");
}

export async function leave(): Promise<void> {
  await fetch("/api/v1/session", { method: "DELETE" }).catch(() => undefined);
  needToken("");
}

async function open(asked: Promise<Response>, refused: string): Promise<void> {
  const answer = await asked.catch(() => null);
  if (answer === null) session.value = { is: "away", reason: "The server does not answer." };
  else if (answer.status === 401) needToken(refused);
  else if (!answer.ok) session.value = { is: "away", reason: `The server answers ${answer.status}.` };
  else session.value = { is: "open", who: (await answer.json()) as Identity };
}
