/** A real server and real clients on this machine, from the program that cargo built. It ends with the test. */

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";

const ROOT = join(import.meta.dirname, "../../..");
const PROGRAM = process.env.CONSOLE_NODE ?? join(ROOT, "target/debug/nsfl-node");

export interface Federation {
  url: string;
  /** The first admin's token, where one is needed. */
  token: string;
  /** Below `/api/v1`. */
  get<T>(path: string): Promise<T>;
  submit(job: object): Promise<void>;
  killClient(name: string): Promise<void>;
  /** It lives and says nothing. */
  freezeClient(name: string): void;
  /** SIGKILL: no time for anything. */
  killServer(): Promise<void>;
  /** Again, in its folder and on its port. */
  startServer(): Promise<void>;
  stop(): Promise<void>;
}

export async function federation(clients: number, { tokens = false } = {}): Promise<Federation> {
  if (!existsSync(PROGRAM)) throw new Error(`${PROGRAM} is missing: cargo build --workspace --bins`);
  const folder = mkdtempSync(join(tmpdir(), "nsfl-console-"));
  const names = Array.from({ length: clients }, (_, index) => `c${index + 1}`);
  const pki = join(folder, "pki");
  const issued = names.flatMap((name) => ["--client", name]);
  execFileSync(PROGRAM, ["provision", "--dir", pki, "--federation", "console", "--server", "server", ...issued], {
    stdio: "ignore",
  });
  deal(names, join(folder, "data"));
  const [rest, link] = [await freePort(), await freePort()];
  const write = (name: string, lines: string) => {
    const tls = `[tls]\nca = "${pki}/ca.crt"\ncertificate = "${pki}/${name}.crt"\nkey = "${pki}/${name}.key"\n`;
    writeFileSync(join(folder, `${name}.toml`), `${lines}\n${tls}`);
  };
  write(
    "server",
    `federation = "console"\ndata_dir = "${folder}/server"\n[rest]\nlisten = "127.0.0.1:${rest}"\nloopback_without_token = ${!tokens}\n` +
      `[link]\nlisten = "127.0.0.1:${link}"`,
  );
  for (const name of names) {
    write(
      name,
      `server = "127.0.0.1:${link}"\ndata_dir = "${folder}/${name}"\nmax_tasks = 4\nruntimes = ["builtin", "pytorch"]\n` +
        `[console]\nobserve = true\n[resource]\ncpu = 4.0\nmemory_mb = 4000.0\n[datasets]\ndigits = "${folder}/data/${name}"\n[link]\nretry_base_ms = 50\nretry_max_ms = 200`,
    );
  }
  const started: ChildProcess[] = [];
  const start = async (role: string, name: string): Promise<ChildProcess> => {
    const child = await node(role, join(folder, `${name}.toml`), join(folder, `${name}.log`));
    started.push(child);
    return child;
  };
  let server = await start("server", "server");
  const running = new Map<string, ChildProcess>();
  for (const name of names) running.set(name, await start("client", name));
  const url = `http://127.0.0.1:${rest}/console/`;
  const api = `http://127.0.0.1:${rest}/api/v1`;
  const token = tokens ? readFileSync(join(folder, "server/admin.token"), "utf8").trim() : "";
  const headers: Record<string, string> = tokens ? { authorization: `Bearer ${token}` } : {};
  return {
    url,
    token,
    get: async (path) => (await fetch(api + path, { headers })).json(),
    async submit(job) {
      const body = JSON.stringify(job);
      const answer = await fetch(`${api}/namespaces/default/jobs`, { method: "POST", headers, body });
      if (answer.status !== 201) throw new Error(`refused: ${await answer.text()}`);
    },
    async killClient(name) {
      const client = running.get(name);
      client?.kill("SIGKILL");
      if (client) await ended(client);
    },
    freezeClient(name) {
      running.get(name)?.kill("SIGSTOP");
    },
    async killServer() {
      server.kill("SIGKILL");
      await ended(server);
    },
    async startServer() {
      server = await start("server", "server");
    },
    async stop() {
      for (const child of started.reverse()) {
        child.kill("SIGKILL");
        await ended(child);
      }
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** It says in one line that it is ready. */
function node(role: string, config: string, log: string): Promise<ChildProcess> {
  const child = spawn(PROGRAM, [role, "--until-stdin-closes", "--config", config], {
    stdio: ["pipe", "pipe", openSync(log, "a")],
  });
  return new Promise((ready, failed) => {
    child.stdout?.once("data", () => ready(child));
    child.once("error", failed);
    child.once("exit", (code) =>
      failed(new Error(`${role} ended with ${code}: ${readFileSync(log, "utf8").slice(-1500)}`)),
    );
  });
}

function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((done) => child.once("exit", () => done()));
}

/** Below those that the system gives to outgoing connections, so that a server finds its own again. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const isFree = await new Promise<boolean>((told) => {
      const probe = createServer();
      probe.once("error", () => told(false));
      probe.listen(port, "127.0.0.1", () => probe.close(() => told(true)));
    });
    if (isFree) return port;
  }
}

/** The digits, dealt to the clients one by one; every fifth is for tests. */
function deal(names: string[], folder: string): void {
  const lines = gunzipSync(readFileSync(join(ROOT, "data/digits/digits.csv.gz")))
    .toString()
    .trim()
    .split("\n");
  names.forEach((name, at) => {
    const mine = lines.filter((_, index) => index % names.length === at);
    mkdirSync(join(folder, name), { recursive: true });
    writeFileSync(join(folder, name, "train.csv"), `${mine.filter((_, index) => index % 5 !== 0).join("\n")}\n`);
    writeFileSync(join(folder, name, "test.csv"), `${mine.filter((_, index) => index % 5 === 0).join("\n")}\n`);
  });
}

/** Scripts that fail at client c1 in round 1 as a parameter says. */
export const PACKAGE = join(ROOT, "integration/tests/scripts/package");
