/** *Actors*: the supervision tree of the server, and of each client that allows it. */

import { useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { count, plural, rate } from "../../model/format.ts";
import { filters, Lines, type Look, shown } from "../../model/lines.ts";
import { refine, route } from "../../route.ts";
import { useLive } from "../../stores/live.ts";
import { actors, clients } from "../../stores/state.ts";
import { Choice, Empty, Search } from "../../ui/controls.tsx";
import { Problem } from "../../ui/dialog.tsx";
import { Glyph } from "../../ui/glyph.tsx";
import { Grid } from "../../ui/grid.tsx";
import { COLUMNS } from "./columns.tsx";
import { ActorPanel } from "./panel.tsx";
import { useClientTree } from "./remote.ts";

const STATES = ["running", "starting", "restarting", "stopped", "unresponsive"];

export function ActorsPage() {
  const { query } = route.value;
  const node = query.node ?? "";
  useLive({ topics: node === "" ? ["actors", "clients"] : ["clients"] });
  const remote = useClientTree(node);
  const toggled = useSignal<ReadonlyMap<string, boolean>>(new Map());
  const tree = node === "" ? (actors.value?.tree ?? null) : remote.tree;
  const version = node === "" ? actors.value : remote;
  const look: Look = {
    text: query.find ?? "",
    state: query.state ?? "",
    troubled: query.only === "troubled",
    toggled: toggled.value,
  };
  const rows = useMemo(
    () => (tree === null ? [] : shown(tree, look)),
    [version, look.text, look.state, look.troubled, toggled.value],
  );
  const sum = useMemo(() => tree?.sum(), [version]);
  const nodes = [...(clients.all.value?.values() ?? [])].filter(
    (client) => client.observable && client.state === "online",
  );
  return (
    <section className="page split">
      <div className="main-part">
        <div className="bar">
          <h1>Actors</h1>
          <Choice
            label="Whose actors"
            value={node}
            options={[["", "server"], ...nodes.map(({ id }) => [id, `client ${id}`] as const)]}
            onChange={(node) => refine({ node, actor: undefined })}
          />
          <Search
            label="Find an actor"
            hint="Find by path or kind"
            value={look.text}
            onInput={(find) => refine({ find })}
          />
          <Choice
            label="State"
            value={look.state}
            options={[["", "any state"], ...STATES.map((state) => [state, state] as const)]}
            onChange={(state) => refine({ state })}
          />
          <button
            type="button"
            className="button"
            aria-pressed={look.troubled}
            onClick={() => refine({ only: look.troubled ? undefined : "troubled" })}
          >
            <Glyph of="triangle" />
            Needs attention {sum && <b>{count(sum.troubled)}</b>}
          </button>
        </div>
        {sum && (
          <p className="sums">
            <span>{plural(sum.actors, "actor")}</span>
            <span>{count(sum.running)} running</span>
            <span>{plural(sum.waiting, "message")} waiting</span>
            <span>{rate(sum.rate)} handled/s</span>
            <span>{plural(sum.restarts, "restart")}</span>
            <span>{plural(sum.deadLetters, "dead letter")}</span>
            {filters(look) && (
              <span role="status">{plural(rows instanceof Lines ? rows.matches : 0, "match", "matches")}</span>
            )}
          </p>
        )}
        {remote.problem && <Problem>{remote.problem}</Problem>}
        <Grid
          label="Actors"
          columns={COLUMNS}
          rows={rows}
          id={(row) => row.actor.path}
          tree={(row) => row}
          selected={query.actor}
          rowClass={(row) => (row.passed ? "passed" : "")}
          onToggle={(row, open) => {
            toggled.value = new Map(toggled.value).set(row.actor.path, open);
          }}
          onOpen={(row) => refine({ actor: row.actor.path })}
          empty={<Empty>{tree === null ? "Asking for the tree…" : "No actor is like that."}</Empty>}
        />
      </div>
      {query.actor !== undefined && (
        <ActorPanel key={`${node} ${query.actor}`} path={query.actor} client={node} tree={tree} />
      )}
    </section>
  );
}
