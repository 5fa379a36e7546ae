/** The frame around every page: where one is, whether the server is there, who one is. */

import type { ComponentType } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { leave, may, type Role, session } from "./api/session.ts";
import { age } from "./model/format.ts";
import { AccessPage } from "./pages/access.tsx";
import { ActorsPage } from "./pages/actors/page.tsx";
import { ClientsPage } from "./pages/clients/page.tsx";
import { Entry } from "./pages/entry.tsx";
import { EventsPage } from "./pages/events/page.tsx";
import { JobPage } from "./pages/job/page.tsx";
import { JobsPage } from "./pages/jobs/page.tsx";
import { SubmitPage } from "./pages/submit/page.tsx";
import { link, route } from "./route.ts";
import { following, hello } from "./stores/live.ts";
import { now } from "./stores/time.ts";
import { Boundary } from "./ui/boundary.tsx";
import { Button } from "./ui/controls.tsx";
import { Confirmation, Notices } from "./ui/dialog.tsx";
import { Glyph } from "./ui/glyph.tsx";

interface Place {
  title: string;
  part: string;
  role: Role;
}

const PLACES: Place[] = [
  { title: "Jobs", part: "jobs", role: "viewer" },
  { title: "Clients", part: "clients", role: "viewer" },
  { title: "Actors", part: "actors", role: "viewer" },
  { title: "Events", part: "events", role: "viewer" },
  { title: "Access", part: "access", role: "admin" },
];

function page(parts: string[]): [string, ComponentType] {
  const [first = "jobs", second, third] = parts;
  switch (first) {
    case "jobs":
      if (third !== undefined) return [`${third} · job`, JobPage];
      return second === "new" ? ["Submit a job", SubmitPage] : ["Jobs", JobsPage];
    case "clients":
      return ["Clients", ClientsPage];
    case "actors":
      return ["Actors", ActorsPage];
    case "events":
      return ["Events and logs", EventsPage];
    case "access":
      return ["Access", AccessPage];
    default:
      return ["Not found", NotFound];
  }
}

export function App() {
  const state = session.value;
  if (state.is !== "open") return <Entry />;
  const { parts } = route.value;
  const [title, Page] = page(parts);
  return (
    <>
      <a className="skip" href="#main" onClick={skip}>
        Skip to the page
      </a>
      <header className="top">
        <a className="brand" href={link(["jobs"])}>
          <img src={`${import.meta.env.BASE_URL}icon.svg`} alt="" width="20" height="20" />
          NSFL
        </a>
        <nav aria-label="Pages">
          {PLACES.filter((place) => may(place.role)).map(({ title, part }) => (
            <a key={part} href={link([part])} aria-current={(parts[0] ?? "jobs") === part ? "page" : undefined}>
              {title}
            </a>
          ))}
        </nav>
        <Server />
        <Who />
      </header>
      <Lost />
      <Main title={title} where={parts.join("/")}>
        <Boundary key={parts.slice(0, 3).join("/")}>
          <Page />
        </Boundary>
      </Main>
      <Confirmation />
      <Notices />
    </>
  );
}

/** A `#main` of the address would be taken for a page. */
function skip(event: Event): void {
  event.preventDefault();
  document.getElementById("main")?.focus();
}

interface MainProps {
  title: string;
  where: string;
  children: preact.ComponentChildren;
}

/** A new page takes the focus, so that a screen reader tells it. */
function Main({ title, where, children }: MainProps) {
  const first = useRef(true);
  useEffect(() => {
    document.title = `${title} – NSFL`;
    if (!first.current) document.getElementById("main")?.focus({ preventScroll: true });
    first.current = false;
  }, [where]);
  return (
    <main id="main" tabIndex={-1} aria-label={title}>
      {children}
    </main>
  );
}

function Server() {
  const state = following.value;
  const text = state.is === "open" ? "live" : state.is === "opening" ? "connecting" : "server away";
  return (
    <span
      className={`server is-${state.is}`}
      title={hello.value === null ? text : `version ${hello.value.version}, ${text}`}
    >
      <Glyph of={state.is === "open" ? "disc" : state.is === "opening" ? "half" : "triangle"} />
      {text}
    </span>
  );
}

/** Says that what is shown is old, since when, and goes away by itself. */
function Lost() {
  const state = following.value;
  if (state.is !== "lost") return <div role="status" />;
  return (
    <div className="lost" role="status">
      <Glyph of="turn" />
      <span>
        Reconnecting since <time>{new Date(state.since).toLocaleTimeString()}</time>
        <span aria-hidden="true"> ({age(now.value - state.since)})</span>. What is shown is from before.
      </span>
    </div>
  );
}

function Who() {
  const state = session.value;
  if (state.is !== "open") return null;
  const { name, role, by } = state.who;
  return (
    <span className="who">
      <span title={by === "loopback" ? "No token is asked for on this machine" : "By token"}>
        {name === role ? name : `${name} · ${role}`}
      </span>
      {by === "token" && (
        <Button kind="quiet" onClick={() => void leave()}>
          Leave
        </Button>
      )}
    </span>
  );
}

function NotFound() {
  return (
    <section className="page">
      <h1>There is no such page</h1>
      <p>
        Go to the <a href={link(["jobs"])}>jobs</a>.
      </p>
    </section>
  );
}
