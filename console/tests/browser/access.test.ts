/** Who may do what, as the pages show it; and a server that goes and comes. */

import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { fake } from "../fake/server.ts";
import { launch, open } from "./browser.ts";

let browser: Browser;
const SMALL = { actors: 30, clients: 5, jobs: 3 };

beforeAll(async () => {
  browser = await launch();
});

afterAll(() => browser.close());

test("a token is asked for, and a wrong one is refused in words", async () => {
  const server = await fake({ ...SMALL, token: "nsfl_right" });
  const { page, faults } = await open(browser, server.url);
  await page.getByLabel("Token").fill("nsfl_wrong");
  await page.getByRole("button", { name: "Enter" }).click();
  await page.getByRole("alert").filter({ hasText: "does not know this token" }).waitFor();
  await page.getByLabel("Token").fill("nsfl_right");
  await page.getByRole("button", { name: "Enter" }).click();
  await page.getByRole("link", { name: "job-0000" }).waitFor();
  expect(await page.evaluate(() => JSON.stringify([localStorage, sessionStorage]))).toBe("[{},{}]");
  expect(faults).toEqual([]);
  await server.close();
});

test("a viewer sees everything and is offered nothing that changes it", async () => {
  const server = await fake({ ...SMALL, role: "viewer" });
  const { page } = await open(browser, server.url);
  await page.getByRole("link", { name: "job-0000" }).click();
  await page.getByText("Waits for").waitFor();
  const nothing = async () => {
    for (const verb of [
      "Submit",
      "Stop",
      "Start",
      "Delete",
      "Restart",
      "Trace",
      "Cordon",
      "Uncordon",
      "Remove",
      "Another",
    ]) {
      for (const role of ["button", "link"] as const) {
        expect(await page.locator("main").getByRole(role, { name: verb }).count(), verb).toBe(0);
      }
    }
  };
  await nothing();
  await page.getByRole("link", { name: "Clients", exact: true }).click();
  await page.getByRole("row", { name: "site-0001" }).click();
  await page.getByRole("heading", { name: "Data sets" }).waitFor();
  await nothing();
  await page.getByRole("link", { name: "Actors" }).click();
  await page.getByRole("row", { name: "selector" }).click();
  await page.getByRole("heading", { name: "Handler", exact: true }).waitFor();
  await page.getByRole("columnheader", { name: "Actor" }).waitFor();
  expect(await page.getByRole("button", { name: "Restart" }).count()).toBe(0);
  expect(await page.getByRole("link", { name: "Access" }).count()).toBe(0);
  await server.close();
});

test("what is changed is asked about first, and not done when it is cancelled", async () => {
  const server = await fake(SMALL);
  const { page } = await open(browser, `${server.url}#/clients?client=site-0001`);
  await page.getByRole("button", { name: "Cordon" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
  expect(server.changes).toEqual([]);
  await page.getByRole("button", { name: "Cordon" }).click();
  await page.getByLabel("Why").fill("maintenance");
  await page.getByRole("dialog").getByRole("button", { name: "Cordon" }).click();
  await page.getByText("site-0001 is cordoned.").waitFor();
  expect(server.changes).toEqual(["PUT /api/v1/clients/site-0001:cordon"]);
  await server.close();
});

test("a server that is away is told, and that it is back, without a reload", async () => {
  const first = await fake(SMALL);
  const { page } = await open(browser, first.url);
  await page.getByRole("link", { name: "job-0000" }).waitFor();
  await page.evaluate(() => Object.assign(window, { same: true }));
  await first.close();
  await page.getByText("Reconnecting since").waitFor();
  expect(await page.getByRole("link", { name: "job-0002" }).count(), "what was there stays").toBe(1);
  const second = await fake({ ...SMALL, jobs: 4, port: first.port });
  await page.getByRole("link", { name: "job-0003" }).waitFor();
  expect(await page.getByText("Reconnecting since").count()).toBe(0);
  expect(await page.evaluate(() => "same" in window)).toBe(true);
  await second.close();
});

test("everything is reached by keys", async () => {
  const server = await fake(SMALL);
  const { page } = await open(browser, `${server.url}#/actors`);
  await page.getByText("30 actors").waitFor();
  await page.keyboard.press("Tab");
  expect(await page.evaluate(() => document.activeElement?.textContent)).toContain("Skip");
  await page.keyboard.press("Enter");
  expect(await page.evaluate(() => document.activeElement?.id)).toBe("main");
  const focused = () =>
    page.evaluate(
      () =>
        document.activeElement?.matches("[role=row]") &&
        document.activeElement.querySelector("[title]")?.getAttribute("title"),
    );
  for (let tabs = 0; tabs < 12 && (await focused()) !== "server"; tabs++) await page.keyboard.press("Tab");
  expect(await focused()).toBe("server");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowDown");
  expect(await focused()).toBe("core");
  await page.keyboard.press("ArrowLeft");
  expect(await page.getByRole("row", { name: "scheduler" }).count(), "core is closed").toBe(0);
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowRight");
  expect(await focused()).toBe("scheduler");
  await page.keyboard.press("Enter");
  await page.getByRole("complementary", { name: "scheduler" }).waitFor();
  await page.keyboard.press("Escape");
  expect(await focused(), "the focus is back where it was").toBe("scheduler");
  await server.close();
});
