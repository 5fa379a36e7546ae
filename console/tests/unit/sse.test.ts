import { describe, expect, test } from "vitest";
import { SseParser } from "../../src/api/sse.ts";

const STREAM = [
  "\uFEFFid: 1\nevent: hello\ndata: {}\n\n",
  ": a comment\n\n",
  "data: one\ndata: two\n\n",
  "id: 2\r\nevent:job\r\ndata:x:y\r\n\r\n",
  "event: nothing\n\n",
  "data\n\n",
  "id: bad\0id\ndata: last\n\n",
].join("");

const EVENTS = [
  { event: "hello", data: "{}", id: "1" },
  { event: "message", data: "one\ntwo", id: "1" },
  { event: "job", data: "x:y", id: "2" },
  { event: "message", data: "", id: "2" },
  { event: "message", data: "last", id: "2" },
];

describe("the stream's text becomes events", () => {
  test("whole", () => {
    expect(new SseParser().push(STREAM)).toEqual(EVENTS);
  });

  test("cut anywhere", () => {
    for (let at = 1; at < STREAM.length; at++) {
      const parser = new SseParser();
      expect([...parser.push(STREAM.slice(0, at)), ...parser.push(STREAM.slice(at))], `cut at ${at}`).toEqual(EVENTS);
    }
  });

  test("letter by letter", () => {
    const parser = new SseParser();
    expect([...STREAM].flatMap((letter) => parser.push(letter))).toEqual(EVENTS);
  });

  test("an event that is not ended is not told", () => {
    expect(new SseParser().push("data: half\n")).toEqual([]);
  });
});
