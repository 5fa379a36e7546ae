import { unzipSync } from "fflate";
import { describe, expect, test } from "vitest";
import type { CurrentRound, Member, Round } from "../../src/api/bodies.ts";
import { empty, merged } from "../../src/model/buffer.ts";
import { at, changed, fieldOf, read, written } from "../../src/model/document.ts";
import { says } from "../../src/model/filter.ts";
import { age, bytes, duration, metric, micros } from "../../src/model/format.ts";
import { measures, perClient } from "../../src/model/measured.ts";
import { pack, place } from "../../src/model/package.ts";
import { ticks } from "../../src/model/ticks.ts";
import { timeline } from "../../src/model/timeline.ts";
import { byType } from "../../src/model/traced.ts";
import { words } from "../../src/model/words.ts";
import { link, parse } from "../../src/route.ts";
import { move } from "../../src/ui/roving.ts";
import { jobs } from "../fake/world.ts";

describe("the newest of a stream", () => {
  const number = (n: number) => n;
  const of = (...items: number[]) => merged<number>(empty, items, number, 5);

  test("each once, in order, whatever comes twice or late", () => {
    expect(merged(of(3, 4), [4, 5], number, 5).items).toEqual([3, 4, 5]);
    expect(merged(of(3, 5), [1, 4], number, 5).items).toEqual([1, 3, 4, 5]);
  });

  test("the oldest go when there are too many, and are counted", () => {
    const buffer = merged(of(1, 2, 3, 4), [5, 6, 7], number, 5);
    expect([buffer.items, buffer.dropped]).toEqual([[3, 4, 5, 6, 7], 2]);
  });
});

describe("the job document", () => {
  const document = { id: "a", hyper_parameters: { client_num: 2 }, datasets: ["x"] };

  test("is changed at a path, and what is left empty goes", () => {
    expect(changed(document, "hyper_parameters.round_timeout", 60)).toEqual({
      ...document,
      hyper_parameters: { client_num: 2, round_timeout: 60 },
    });
    expect(changed(document, "hyper_parameters.client_num", undefined)).toEqual({ id: "a", datasets: ["x"] });
    expect(changed(document, "aggregator.name", "krum").aggregator).toEqual({ name: "krum" });
    expect(at(document, "hyper_parameters.client_num")).toBe(2);
    expect(at(document, "resource.cpu")).toBeUndefined();
  });

  test("is read as JSON, YAML and TOML, all the same", async () => {
    const expected = { id: "a", hyper_parameters: { client_num: 2 } };
    expect(await read("a.json", '{"id": "a", "hyper_parameters": {"client_num": 2}}')).toEqual(expected);
    expect(await read("a.yaml", "id: a\nhyper_parameters:\n  client_num: 2\n")).toEqual(expected);
    expect(await read("a.toml", 'id = "a"\n[hyper_parameters]\nclient_num = 2\n')).toEqual(expected);
    await expect(read("a.json", "[1]")).rejects.toThrow("object");
    await expect(read("a.json", "{")).rejects.toThrow();
  });

  test("of a job is what somebody wrote, without what the server set", () => {
    const [job] = jobs(1);
    expect(Object.keys(written(job ?? {})).sort()).toEqual([
      "description",
      "hyper_parameters",
      "id",
      "output",
      "runtime",
      "task_entry",
    ]);
  });

  test("the field that was refused is found in the reason", () => {
    expect(fieldOf("job document: hyper_parameters.client_num: must be at least 1")).toBe(
      "hyper_parameters.client_num",
    );
    expect(fieldOf("job 'a' exists")).toBeUndefined();
  });
});

test("a folder of scripts is packed without what stays at home, the same bytes for the same content", () => {
  expect(place("scripts/src/train.py")).toBe("src/train.py");
  for (const left of ["scripts/.git/config", "scripts/src/__pycache__/a.pyc", "scripts/.env", "train.py"])
    expect(place(left)).toBeNull();
  const files = ["b.py", "a.py"].map((name) => ({ name, bytes: new TextEncoder().encode(`# ${name}`) }));
  const zip = pack(files);
  expect(zip).toEqual(pack([...files].reverse()));
  expect(Object.keys(unzipSync(zip))).toEqual(["a.py", "b.py"]);
});

describe("figures as people read them", () => {
  test.each([
    [duration(42), "42 ms"],
    [duration(4200), "4.2 s"],
    [duration(185_000), "3 min 5 s"],
    [duration(7_800_000), "2 h 10 min"],
    [age(59_999), "59 s"],
    [age(-5), "0 s"],
    [micros(120), "120 µs"],
    [micros(2500), "2.5 ms"],
    [bytes(999), "999 B"],
    [bytes(1_500_000), "1.5 MB"],
    [metric(0.956789), "0.9568"],
    [metric(20), "20"],
    [metric(0.00001234), "1.23e-5"],
    [metric(null), "–"],
  ])("%s is %s", (told, expected) => expect(told).toBe(expected));

  test("an axis has round numbers around what was measured", () => {
    expect(ticks(0.12, 0.97, 4)).toEqual([0, 0.5, 1]);
    expect(ticks(0.91, 0.97, 4)).toEqual([0.9, 0.92, 0.94, 0.96, 0.98]);
    expect(ticks(1, 20, 8)).toEqual([0, 5, 10, 15, 20]);
    expect(ticks(3, 3, 4).length).toBeGreaterThan(2);
  });
});

const member = (client: string, state: Member["state"], change: Partial<Member> = {}): Member => ({
  client,
  state,
  attempt: 1,
  kind: "train",
  metrics: {},
  reason: "",
  at: "2026-01-01T00:00:05.000Z",
  ...change,
});
const attempt: Round = {
  round: 1,
  attempt: 1,
  kind: "train",
  state: "open",
  reason: "",
  opened: "2026-01-01T00:00:00.000Z",
  closed: null,
  cohort: 5,
  accepted: 1,
  metrics: {},
  model: null,
};

describe("where the clients of a round are", () => {
  const current: CurrentRound = {
    round: 1,
    awaited: ["a", "b", "c", "d"],
    away: ["a"],
    progress: [
      { client: "c", done: 0.4, message: "", metrics: {}, at: null },
      { client: "d", done: 1, message: "", metrics: {}, at: null, uploading: "2026-01-01T00:00:04.000Z" },
    ],
    deadline: null,
    members: [
      member("e", "accepted"),
      member("f", "failed"),
      member("d", "started"),
      member("c", "started"),
      member("b", "invited"),
      member("a", "invited"),
      member("f", "failed", { attempt: 2 }),
    ],
  };

  test("those who are awaited come first, the least advanced before the others", () => {
    const steps = timeline(current, attempt).map(({ client, stage, ended }) => [client, stage, ended]);
    expect(steps).toEqual([
      ["a", "selected", null],
      ["b", "sent", null],
      ["c", "training", null],
      ["d", "uploading", null],
      ["f", "training", "failed"],
      ["e", "accepted", "accepted"],
    ]);
  });

  test("each stage has its time, as far as it is known", () => {
    const times = Object.fromEntries(timeline(current, attempt).map(({ client, times }) => [client, times]));
    const selected = attempt.opened;
    expect(times.a).toEqual({ selected });
    expect(times.d).toEqual({ selected, uploading: "2026-01-01T00:00:04.000Z" });
    expect(times.e).toEqual({ selected, accepted: "2026-01-01T00:00:05.000Z" });
  });

  test("a script that says it is done is uploading only when its client says so", () => {
    const done = { ...current, progress: [{ client: "d", done: 1, message: "", metrics: {}, at: null }] };
    const d = timeline(done, attempt).find(({ client }) => client === "d");
    expect(d?.stage).toBe("training");
  });
});

describe("what the rounds measured", () => {
  const rounds: Round[] = [
    { ...attempt, state: "failed" },
    {
      ...attempt,
      attempt: 2,
      state: "complete",
      closed: "2026-01-01T00:00:04.000Z",
      metrics: { loss: 2, zeta: 1 },
      accepted: 3,
      model: { sha256: "", bytes: 10 },
    },
    { ...attempt, round: 2, state: "complete", closed: "2026-01-01T00:00:03.000Z", metrics: { loss: 1 }, accepted: 2 },
    { ...attempt, round: 2, kind: "evaluate", state: "complete", metrics: { accuracy: 0.9 } },
  ];

  test("is a value a complete round and kind, null where there is none", () => {
    const { rounds: numbers, of, seconds, accepted, bytes } = measures(rounds);
    expect(numbers).toEqual([1, 2]);
    expect([...of]).toEqual([
      ["accuracy", { evaluate: [null, 0.9] }],
      ["loss", { train: [2, 1] }],
      ["zeta", { train: [1, null] }],
    ]);
    expect([seconds, accepted, bytes]).toEqual([
      [4, 3],
      [3, 2],
      [10, null],
    ]);
  });

  test("by client: only what was accepted", () => {
    const details = [
      {
        round: 1,
        detail: {
          run: 1,
          attempts: [attempt],
          members: [member("a", "accepted", { metrics: { loss: 3 } }), member("b", "failed")],
        },
      },
    ];
    expect(perClient(details, "train", "loss")).toEqual([{ client: "a", values: [3] }]);
    expect(perClient(details, "train", "time to answer")).toEqual([{ client: "a", values: [5] }]);
  });

  test("by client: what the server knows of their way, and nothing where it does not", () => {
    const way = { started: "2026-01-01T00:00:01.000Z", uploading: "2026-01-01T00:00:03.500Z", bytes: 20_000 };
    const members = [member("a", "accepted", way), member("b", "accepted")];
    const details = [{ round: 1, detail: { run: 1, attempts: [attempt], members } }];
    const of = (metric: string) => perClient(details, "train", metric).map(({ values }) => values[0]);
    expect(of("time in training")).toEqual([2.5, null]);
    expect(of("time to bring it")).toEqual([1.5, null]);
    expect(of("bytes brought")).toEqual([20_000, null]);
  });
});

test("traced messages are summed up by type, the most frequent first", () => {
  const of = (message: string, handled_us: number) => ({
    at: "",
    message,
    from: "mailbox" as const,
    waited_us: 1,
    handled_us,
    ok: true,
  });
  expect(byType([of("A", 10), of("B", 5), of("B", 15)])).toEqual([
    { message: "B", count: 2, mean_us: 10, longest_us: 15 },
    { message: "A", count: 1, mean_us: 10, longest_us: 10 },
  ]);
});

test("events are told in words", () => {
  expect(
    words("round-closed", {
      round: 2,
      attempt: 2,
      kind: "train",
      outcome: "complete",
      accepted: 3,
      cohort: 4,
      metrics: { loss: 0.5 },
    }),
  ).toBe("round 2 train, attempt 2 · complete · 3 of 4 · loss 0.5000");
  expect(words("job-state", { state: "FAILED", reason: "no quorum" })).toBe("FAILED · no quorum");
  expect(words("something-new", { client: "c1", count: 3 })).toBe("c1 · count 3");
});

test("all words are somewhere in it", () => {
  expect(says("C1 fail", "task-failed", { client: "c1" })).toBe(true);
  expect(says("c2", "task-failed", { client: "c1" })).toBe(false);
  expect(says("  ", null)).toBe(true);
});

test("a link leads where it says, whatever is in a name", () => {
  const to = link(["jobs", "default", "a b/c?d#e.f"], { tab: "rounds", empty: "" });
  expect(parse(to)).toEqual({ parts: ["jobs", "default", "a b/c?d#e.f"], query: { tab: "rounds" } });
  expect(parse("").parts).toEqual([]);
  expect(parse("#/%E0%A4%A").parts).toEqual(["%E0%A4%A"]);
});

describe("keys in a tree", () => {
  const levels = [
    { level: 1, open: true },
    { level: 2, open: false },
    { level: 2, open: true },
    { level: 3, open: undefined },
  ];
  const key = (name: string, at: number) => move(name, at, levels.length, 2, (row) => levels[row]);

  test("right opens, then goes below; left closes, then goes up", () => {
    expect(key("ArrowRight", 1)).toEqual({ toggle: true });
    expect(key("ArrowRight", 2)).toEqual({ to: 3 });
    expect(key("ArrowRight", 3)).toBeNull();
    expect(key("ArrowLeft", 2)).toEqual({ toggle: false });
    expect(key("ArrowLeft", 3)).toEqual({ to: 2 });
    expect(key("ArrowLeft", 1)).toEqual({ to: 0 });
  });

  test("none leaves the rows", () => {
    expect([key("ArrowUp", 0), key("ArrowDown", 3), key("PageDown", 2), key("Home", 3), key("End", 0)]).toEqual([
      { to: 0 },
      { to: 3 },
      { to: 3 },
      { to: 0 },
      { to: 3 },
    ]);
    expect(key("a", 0)).toBeNull();
    expect(move("ArrowRight", 0, 3, 1)).toBeNull();
  });
});
