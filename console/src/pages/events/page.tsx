/** *Events and logs*: what happened to jobs, and what the server wrote, filtered and followed. */

import { refine, route } from "../../route.ts";
import { useEventHistory, useLogHistory, useSettled } from "../../stores/history.ts";
import { missed, useLive } from "../../stores/live.ts";
import { clients, jobs } from "../../stores/state.ts";
import { Button, Choice, Search } from "../../ui/controls.tsx";
import { Problem } from "../../ui/dialog.tsx";
import { Tabs } from "../../ui/tabs.tsx";
import { EventList } from "./events.tsx";
import { LogList } from "./logs.tsx";

const LEVELS = [
  ["", "any level"],
  ["info", "info and worse"],
  ["warn", "warnings and errors"],
  ["error", "errors"],
] as const;

export function EventsPage() {
  const { query } = route.value;
  const tab = query.tab === "logs" ? "logs" : "events";
  const follows = query.follow !== "no";
  const lost = missed.value[tab];
  const keys = (of: ReadonlyMap<string, unknown> | null) => [...(of?.keys() ?? [])];
  return (
    <section className="page">
      <div className="bar">
        <h1>Events and logs</h1>
        <Tabs
          label="Events or logs"
          tabs={[
            ["", "Events"],
            ["logs", "Logs"],
          ]}
          current={query.tab ?? ""}
          onChoose={(tab) => refine({ tab })}
        />
      </div>
      <div className="bar filters">
        <Search
          label="Job"
          hint="Job, as default/digits"
          value={query.job ?? ""}
          list={keys(jobs.all.value)}
          onInput={(job) => refine({ job })}
        />
        <Search
          label="Client"
          value={query.client ?? ""}
          list={keys(clients.all.value)}
          onInput={(client) => refine({ client })}
        />
        <Search
          label="Actor"
          hint="Actor, by its path"
          value={query.actor ?? ""}
          onInput={(actor) => refine({ actor, tab: "logs" })}
        />
        {tab === "logs" && (
          <Choice label="Level" value={query.level ?? ""} options={LEVELS} onChange={(level) => refine({ level })} />
        )}
        <Search label="Words" value={query.find ?? ""} onInput={(find) => refine({ find })} />
        <Button sign="down" pressed={follows} onClick={() => refine({ follow: follows ? "no" : undefined })}>
          Follow
        </Button>
      </div>
      {lost !== undefined && <Problem>{lost} came faster than this page could take them and are left out.</Problem>}
      {tab === "logs" ? <Logs follows={follows} /> : <Events follows={follows} />}
    </section>
  );
}

function Events({ follows }: { follows: boolean }) {
  const { job = "", client = "", find = "" } = route.value.query;
  const filter = useSettled({ job, client });
  useLive({ topics: ["jobs", "events"], ...filter });
  return <EventList history={useEventHistory(filter)} find={find} follows={follows} />;
}

function Logs({ follows }: { follows: boolean }) {
  const { job = "", client = "", actor = "", level = "", find = "" } = route.value.query;
  const filter = useSettled({ job, client, actor, level });
  useLive({ topics: ["jobs", "logs"], ...filter });
  return <LogList history={useLogHistory(filter)} find={find} follows={follows} />;
}
