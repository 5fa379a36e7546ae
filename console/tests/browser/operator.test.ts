/** What an operator does, on a real server with real clients: nothing here is made up. */

import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { launch, open } from "./browser.ts";
import { type Federation, federation, PACKAGE } from "./federation.ts";
import { digits, model } from "./jobs.ts";

let browser: Browser;
let sites: Federation;

beforeAll(async () => {
  browser = await launch();
  sites = await federation(3);
});

afterAll(async () => {
  await browser.close();
  await sites.stop();
});

/** A job may take as long as the machine needs. */
const PATIENT = { timeout: 150_000 };

const badge = (page: Page, state: string) => page.locator(".bar .badge", { hasText: state });

test("submits a job by the form, watches it finish and takes a checkpoint home", async () => {
  const { page, faults } = await open(browser, sites.url);
  await page.getByRole("link", { name: "Submit a job" }).first().click();
  await page.getByLabel("Id", { exact: true }).fill("by-form");
  await page.getByLabel("Output").fill("out");
  await page.getByLabel("Data sets").fill("digits");
  await page.getByLabel("Parameters", { exact: true }).fill(JSON.stringify(digits("", 3, 1).parameters));
  await page.getByLabel("Rounds", { exact: true }).fill("4");
  await page.getByLabel("Clients a round").fill("3");
  await page.getByLabel("Updates needed").fill("9");
  await page.getByRole("button", { name: "Submit" }).click();
  const refused = page.getByRole("alert");
  await refused.filter({ hasText: "threshold_client_num" }).waitFor();
  expect(await page.evaluate(() => document.activeElement?.id)).toBe("hyper_parameters.threshold_client_num");
  await page.getByLabel("Updates needed").fill("2");
  await page.getByRole("button", { name: "Submit" }).click();

  await page.getByRole("heading", { name: "by-form" }).waitFor();
  await badge(page, "finished").waitFor(PATIENT);
  await page.getByText("Last round 4").waitFor();
  expect(
    await page.getByRole("grid", { name: "Clients of the round" }).getByText("accepted").count(),
  ).toBeGreaterThanOrEqual(2);
  const accuracy = page.locator(".chart", { hasText: "accuracy" }).first();
  expect(Number(await accuracy.locator(".key", { hasText: "evaluated" }).locator("b").textContent())).toBeGreaterThan(
    0.5,
  );

  await page.getByRole("tab", { name: "Rounds" }).click();
  await page.getByRole("row", { name: /^4 train/ }).click();
  await page.getByRole("complementary", { name: "Round 4, train" }).getByText("accepted").first().waitFor();
  await page.getByRole("tab", { name: "Checkpoints" }).click();
  const [file] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("link", { name: "Download" }).first().click(),
  ]);
  expect(file.suggestedFilename()).toBe("by-form-V1-4-checkpoint_4.safetensors");
  expect(
    (await (await file.createReadStream()).toArray()).reduce((sum, piece) => sum + piece.length, 0),
  ).toBeGreaterThan(1000);
  await page.getByRole("tab", { name: "Events" }).click();
  await page.getByRole("row", { name: "run-ended" }).waitFor();
  expect(faults).toEqual([]);
});

test("restarts the coordinator of a running job, sees it come again and the job go on", async () => {
  await sites.submit(digits("steady", 3, 20, 20));
  const { page, faults } = await open(browser, `${sites.url}#/actors?find=steady/coordinator`);
  const row = page.getByRole("row", { name: "coordinator" });
  await row.waitFor();
  await row.click();
  const panel = page.getByRole("complementary", { name: "coordinator" });
  await panel.getByText("What it tells").waitFor();
  await panel.getByRole("button", { name: "Trace" }).click();
  await panel.getByRole("table").getByRole("row").nth(1).waitFor(PATIENT);
  await panel.getByRole("button", { name: "End" }).click();
  await panel.getByRole("button", { name: "Restart" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Restart" }).click();
  await page.getByText("/coordinator was restarted.").waitFor();
  await panel.getByRole("list", { name: "Restarts" }).getByText("asked for").waitFor(PATIENT);
  await page.goto(`${sites.url}#/jobs/default/steady`);
  await badge(page, "finished").waitFor(PATIENT);
  expect((await sites.get<{ run: number; status: { state: string } }>("/namespaces/default/jobs/steady")).run).toBe(1);
  await page.goto(`${sites.url}#/access?tab=audit`);
  await page.getByRole("row", { name: /PUT .*steady\/coordinator:restart/ }).waitFor();
  expect(faults).toEqual([]);
});

test("sends scripts and a model along, and sees why a client failed", async () => {
  const { page, faults } = await open(browser, `${sites.url}#/jobs/new`);
  await page.getByLabel("Id", { exact: true }).fill("broken");
  await page.getByLabel("Output").fill("out");
  await page.getByLabel("Runtime").selectOption("pytorch");
  await page.getByLabel("Scripts", { exact: true }).selectOption("scripts");
  await page.getByLabel("Folder of scripts").setInputFiles(PACKAGE);
  await page
    .getByLabel("Initial model")
    .setInputFiles({ name: "model.safetensors", mimeType: "application/octet-stream", buffer: model([1, 2, 3]) });
  expect(await page.getByLabel("Task configuration").inputValue()).toBe("task.json");
  await page.getByLabel("Parameters", { exact: true }).fill('{"--way": "exception"}');
  await page.getByLabel("Rounds", { exact: true }).fill("2");
  await page.getByLabel("Evaluate every").fill("0");
  await page.getByLabel("Updates needed").fill("1");
  await page.getByLabel("Clients a round").fill("3");
  await page.getByRole("button", { name: "Submit" }).click();
  await page.getByRole("tab", { name: "Failures" }).click();
  const failure = page.locator(".failures .failure", { hasText: "c1" });
  await failure.getByLabel("Traceback").waitFor(PATIENT);
  expect(await failure.getByLabel("Traceback").textContent()).toContain("ValueError: no such column");
  await badge(page, "finished").waitFor(PATIENT);
  expect(faults).toEqual([]);
});

test("loses the server and has it back, without a reload and without a lost round", async () => {
  await sites.submit(digits("through", 3, 20, 20));
  const { page, faults } = await open(browser, `${sites.url}#/jobs/default/through`);
  await page.getByRole("grid", { name: "Clients of the round" }).waitFor(PATIENT);
  await page.evaluate(() => Object.assign(window, { same: true }));
  await sites.killServer();
  await page.getByText("Reconnecting since").waitFor();
  await sites.startServer();
  await page.locator(".server", { hasText: "live" }).waitFor(PATIENT);
  await badge(page, "finished").waitFor(PATIENT);
  await page.getByText("Last round 20").waitFor();
  expect(await page.evaluate(() => "same" in window)).toBe(true);
  expect(faults).toEqual([]);
});

test("cordons a client, sees why, and its own actors", async () => {
  const { page, faults } = await open(browser, `${sites.url}#/clients`);
  await page.getByRole("row", { name: /^c2 / }).click();
  await page.getByRole("button", { name: "Cordon" }).click();
  await page.getByLabel("Why").fill("disk is being changed");
  await page.getByRole("dialog").getByRole("button", { name: "Cordon" }).click();
  await page.getByRole("row", { name: /^c2 .*cordoned/ }).waitFor();
  const panel = page.getByRole("complementary", { name: "c2" });
  await panel.getByText("disk is being changed").waitFor();
  await panel.getByRole("button", { name: "Uncordon" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Uncordon" }).click();
  await page.getByRole("row", { name: /^c2 .*online/ }).waitFor();
  await panel.getByRole("link", { name: "Its actors" }).click();
  await page.getByRole("row", { name: /^uplink/ }).waitFor();
  expect(faults).toEqual([]);
});

test("filters events and follows the log", async () => {
  const { page, faults } = await open(browser, `${sites.url}#/events?job=default/broken&client=c1`);
  await page
    .getByRole("row", { name: /task-failed.*c1/ })
    .first()
    .waitFor();
  await page.getByRole("tab", { name: "Logs" }).click();
  await page.getByLabel("Job", { exact: true }).fill("");
  await page.getByLabel("Client", { exact: true }).fill("");
  await sites.submit(digits("told", 1, 1));
  await page
    .getByRole("row", { name: /job state changed.*told/ })
    .first()
    .waitFor(PATIENT);
  expect(faults).toEqual([]);
});
