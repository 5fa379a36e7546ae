import { describe, expect, test } from "vitest";
import { type Clock, type Following, follow } from "../../src/api/follow.ts";

/** Time that passes when told to. */
class Hand implements Clock {
  at = 0;
  private waiting: { at: number; then: () => void }[] = [];
  now = () => this.at;
  random = () => 1;
  after = (ms: number, then: () => void) => {
    const wait = { at: this.at + ms, then };
    this.waiting.push(wait);
    return () => {
      this.waiting = this.waiting.filter((of) => of !== wait);
    };
  };

  async pass(ms: number): Promise<void> {
    const end = this.at + ms;
    for (;;) {
      const next = this.waiting.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.at = next.at;
      this.waiting = this.waiting.filter((of) => of !== next);
      next.then();
      await settled();
    }
    this.at = end;
  }
}

/** Promises that are due are done. */
const settled = () => new Promise((done) => setImmediate(done));

/** A server whose answers are given one by one; a stream stays open until it is cut. */
function world(answers: ((after: string) => Response | Error)[]) {
  const clock = new Hand();
  const [states, events, asked, refused]: [Following[], string[], string[], number[]] = [[], [], [], []];
  const follower = follow({
    clock,
    open: async (after, signal) => {
      asked.push(after);
      const answer = answers.shift()?.(after) ?? new Error("no server");
      if (answer instanceof Error) throw answer;
      signal.addEventListener("abort", () => cut());
      return answer;
    },
    on: ({ data }) => events.push(data),
    state: (state) => states.push(state),
    refused: (status) => refused.push(status),
  });
  return { clock, states, events, asked, refused, follower };
}

let cut = () => {};

function stream(text: string, end: "open" | "ended" = "open"): Response {
  return new Response(
    new ReadableStream({
      start(controller) {
        if (text) controller.enqueue(new TextEncoder().encode(text));
        cut = () => controller.error(new Error("cut"));
        if (end === "ended") controller.close();
      },
    }),
  );
}

describe("a stream that comes again by itself", () => {
  test("goes on after the last id it saw", async () => {
    const { clock, asked, events, states } = world([
      () => stream("id: 7\ndata: a\n\n", "ended"),
      () => stream("id: 8\ndata: b\n\n"),
    ]);
    await settled();
    await clock.pass(300);
    expect(asked).toEqual(["", "7"]);
    expect(events).toEqual(["a", "b"]);
    expect(states.map(({ is }) => is)).toEqual(["opening", "open", "lost", "open"]);
  });

  test("waits longer each time, says since when, and begins anew once it was open", async () => {
    const { clock, states, asked } = world([
      () => new Error("1"),
      () => new Error("2"),
      () => new Response("", { status: 503 }),
      () => stream("data: x\n\n"),
    ]);
    await settled();
    await clock.pass(10_000);
    const lost = states.filter((state) => state.is === "lost");
    expect(lost.map(({ since }) => since)).toEqual([0, 0, 0]);
    expect(lost.map(({ next }) => next)).toEqual([250, 750, 1750]);
    expect(asked).toHaveLength(4);
    cut();
    await settled();
    expect(states.at(-1)).toEqual({ is: "lost", since: 10_000, next: 10_250 });
  });

  test("never waits longer than five seconds", async () => {
    const { clock, states } = world([]);
    await settled();
    await clock.pass(60_000);
    const waits = states.flatMap((state, index) => {
      const before = states[index - 1];
      return state.is === "lost" && before?.is === "lost" ? [state.next - before.next] : [];
    });
    expect(Math.max(...waits)).toBe(5000);
  });

  test("tries at once when told to, and not twice", async () => {
    const { follower, asked } = world([() => new Error("1")]);
    await settled();
    follower.now();
    follower.now();
    await settled();
    expect(asked).toHaveLength(2);
  });

  test("a connection that says nothing for too long is dead", async () => {
    const { clock, states, asked } = world([() => stream("data: x\n\n"), () => stream("data: y\n\n")]);
    await settled();
    await clock.pass(40_000);
    expect(states.at(-1)?.is).toBe("lost");
    await clock.pass(250);
    expect(asked).toHaveLength(2);
  });

  test("what is refused is not asked for again", async () => {
    const { clock, asked, refused } = world([() => new Response("", { status: 401 })]);
    await settled();
    await clock.pass(60_000);
    expect([asked.length, refused]).toEqual([1, [401]]);
  });

  test("closed, it tells nothing more", async () => {
    const { clock, events, states, asked, follower } = world([() => stream("data: x\n\n")]);
    follower.close();
    await settled();
    await clock.pass(60_000);
    expect([events, states.map(({ is }) => is), asked.length]).toEqual([[], ["opening"], 1]);
  });
});
