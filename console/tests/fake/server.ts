/**
 * Serves the built pages and as large a world as one asks for, by the server's own interface. For what a real federation
 * on one machine cannot show: ten thousand actors, a thousand clients, roles, a server that goes and comes.
 */

import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";
import { actors, clients, jobs, round } from "./world.ts";

export interface Size {
  actors: number;
  clients: number;
  jobs: number;
  role?: "viewer" | "operator" | "admin";
  /** Asked for before anything is told. */
  token?: string;
  port?: number;
}

export interface Fake {
  url: string;
  port: number;
  /** What was asked for to be changed: `PUT /api/v1/…`. */
  changes: string[];
  close(): Promise<void>;
}

const DIST = join(import.meta.dirname, "../../dist");
const TYPES: Record<string, string> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
};
/** As the real server's. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; " +
  "manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const TICK_MS = 2000;

export async function fake(size: Size): Promise<Fake> {
  const changes: string[] = [];
  const boot = new Date().toISOString();
  const world = {
    actors: actors(size.actors),
    clients: clients(size.clients),
    jobs: jobs(size.jobs),
    round: round(size.clients),
  };
  let known = size.token === undefined;
  const who = { name: "ada", role: size.role ?? "admin", by: size.token === undefined ? "loopback" : "token" };

  const json = (answer: ServerResponse, status: number, body: unknown) => {
    answer.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
  };
  const page = (answer: ServerResponse, path: string) => {
    const file = path === "/console/" ? "index.html" : path.slice("/console/".length);
    const headers = { "Content-Type": TYPES[extname(file)] ?? "text/plain", "Content-Security-Policy": POLICY };
    answer.writeHead(200, headers).end(readFileSync(join(DIST, file)));
  };
  const live = (answer: ServerResponse, topics: Set<string>) => {
    let id = 0;
    const send = (event: string, data: unknown) =>
      answer.write(`id: ${++id}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
    answer.writeHead(200, { "Content-Type": "text/event-stream" });
    send("hello", { version: "0.1.0", boot, now: new Date().toISOString(), name: who.name, role: who.role });
    if (topics.has("jobs")) send("jobs", { full: true, jobs: world.jobs, gone: [] });
    if (topics.has("clients")) send("clients", { full: true, clients: world.clients, gone: [] });
    if (topics.has("rounds")) send("rounds", { namespace: "default", id: "job-0000", run: 1, ...world.round });
    if (topics.has("actors")) send("actors", { full: true, actors: world.actors, gone: [] });
    if (!topics.has("actors")) return;
    // every tenth has handled something
    const timer = setInterval(() => {
      const changed = world.actors
        .filter((_, number) => number % 10 === id % 10)
        .map((of) => ({ ...of, handled: of.handled + id, rate: 1 }));
      send("actors", { full: false, actors: changed, gone: [] });
    }, TICK_MS);
    answer.on("close", () => clearInterval(timer));
  };

  const serve = (request: IncomingMessage, answer: ServerResponse) => {
    const url = new URL(request.url ?? "/", "http://fake");
    const path = url.pathname.replace("/api/v1", "");
    if (url.pathname.startsWith("/console/")) return page(answer, url.pathname);
    if (path === "/session" && request.method === "POST") {
      let text = "";
      request.on("data", (piece: Buffer) => {
        text += piece.toString();
      });
      request.on("end", () => {
        known ||= (JSON.parse(text) as { token: string }).token === size.token;
        if (known) json(answer, 200, who);
        else json(answer, 401, { state: "FAILED", reason: "no such token", code: "unauthenticated" });
      });
      return;
    }
    if (!known) return json(answer, 401, { state: "FAILED", reason: "a token is needed", code: "unauthenticated" });
    if (request.method !== "GET") {
      changes.push(`${request.method} ${url.pathname}`);
      return json(answer, 200, { state: "SUCCESSFUL" });
    }
    if (path === "/session") return json(answer, 200, who);
    if (path === "/live") return live(answer, new Set(url.searchParams.get("topics")?.split(",")));
    if (path === "/events") return json(answer, 200, { events: [], last: 0 });
    if (path === "/logs") return json(answer, 200, { logs: [], last: 0 });
    if (path === "/tokens") return json(answer, 200, { tokens: [] });
    if (path === "/namespaces") return json(answer, 200, { namespaces: ["default"] });
    const [, kind, ...rest] = path.split("/");
    const one =
      kind === "clients"
        ? world.clients.find(({ id }) => id === rest[0])
        : world.actors.find((of) => of.path === rest.join("/"));
    if (one !== undefined) return json(answer, 200, { ...one, detail: { round: 9 }, children: [], tasks: [] });
    return json(answer, 404, { state: "FAILED", reason: `there is nothing at ${url.pathname}`, code: "not-found" });
  };

  const server: Server = createServer(serve);
  await new Promise<void>((done) => server.listen(size.port ?? 0, "127.0.0.1", done));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/console/`,
    port,
    changes,
    close: () =>
      new Promise((done) => {
        server.closeAllConnections();
        server.close(() => done());
      }),
  };
}
