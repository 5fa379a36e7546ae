import { describe, expect, test } from "vitest";
import type { ActorRow } from "../../src/api/bodies.ts";
import { type Look, shown as lines } from "../../src/model/lines.ts";
import { Tree } from "../../src/model/tree.ts";
import { actors } from "../fake/world.ts";

const ALL: Look = { text: "", state: "", troubled: false, toggled: new Map() };
const template = actors(1)[0] as ActorRow;

const row = (path: string, parent: string | null, change: Partial<ActorRow> = {}): ActorRow => ({
  ...template,
  restarts: 0,
  path,
  kind: path,
  parent,
  ...change,
});

function small(): Tree {
  const tree = new Tree();
  const rows = [
    row("server", null),
    row("jobs", "server"),
    row("jobs/a", "jobs"),
    row("jobs/b", "jobs"),
    row("gateway", "server"),
  ];
  tree.apply({ full: true, actors: rows, gone: [] });
  return tree;
}

const shown = (tree: Tree, look: Look) => [...lines(tree, look)];
const paths = (tree: Tree, look: Partial<Look> = {}) => shown(tree, { ...ALL, ...look }).map(({ actor }) => actor.path);

describe("what changed is put into the tree", () => {
  test("a new actor comes last among its siblings, one that is gone takes what is below it along", () => {
    const tree = small();
    tree.apply({ full: false, actors: [row("jobs/c", "jobs")], gone: ["jobs/a"] });
    expect(paths(tree)).toEqual(["server", "jobs", "jobs/b", "jobs/c", "gateway"]);
    tree.apply({ full: false, actors: [], gone: ["jobs"] });
    expect(paths(tree)).toEqual(["server", "gateway"]);
    expect(tree.nodes.size).toBe(2);
  });

  test("one that is there keeps its place and what is below it", () => {
    const tree = small();
    tree.apply({ full: false, actors: [row("jobs", "server", { handled: 9 })], gone: [] });
    expect(paths(tree)).toEqual(["server", "jobs", "jobs/a", "jobs/b", "gateway"]);
    expect(tree.nodes.get("jobs")?.actor.handled).toBe(9);
  });

  test("all of it replaces what was there", () => {
    const tree = small();
    tree.apply({ full: true, actors: [row("server", null)], gone: [] });
    expect(paths(tree)).toEqual(["server"]);
  });

  test("what is gone already or was never there changes nothing", () => {
    const tree = small();
    tree.apply({ full: false, actors: [], gone: ["never", "jobs/a", "jobs/a"] });
    expect(paths(tree)).toEqual(["server", "jobs", "jobs/b", "gateway"]);
  });
});

describe("what is shown of the tree", () => {
  test("a match comes with the way to it", () => {
    const rows = shown(small(), { ...ALL, text: "jobs/b" });
    expect(rows.map(({ actor, passed, level }) => [actor.path, passed, level])).toEqual([
      ["server", true, 1],
      ["jobs", true, 2],
      ["jobs/b", false, 3],
    ]);
  });

  test("all words count, in any order and case", () => {
    expect(paths(small(), { text: "/B JOBS" })).toEqual(["server", "jobs", "jobs/b"]);
    expect(paths(small(), { text: "b nothing" })).toEqual([]);
  });

  test("by state, and by what needs attention", () => {
    const tree = small();
    tree.apply({ full: false, actors: [row("jobs/a", "jobs", { state: "restarting" })], gone: [] });
    tree.apply({
      full: false,
      actors: [row("gateway", "server", { mailbox: { ...template.mailbox, depth: 1, oldest_ms: 5000 } })],
      gone: [],
    });
    expect(paths(tree, { state: "restarting" })).toEqual(["server", "jobs", "jobs/a"]);
    expect(paths(tree, { troubled: true })).toEqual(["server", "jobs", "jobs/a", "gateway"]);
  });

  test("what is closed hides what is below it, and says its place among its siblings", () => {
    const rows = shown(small(), { ...ALL, toggled: new Map([["jobs", false]]) });
    expect(rows.map(({ actor, open, position, setSize }) => [actor.path, open, position, setSize])).toEqual([
      ["server", true, 1, 1],
      ["jobs", false, 1, 2],
      ["gateway", undefined, 2, 2],
    ]);
  });

  test("of ten thousand rows only those are made that come to the screen", () => {
    const tree = new Tree();
    tree.apply({ full: true, actors: actors(10_000), gone: [] });
    const open = new Map(["jobs", "sessions"].map((path) => [path, true] as const));
    const rows = lines(tree, { ...ALL, text: "site-01", toggled: open });
    expect([rows.length, rows.matches, rows.made]).toEqual([103, 100, 0]);
    expect(rows.at(4)).toMatchObject({ actor: { path: "sessions/site-0101" }, position: 2, setSize: 100, level: 4 });
    expect([rows.made, rows.place("sessions/site-0101"), rows.place("selector")]).toEqual([1, 4, -1]);
  });

  test("what has very many below it is closed until somebody opens it", () => {
    const tree = new Tree();
    tree.apply({ full: true, actors: actors(1000), gone: [] });
    expect(shown(tree, ALL).length).toBeLessThan(50);
    expect(
      shown(tree, {
        ...ALL,
        toggled: new Map([
          ["jobs", true],
          ["sessions", true],
        ]),
      }),
    ).toHaveLength(1000);
  });
});
