/** One client: its link, what it offers and runs, and whether it gets tasks. */

import { useEffect, useState } from "preact/hooks";
import type { Client, ClientTask } from "../../api/bodies.ts";
import { get, path, request } from "../../api/http.ts";
import { may } from "../../api/session.ts";
import { age, bytes, count, instant, micros } from "../../model/format.ts";
import { health } from "../../model/trouble.ts";
import { link, refine } from "../../route.ts";
import { now } from "../../stores/time.ts";
import { Badge } from "../../ui/badge.tsx";
import { Button, Facts, Meter } from "../../ui/controls.tsx";
import { confirm } from "../../ui/dialog.tsx";
import { Panel } from "../../ui/panel.tsx";

const TASKS_MS = 2000;

export function ClientPanel({ id, client }: { id: string; client: Client | undefined }) {
  const tasks = useTasks(id);
  const close = () => refine({ client: undefined });
  if (client === undefined) {
    return (
      <Panel title={id} onClose={close}>
        <p className="empty">The server does not know this client.</p>
      </Panel>
    );
  }
  const welcome = !client.cordoned && client.state !== "removed";
  return (
    <Panel title={id} {...(client.label ? { subtitle: client.label } : {})} onClose={close}>
      <div className="panel-actions">
        <Badge state={health(client)} />
        {may("operator") && welcome && (
          <Button sign="bar" onClick={() => cordon(id)}>
            Cordon
          </Button>
        )}
        {may("operator") && !welcome && (
          <Button sign="play" onClick={() => uncordon(id)}>
            Uncordon
          </Button>
        )}
        {may("operator") && client.state !== "removed" && (
          <Button sign="close" onClick={() => remove(id)}>
            Remove
          </Button>
        )}
      </div>
      {client.mark && (
        <p className="remark">
          {client.state === "removed" ? "Removed" : "Cordoned"} by {client.mark.by},{" "}
          {instant(client.mark.at, now.value)}
          {client.mark.reason && `: ${client.mark.reason}`}
        </p>
      )}
      <h3>Tasks</h3>
      {tasks.length === 0 ? (
        <p className="faint">None awaited of it.</p>
      ) : (
        tasks.map((task) => <Task key={`${task.job}${task.kind}`} of={task} />)
      )}
      <h3>Link</h3>
      <LinkFacts of={client} />
      <h3>Site</h3>
      <Facts
        of={[
          ["address", client.address],
          ["system", client.os],
          ["version", client.version],
          ["registered", instant(client.registered, now.value)],
          ["last seen", `${age(now.value - Date.parse(client.last_seen))} ago`],
          ["runtimes", client.runtimes.join(", ")],
          ["CPU", count(client.resource.cpu)],
          ["GPU", count(client.resource.gpu)],
          ["memory", bytes(client.resource.memory_mb * 1e6)],
          ["tasks at once", count(client.max_tasks)],
        ]}
      />
      <h3>Data sets</h3>
      {Object.keys(client.datasets).length === 0 ? (
        <p className="faint">It offers none.</p>
      ) : (
        <Facts of={Object.entries(client.datasets).map(([name, samples]) => [name, `${count(samples)} samples`])} />
      )}
      <p className="links">
        {client.observable && client.state === "online" && <a href={link(["actors"], { node: id })}>Its actors</a>}
        <a href={link(["events"], { client: id })}>Its events</a>
        <a href={link(["events"], { tab: "logs", client: id })}>Logs about it</a>
      </p>
    </Panel>
  );
}

function LinkFacts({ of: { link, session } }: { of: Client }) {
  if (link === null) return <p className="faint">No session.</p>;
  return (
    <Facts
      of={[
        ["state", link.connected ? "connected" : "down, session kept"],
        ["session", session === null ? "" : `#${session}`],
        ["latency", link.rtt_us === 0 ? "–" : micros(link.rtt_us)],
        ["received", `${bytes(link.bytes_in)} in ${count(link.frames_in)} frames`],
        ["sent", `${bytes(link.bytes_out)} in ${count(link.frames_out)} frames`],
        ["reconnects", count(link.reconnects)],
        ["sessions lost", count(link.sessions_lost)],
        ["waits to be sent", `${count(link.outbox_messages)} messages, ${bytes(link.queued_bytes)}`],
      ]}
    />
  );
}

function Task({ of }: { of: ClientTask }) {
  const [namespace = "", id = ""] = of.job.split("/");
  return (
    <div className="task">
      <a href={link(["jobs", namespace, id])}>{of.job}</a>
      <span>
        round {of.round}, {of.kind}
        {of.attempt > 1 && `, attempt ${of.attempt}`}
      </span>
      <Badge state={of.state} />
      {of.done !== null && <Meter part={of.done} label={`${Math.round(of.done * 100)} % done`} />}
      <span className="faint">{of.message}</span>
    </div>
  );
}

function useTasks(id: string): ClientTask[] {
  const [tasks, setTasks] = useState<ClientTask[]>([]);
  useEffect(() => {
    let over = false;
    const look = () =>
      get<Client>(path("clients", id)).then(
        (client) => !over && setTasks(client.tasks ?? []),
        () => undefined,
      );
    void look();
    const timer = setInterval(() => document.visibilityState === "visible" && void look(), TASKS_MS);
    return () => {
      over = true;
      clearInterval(timer);
    };
  }, [id]);
  return tasks;
}

function cordon(id: string): void {
  confirm({
    title: `Cordon ${id}?`,
    text: "It gets no new tasks until it is uncordoned. Those under way go on.",
    reason: "Why (others will see it)",
    verb: "Cordon",
    done: `${id} is cordoned.`,
    act: (reason) => request("PUT", `${path("clients", id)}:cordon`, reason === "" ? null : { reason }),
  });
}

function uncordon(id: string): void {
  confirm({
    title: `Uncordon ${id}?`,
    text: "It may link again and gets tasks again.",
    verb: "Uncordon",
    done: `${id} is welcome again.`,
    act: () => request("PUT", `${path("clients", id)}:uncordon`),
  });
}

function remove(id: string): void {
  confirm({
    title: `Remove ${id}?`,
    text: "Its link is closed and it is turned away until it is uncordoned. Rounds go on without it.",
    reason: "Why (others will see it)",
    verb: "Remove",
    danger: true,
    done: `${id} was removed.`,
    act: (reason) => request("DELETE", path("clients", id), reason === "" ? undefined : { reason }),
  });
}
