/** Server-sent events as text becomes events (WHATWG HTML, 9.2.6). No network here. */

export interface ServerEvent {
  /** `message` when the stream does not say. */
  event: string;
  data: string;
  /** The last id the stream has given, empty before the first. */
  id: string;
}

/** Takes the stream in pieces cut anywhere and gives each event once it is whole. */
export class SseParser {
  private rest = "";
  private event = "";
  private data: string[] = [];
  private id = "";
  private first = true;

  push(piece: string): ServerEvent[] {
    const done: ServerEvent[] = [];
    let text = this.rest + piece;
    if (this.first && text.length > 0) {
      this.first = false;
      if (text.startsWith("\uFEFF")) text = text.slice(1);
    }
    let from = 0;
    for (let at = 0; at < text.length; at++) {
      const char = text[at];
      if (char !== "\n" && char !== "\r") continue;
      // a CR at the end may be half of a CRLF
      if (char === "\r" && at + 1 === text.length) break;
      const line = text.slice(from, at);
      if (char === "\r" && text[at + 1] === "\n") at++;
      from = at + 1;
      this.line(line, done);
    }
    this.rest = text.slice(from);
    return done;
  }

  private line(line: string, done: ServerEvent[]): void {
    if (line === "") {
      if (this.data.length > 0) done.push({ event: this.event || "message", data: this.data.join("\n"), id: this.id });
      this.event = "";
      this.data = [];
      return;
    }
    const colon = line.indexOf(":");
    if (colon === 0) return;
    const field = colon < 0 ? line : line.slice(0, colon);
    const raw = colon < 0 ? "" : line.slice(colon + 1);
    const value = raw.startsWith(" ") ? raw.slice(1) : raw;
    if (field === "event") this.event = value;
    else if (field === "data") this.data.push(value);
    else if (field === "id" && !value.includes("\0")) this.id = value;
  }
}
