/** One actor: its figures, how it failed, what it tells of itself, and what an operator may do with it. */

import { useEffect, useState } from "preact/hooks";
import type { Actor, ActorTree, Json } from "../../api/bodies.ts";
import { path as at, get, query, request, sentence } from "../../api/http.ts";
import { may } from "../../api/session.ts";
import { age, count, duration, instant, leaf, micros, rate } from "../../model/format.ts";
import type { Tree } from "../../model/tree.ts";
import { troubles } from "../../model/trouble.ts";
import { refine } from "../../route.ts";
import { now } from "../../stores/time.ts";
import { Badge } from "../../ui/badge.tsx";
import { Button, Facts, Tell } from "../../ui/controls.tsx";
import { confirm, Problem } from "../../ui/dialog.tsx";
import { Panel } from "../../ui/panel.tsx";
import { Fill } from "./fill.tsx";
import { Trace } from "./trace.tsx";

interface Props {
  path: string;
  /** Empty: of the server. */
  client: string;
  tree: Tree | null;
}

export function ActorPanel({ path, client, tree }: Props) {
  const actor = tree?.nodes.get(path)?.actor;
  const [tracing, setTracing] = useState(false);
  const close = () => refine({ actor: undefined });
  if (actor === undefined) {
    return (
      <Panel title={leaf(path)} onClose={close}>
        <p className="empty">{tree === null ? "Asking for it…" : `${path} is not there any more.`}</p>
      </Panel>
    );
  }
  return (
    <Panel title={leaf(path)} subtitle={`${actor.path} · ${actor.kind}`} onClose={close}>
      <div className="panel-actions">
        <Badge state={actor.state} />
        {may("operator") && client === "" && (
          <>
            <Button sign="turn" onClick={() => restart(actor)}>
              Restart
            </Button>
            {actor.state !== "stopped" && (
              <Button sign="square" onClick={() => stop(actor)}>
                Stop
              </Button>
            )}
            <Button sign="search" pressed={tracing} onClick={() => setTracing(!tracing)}>
              Trace
            </Button>
          </>
        )}
      </div>
      {troubles(actor, now.value).map((found) => (
        <Problem key={found}>{found}</Problem>
      ))}
      {tracing && <Trace path={path} onClose={() => setTracing(false)} />}
      <Figures actor={actor} />
      <Failures actor={actor} />
      <Detail path={path} client={client} handled={actor.handled} />
    </Panel>
  );
}

function Figures({ actor }: { actor: Actor }) {
  const { mailbox, handler } = actor;
  const mean = actor.handled === 0 ? "–" : micros(actor.busy_us / actor.handled);
  return (
    <>
      <h3>Mailbox</h3>
      <Facts
        of={[
          ["waiting", <Fill key="fill" of={mailbox} />],
          ["at most so far", count(mailbox.high_water)],
          ["room", count(mailbox.capacity)],
          ["oldest message", mailbox.oldest_ms === 0 ? "none waits" : age(mailbox.oldest_ms)],
          ["turned away", count(actor.rejected)],
          ["dead letters", count(actor.dead_letters)],
        ]}
      />
      <h3>Handler</h3>
      <Facts
        of={[
          ["handled", `${count(actor.handled)} (${rate(actor.rate)}/s)`],
          ["now", handler.current_ms === null ? "idle" : `busy for ${duration(handler.current_ms)}`],
          ["mean", mean],
          ["last", micros(handler.last_us)],
          ["longest", micros(handler.longest_us)],
          ["over a second", count(handler.slow)],
          ["in all", micros(actor.busy_us)],
          ["did not answer", count(actor.unanswered)],
        ]}
      />
    </>
  );
}

function Failures({ actor: { failure, restarted, restarts, started } }: { actor: Actor }) {
  return (
    <>
      <h3>Life</h3>
      <Facts
        of={[
          [
            "started",
            started === null ? "never" : `${instant(started, now.value)} (${age(now.value - Date.parse(started))} ago)`,
          ],
          ["restarts", count(restarts)],
        ]}
      />
      {failure && (
        <div className="failure">
          <p>
            <b>{failure.message}</b> <span className="faint">{failure.at && instant(failure.at, now.value)}</span>
          </p>
          <ol className="causes" aria-label="Caused by">
            {failure.causes.map((cause) => (
              <li key={cause}>{cause}</li>
            ))}
          </ol>
        </div>
      )}
      {restarted.length > 0 && (
        <ol className="restarts" aria-label="Restarts, the newest first">
          {restarted.map(({ at, cause }) => (
            <li key={at}>
              <time>{instant(at, now.value)}</time> {cause ?? <span className="faint">asked for</span>}
            </li>
          ))}
        </ol>
      )}
    </>
  );
}

/** Asked for when the panel opens and whenever the actor has handled something, at most every two seconds by the stream's pace. */
function Detail({ path, client, handled }: { path: string; client: string; handled: number }) {
  const [detail, setDetail] = useState<Json>(null);
  const [problem, setProblem] = useState("");
  useEffect(() => {
    let over = false;
    get<ActorTree>(at("actors", path) + query({ client })).then(
      (actor) => !over && setDetail(actor.detail),
      (error: unknown) => !over && setProblem(sentence(error)),
    );
    return () => {
      over = true;
    };
  }, [path, client, handled]);
  if (problem) return <Problem>{problem}</Problem>;
  return detail === null ? null : (
    <>
      <h3>What it tells</h3>
      <Tell value={detail} />
    </>
  );
}

function restart({ path }: Actor): void {
  confirm({
    title: `Restart ${leaf(path)}?`,
    text: `${path} ends in order and is started again. It reloads its state; who waits for it waits a moment longer.`,
    verb: "Restart",
    done: `${path} was restarted.`,
    act: () => request("PUT", `${at("actors", path)}:restart`),
  });
}

/** What the server does not do without them. Others are a job's or a client's, which then waits. */
const WITHOUT: Record<string, string> = {
  selector: "no round gets clients",
  core: "no job runs, is started, stopped or recorded",
  scheduler: "no job is started, stopped or recorded",
  jobs: "no job runs",
  gateway: "no client is reached",
  sessions: "no client is reached",
  sweeper: "files that nobody needs stay on the disk",
};

function stop({ path }: Actor): void {
  const without = path.split("/").length > 2 ? undefined : WITHOUT[leaf(path)];
  const warning =
    without === undefined ? "" : ` The server cannot do without it: ${without} meanwhile. Restart does not need that.`;
  confirm({
    title: `Stop ${leaf(path)}?`,
    text: `${path} ends in order with all below it and is not started again until somebody restarts it, or what started it does.${warning}`,
    verb: "Stop",
    danger: true,
    done: `${path} was stopped.`,
    act: () => request("PUT", `${at("actors", path)}:stop`),
  });
}
