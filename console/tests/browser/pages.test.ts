/**
 * Every page of a federation at work, light, dark and on a phone: nobody is kept out (axe-core), nothing sticks out at the
 * side, the browser complains about nothing. With `SCREENSHOTS=1` the pictures of docs/console/ are made.
 */

import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Rounds } from "../../src/api/bodies.ts";
import { pack } from "../../src/model/package.ts";
import { accessibility, launch, open, shot } from "./browser.ts";
import { type Federation, federation, PACKAGE } from "./federation.ts";
import { broken, digits, model } from "./jobs.ts";

let browser: Browser;
let sites: Federation;

const put = (url: string, body: unknown) =>
  fetch(url, { method: "PUT", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } });

/** Five sites: one is lost, one is cordoned, one has just frozen; a job has ended, one has a mistake, one is at work. */
beforeAll(async () => {
  browser = await launch();
  sites = await federation(5);
  const api = sites.url.replace("/console/", "/api/v1");
  await sites.submit(digits("digits", 4, 12));
  await ended("digits");
  const storage = `${api}/namespaces/default/files`;
  await fetch(`${storage}/scripts/broken/scripts.zip`, { method: "PUT", body: packed(PACKAGE) });
  await fetch(`${storage}/models/broken/model.safetensors`, { method: "PUT", body: model([1, 2, 3]) });
  await sites.submit(broken("broken"));
  await ended("broken");
  await put(`${api}/clients/c5:cordon`, { reason: "disk is being changed" });
  await sites.killClient("c4");
  await sites.submit({ ...digits("digits-long", 3, 60, 150), description: "The same for longer" });
  await until(async () => (await rounds("digits-long")).rounds.length > 9);
  await put(`${api}/actors/jobs/default/digits-long/coordinator:restart`, null);
  sites.freezeClient("c3");
  await until(async () => (await rounds("digits-long")).current?.awaited.join() === "c3");
});

afterAll(async () => {
  await browser.close();
  await sites.stop();
});

const job = (id: string) => sites.get<{ status: { state: string } }>(`/namespaces/default/jobs/${id}`);
const rounds = (id: string) => sites.get<Rounds>(`/namespaces/default/jobs/${id}/rounds`);
const ended = (id: string) => until(async () => ["FINISHED", "FAILED"].includes((await job(id)).status.state));

function packed(folder: string): Uint8Array<ArrayBuffer> {
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) =>
    statSync(join(folder, name)).isFile(),
  );
  return pack(names.map((name) => ({ name, bytes: readFileSync(join(folder, name)) }))) as Uint8Array<ArrayBuffer>;
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((done) => setTimeout(done, 100));
}

interface Place {
  name: string;
  at: string;
  /** There once it is all there. */
  shows: (page: Page) => ReturnType<Page["getByText"]>;
}

const PLACES: Place[] = [
  { name: "jobs", at: "#/jobs", shows: (page) => page.getByRole("link", { name: "digits-long" }) },
  { name: "job", at: "#/jobs/default/digits-long", shows: (page) => page.getByText("accuracy").first() },
  {
    name: "job-rounds",
    at: "#/jobs/default/digits?tab=rounds&round=12.train.1",
    shows: (page) => page.getByText(/^accepted$/).first(),
  },
  {
    name: "job-clients",
    at: "#/jobs/default/digits?tab=clients",
    shows: (page) => page.getByRole("rowheader", { name: "c1" }),
  },
  {
    name: "job-failures",
    at: "#/jobs/default/broken?tab=failures",
    shows: (page) => page.getByText("no such column").first(),
  },
  {
    name: "job-checkpoints",
    at: "#/jobs/default/digits?tab=checkpoints",
    shows: (page) => page.getByRole("link", { name: "Download V1-12" }),
  },
  { name: "submit", at: "#/jobs/new?like=default/digits", shows: (page) => page.getByText("Known: digits") },
  { name: "clients", at: "#/clients", shows: (page) => page.getByRole("row", { name: "c5" }) },
  { name: "client", at: "#/clients?client=c5", shows: (page) => page.getByText("Cordoned by") },
  { name: "actors", at: "#/actors", shows: (page) => page.getByText("coordinator").first() },
  {
    name: "actor",
    at: "#/actors?find=digits-long&actor=jobs/default/digits-long/coordinator",
    shows: (page) => page.getByText("What it tells"),
  },
  { name: "events", at: "#/events", shows: (page) => page.getByRole("row", { name: "update-accepted" }).first() },
  {
    name: "logs",
    at: "#/events?tab=logs",
    shows: (page) => page.getByRole("row", { name: "job state changed" }).first(),
  },
  { name: "access", at: "#/access?tab=audit", shows: (page) => page.getByRole("row", { name: "c5:cordon" }).first() },
];

/** Pages whose pictures are kept in every look. */
const some = (name: string) => ["job", "actor", "actors", "clients"].includes(name);

const LOOKS = [
  { name: "light", options: { colorScheme: "light" as const }, shots: () => true },
  { name: "dark", options: { colorScheme: "dark" as const }, shots: some },
  {
    name: "phone",
    options: { colorScheme: "light" as const, viewport: { width: 390, height: 780 }, isMobile: true, hasTouch: true },
    shots: some,
  },
];

for (const look of LOOKS) {
  test(`pages in ${look.name}`, async () => {
    const { page, faults } = await open(browser, sites.url, look.options);
    const found: string[] = [];
    for (const { name, at, shows } of PLACES) {
      await page.goto(sites.url + at);
      await shows(page).waitFor({ state: "attached" });
      for (const problem of await accessibility(page)) found.push(`${name}: ${problem}`);
      const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      if (over > 0) found.push(`${name}: ${over} px wider than the screen`);
      if (look.shots(name)) await shot(page, `${name}-${look.name}`);
    }
    expect(found).toEqual([]);
    expect(faults).toEqual([]);
  });
}

test("axe-core finds what is wrong where something is", async () => {
  const { page } = await open(browser, sites.url);
  await page.evaluate(() => document.body.append(document.createElement("input")));
  expect((await accessibility(page)).join()).toContain("label");
});
