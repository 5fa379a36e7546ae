/** *Clients*: which sites there are, how they are, what they offer. */

import { useMemo } from "preact/hooks";
import type { Client } from "../../api/bodies.ts";
import { age, bytes, count, micros, plural } from "../../model/format.ts";
import { type Health, health } from "../../model/trouble.ts";
import { refine, route } from "../../route.ts";
import { useLive } from "../../stores/live.ts";
import { clients } from "../../stores/state.ts";
import { now } from "../../stores/time.ts";
import { Badge } from "../../ui/badge.tsx";
import { Choice, Empty, Search } from "../../ui/controls.tsx";
import { type Column, Grid } from "../../ui/grid.tsx";
import { ClientPanel } from "./panel.tsx";

const STATES: Health[] = ["online", "cordoned", "lost", "removed"];

const by =
  <T,>(of: (client: Client) => T) =>
  (a: Client, b: Client) =>
    of(a) < of(b) ? -1 : of(a) > of(b) ? 1 : a.id.localeCompare(b.id);

const COLUMNS: Column<Client>[] = [
  {
    id: "id",
    title: "Client",
    width: "minmax(130px, 1.4fr)",
    sort: by(({ id }) => id),
    cell: (of) => <Name of={of} />,
  },
  {
    id: "state",
    title: "Health",
    width: "108px",
    sort: by((of) => STATES.indexOf(health(of))),
    cell: (of) => <Badge state={health(of)} />,
  },
  {
    id: "tasks",
    title: "Tasks",
    width: "64px",
    end: true,
    sort: by((of) => of.current_tasks),
    cell: (of) => `${of.current_tasks} / ${of.max_tasks}`,
  },
  {
    id: "rtt",
    from: 520,
    title: "Latency",
    width: "76px",
    end: true,
    sort: by((of) => of.link?.rtt_us ?? 0),
    cell: ({ link }) => (link?.rtt_us ? micros(link.rtt_us) : "–"),
  },
  {
    id: "in",
    from: 620,
    title: "Received",
    width: "80px",
    end: true,
    sort: by((of) => of.link?.bytes_in ?? 0),
    cell: (of) => bytes(of.link?.bytes_in ?? 0),
  },
  {
    id: "out",
    from: 620,
    title: "Sent",
    width: "80px",
    end: true,
    sort: by((of) => of.link?.bytes_out ?? 0),
    cell: (of) => bytes(of.link?.bytes_out ?? 0),
  },
  {
    id: "reconnects",
    from: 720,
    title: "Reconnects",
    width: "98px",
    end: true,
    sort: by((of) => of.link?.reconnects ?? 0),
    cell: ({ link }) => count(link?.reconnects ?? 0),
  },
  {
    id: "resource",
    from: 900,
    title: "CPU · GPU · memory",
    width: "minmax(160px, 0.9fr)",
    cell: ({ resource: of }) => `${of.cpu} · ${of.gpu} · ${bytes(of.memory_mb * 1e6)}`,
  },
  {
    id: "datasets",
    from: 1040,
    title: "Data sets",
    width: "minmax(90px, 1fr)",
    cell: ({ datasets }) => Object.keys(datasets).join(", "),
  },
  {
    id: "runtimes",
    from: 1140,
    title: "Runtimes",
    width: "minmax(80px, 0.8fr)",
    cell: ({ runtimes }) => runtimes.join(", "),
  },
  {
    id: "version",
    from: 1200,
    title: "Version",
    width: "64px",
    sort: by((of) => of.version),
    cell: (of) => of.version,
  },
  {
    id: "seen",
    from: 440,
    title: "Seen",
    width: "72px",
    end: true,
    sort: by((of) => of.last_seen),
    cell: (of) => <Seen of={of} />,
  },
];

function Name({ of: { id, label } }: { of: Client }) {
  return (
    <span className="strong">
      {id} {label && <span className="faint">{label}</span>}
    </span>
  );
}

/** One that is online is not older than its last frame. */
function Seen({ of }: { of: Client }) {
  return of.state === "online" ? <span className="faint">now</span> : age(now.value - Date.parse(of.last_seen));
}

export function ClientsPage() {
  useLive({ topics: ["clients"] });
  const { query } = route.value;
  const [find, state] = [query.find ?? "", query.state ?? ""];
  const all = clients.all.value;
  const rows = useMemo(() => matching([...(all?.values() ?? [])], find, state), [all, find, state]);
  const selected = query.client === undefined ? undefined : all?.get(query.client);
  const states = [...(all?.values() ?? [])].map(health);
  return (
    <section className="page split">
      <div className="main-part">
        <div className="bar">
          <h1>Clients</h1>
          <Search
            label="Find a client"
            hint="Find by id, label, data set, runtime"
            value={find}
            onInput={(find) => refine({ find })}
          />
          <Choice
            label="Health"
            value={state}
            options={[["", "any health"], ...STATES.map((state) => [state, state] as const)]}
            onChange={(state) => refine({ state })}
          />
        </div>
        <p className="sums">
          <span>{plural(states.length, "client")}</span>
          {STATES.map((state) => [state, states.filter((of) => of === state).length] as const)
            .filter(([, number]) => number > 0)
            .map(([state, number]) => (
              <span key={state}>
                {count(number)} {state}
              </span>
            ))}
          {(find || state) && <span role="status">{plural(rows.length, "match", "matches")}</span>}
        </p>
        <Grid
          label="Clients"
          columns={COLUMNS}
          rows={rows}
          id={(client) => client.id}
          selected={query.client}
          onOpen={({ id }) => refine({ client: id })}
          empty={
            <Empty>
              {all === null
                ? "Asking for the clients…"
                : all.size === 0
                  ? "No client has registered yet."
                  : "No client is like that."}
            </Empty>
          }
        />
      </div>
      {query.client !== undefined && all !== null && (
        <ClientPanel key={query.client} id={query.client} client={selected} />
      )}
    </section>
  );
}

function matching(all: Client[], find: string, state: string): Client[] {
  const words = find
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== "");
  const text = (of: Client) =>
    [of.id, of.label, of.address, of.os, of.version, ...of.runtimes, ...Object.keys(of.datasets)]
      .join(" ")
      .toLowerCase();
  return all
    .filter((client) => state === "" || health(client) === state)
    .filter((client) => words.length === 0 || words.every((word) => text(client).includes(word)))
    .sort(by(({ id }) => id));
}
