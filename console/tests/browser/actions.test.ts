/** What is asked about before it is done, on a real server that asks for tokens: each is done, and recorded with who did it. */

import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { accessibility, launch, open } from "./browser.ts";
import { type Federation, federation } from "./federation.ts";
import { digits } from "./jobs.ts";

let browser: Browser;
let sites: Federation;

beforeAll(async () => {
  browser = await launch();
  sites = await federation(2, { tokens: true });
});

afterAll(async () => {
  await browser.close();
  await sites.stop();
});

/** A job may take as long as the machine needs. */
const PATIENT = { timeout: 150_000 };

async function entered(place: string, token = sites.token): Promise<{ page: Page; faults: string[] }> {
  const { page, faults } = await open(browser, sites.url + place);
  await page.getByLabel("Token").fill(token);
  await page.getByRole("button", { name: "Enter" }).click();
  await page.getByRole("navigation").waitFor();
  return { page, faults };
}

/** Asked about, and done. */
async function confirmed(page: Page, verb: string): Promise<void> {
  await page.getByRole("dialog").getByRole("button", { name: verb }).click();
}

const badge = (page: Page, state: string) => page.locator(".bar .badge", { hasText: state });

interface Entry {
  who: string;
  method: string;
  path: string;
  status: number;
}

const recorded = async (method: string, path: string): Promise<Entry | undefined> => {
  const { entries } = await sites.get<{ entries: Entry[] }>("/audit?newest=true&limit=1000");
  return entries.find((entry) => entry.method === method && entry.path.endsWith(path));
};

test("the token of the first start is asked for once, by keys alone, and opens the pages", async () => {
  const { page, faults } = await open(browser, sites.url);
  await page.getByLabel("Token").waitFor();
  expect(await accessibility(page)).toEqual([]);
  await page.keyboard.press("Tab");
  expect(await page.evaluate(() => document.activeElement?.getAttribute("type"))).toBe("password");
  await page.keyboard.type(sites.token);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Jobs" }).waitFor();
  await page.reload();
  await page.getByRole("heading", { name: "Jobs" }).waitFor();
  expect(await page.evaluate(() => document.cookie), "no script can read it").toBe("");
  expect(faults).toEqual([]);
});

test("a job is stopped, started again and deleted", async () => {
  await sites.submit(digits("watched", 2, 200, 20));
  const { page, faults } = await entered("#/jobs/default/watched");
  await page.getByRole("grid", { name: "Clients of the round" }).waitFor(PATIENT);
  await page.getByRole("button", { name: "Stop" }).click();
  await confirmed(page, "Stop");
  await badge(page, "stopped").waitFor(PATIENT);
  await page.getByRole("button", { name: "Start again" }).click();
  await confirmed(page, "Start");
  await badge(page, "running").waitFor(PATIENT);
  expect((await sites.get<{ run: number }>("/namespaces/default/jobs/watched")).run).toBe(2);
  await page.getByRole("button", { name: "Delete" }).click();
  await confirmed(page, "Delete");
  await page.getByRole("heading", { name: "Jobs" }).waitFor(PATIENT);
  await page.getByRole("link", { name: "watched" }).waitFor({ state: "detached", ...PATIENT });
  for (const [method, path] of [
    ["PUT", "/jobs/watched:stop"],
    ["PUT", "/jobs/watched:start"],
    ["DELETE", "/jobs/watched"],
  ] as const) {
    expect(await recorded(method, path), path).toMatchObject({ who: "first-admin", status: 200 });
  }
  expect(faults).toEqual([]);
});

test("each client's way through a round has its times and its bytes", async () => {
  const job = digits("timed", 2, 3, 5);
  // an evaluation brings nothing: the last part is to be a training
  await sites.submit({ ...job, hyper_parameters: { ...job.hyper_parameters, evaluate_interval: 0 } });
  const { page, faults } = await entered("#/jobs/default/timed");
  await badge(page, "finished").waitFor(PATIENT);
  await page.getByText("Last round 3").waitFor(PATIENT);
  const grid = page.getByRole("grid", { name: "Clients of the round" });
  for (const client of ["c1", "c2"]) {
    const way = grid.getByRole("row", { name: new RegExp(`^${client} `) });
    expect(await way.locator("[data-stage=selected]").textContent()).toMatch(/^\d\d:\d\d:\d\d$/);
    for (const stage of ["sent", "training", "uploading", "accepted"]) {
      expect(await way.locator(`[data-stage=${stage}]`).textContent(), `${client} ${stage}`).toMatch(/^\+\d/);
    }
  }
  await page.getByRole("tab", { name: "Clients" }).click();
  await page.getByLabel("Metric").selectOption("bytes brought");
  await page
    .getByRole("grid", { name: "bytes brought by client" })
    .getByRole("row", { name: /^c1 .*KB/ })
    .waitFor();
  expect(faults).toEqual([]);
});

test("a client is removed, and welcome again", async () => {
  const { page, faults } = await entered("#/clients?client=c2");
  await page.getByRole("button", { name: "Remove" }).click();
  await page.getByLabel("Why").fill("not ours");
  await confirmed(page, "Remove");
  await page.getByRole("row", { name: /^c2 .*removed/ }).waitFor(PATIENT);
  await page.getByText("not ours").waitFor();
  await page.getByRole("button", { name: "Uncordon" }).click();
  await confirmed(page, "Uncordon");
  await page.getByRole("row", { name: /^c2 .*online/ }).waitFor(PATIENT);
  expect(await recorded("DELETE", "/clients/c2")).toMatchObject({ who: "first-admin", status: 200 });
  expect(faults).toEqual([]);
});

test("a token is issued, and revoked it opens nothing any more", async () => {
  const { page, faults } = await entered("#/access");
  await page.getByRole("button", { name: "Issue a token" }).click();
  await page.getByLabel("For whom").fill("ada");
  await page.getByLabel("Role").selectOption("operator");
  await page.getByRole("dialog").getByRole("button", { name: "Issue" }).click();
  const token = (await page.getByRole("dialog").getByLabel("Token").textContent())?.trim() ?? "";
  expect(token).toMatch(/^nsfl_/);
  await page.keyboard.press("Escape");
  const hers = await entered("#/jobs", token);
  await hers.page.getByText("ada").waitFor();
  await page
    .getByRole("row", { name: /^ada operator/ })
    .getByRole("button", { name: "Revoke" })
    .click();
  await confirmed(page, "Revoke");
  await page.getByText(/Token .* was revoked/).waitFor();
  await hers.page.reload();
  await hers.page.getByLabel("Token").waitFor();
  expect(faults).toEqual([]);
});

test("an actor is stopped and started again; what the server cannot do without is said before", async () => {
  await sites.submit(digits("acted", 2, 200, 20));
  const { page, faults } = await entered("#/actors");
  await page.getByRole("row", { name: /^scheduler/ }).click();
  await page.getByRole("complementary", { name: "scheduler" }).getByRole("button", { name: "Stop" }).click();
  await page.getByRole("dialog").getByText("no job is started, stopped or recorded").waitFor();
  await page.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
  expect(await recorded("PUT", "scheduler:stop")).toBeUndefined();

  const aggregator = "jobs/default/acted/aggregator";
  await page.goto(`${sites.url}#/actors?find=acted/aggregator&actor=${encodeURIComponent(aggregator)}`);
  const panel = page.getByRole("complementary", { name: "aggregator" });
  await panel.getByRole("button", { name: "Stop" }).click();
  await confirmed(page, "Stop");
  await panel.getByText("stopped").first().waitFor(PATIENT);
  await panel.getByRole("button", { name: "Restart" }).click();
  await confirmed(page, "Restart");
  await panel.getByText("running").first().waitFor(PATIENT);
  await panel.getByRole("button", { name: "Trace" }).click();
  await panel.getByRole("table").getByRole("row").nth(1).waitFor(PATIENT);
  for (const act of ["stop", "restart", "trace"]) {
    const path = act === "trace" ? `${aggregator}:trace?seconds=60` : `${aggregator}:${act}`;
    expect(await recorded(act === "trace" ? "GET" : "PUT", path), act).toMatchObject({ who: "first-admin" });
  }
  expect(faults).toEqual([]);
});
