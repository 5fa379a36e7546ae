/** Signs beside words: each state has its own shape, so that colour is never the only signal. */

const PATHS = {
  disc: "M8 3a5 5 0 1 0 0 10A5 5 0 0 0 8 3z",
  ring: "M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11zm0 2a3.5 3.5 0 1 1 0 7 3.5 3.5 0 0 1 0-7z",
  half: "M8 2.5a5.5 5.5 0 1 0 0 11zm0 0a5.5 5.5 0 0 1 0 11v-2a3.5 3.5 0 0 0 0-7z",
  square: "M3.5 3.5h9v9h-9z",
  triangle: "M8 2.2 14.4 13.5H1.6z",
  check: "m2.6 8.4 1.6-1.6 2.6 2.6 5-5.4 1.6 1.6-6.6 7z",
  cross: "m3.2 4.6 1.4-1.4L8 6.6l3.4-3.4 1.4 1.4L9.4 8l3.4 3.4-1.4 1.4L8 9.4l-3.4 3.4-1.4-1.4L6.6 8z",
  clock:
    "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2zm0 1.8a4.2 4.2 0 1 1 0 8.4 4.2 4.2 0 0 1 0-8.4zM7.2 5v3.4l2.4 1.5.8-1.3-1.6-1V5z",
  turn: "M8 2.5a5.5 5.5 0 0 1 4.6 2.5V3h1.6v5H9.4V6.3h2A3.8 3.8 0 1 0 11.8 9h1.7A5.5 5.5 0 1 1 8 2.5z",
  dash: "M3 7h10v2H3z",
  bar: "M4.5 3h2.2v10H4.5zm4.8 0h2.2v10H9.3z",
  away: "M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11zm0 2a3.5 3.5 0 0 1 1.9.6L5.1 9.9A3.5 3.5 0 0 1 8 4.5zm0 7a3.5 3.5 0 0 1-1.9-.6l4.8-4.8A3.5 3.5 0 0 1 8 11.5z",
  right: "m6 3.4 4.6 4.6L6 12.6 4.9 11.5 8.4 8 4.9 4.5z",
  down: "m3.4 6 1.1-1.1L8 8.4l3.5-3.5L12.6 6 8 10.6z",
  up: "m3.4 10 1.1 1.1L8 7.6l3.5 3.5 1.1-1.1L8 5.4z",
  close: "m3 4.2 1.2-1.2L8 6.8 11.8 3 13 4.2 9.2 8l3.8 3.8-1.2 1.2L8 9.2 4.2 13 3 11.8 6.8 8z",
  search:
    "M7 2.5a4.5 4.5 0 1 0 2.6 8.2l2.8 2.8 1.1-1.1-2.8-2.8A4.5 4.5 0 0 0 7 2.5zm0 1.6a2.9 2.9 0 1 1 0 5.8 2.9 2.9 0 0 1 0-5.8z",
  load: "M7.2 2.5h1.6v6l2.1-2.1L12 7.5l-4 4-4-4 1.1-1.1 2.1 2.1zM3 12.2h10v1.6H3z",
  play: "M4.5 2.8 13 8l-8.5 5.2z",
  plus: "M7.1 3h1.8v4.1H13v1.8H8.9V13H7.1V8.9H3V7.1h4.1z",
} as const;

export type Sign = keyof typeof PATHS;

export function Glyph({ of, className = "" }: { of: Sign; className?: string }) {
  return (
    <svg className={`glyph ${className}`} viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      <path d={PATHS[of]} />
    </svg>
  );
}
