/** The tree of actors: built from the live stream's rows, kept up to date by what changed, cut to what is looked at. */

import type { ActorRow, ActorTree } from "../api/bodies.ts";
import { troubles } from "./trouble.ts";

export interface Node {
  actor: ActorRow;
  children: string[];
  /** What a search looks at, in lower case. */
  text: string;
  /** The last look that it was kept for, and the last that it was found by. */
  kept: number;
  found: number;
}

export interface ActorsUpdate {
  full: boolean;
  actors: ActorRow[];
  gone: string[];
}

export interface Sum {
  actors: number;
  running: number;
  waiting: number;
  rate: number;
  restarts: number;
  deadLetters: number;
  troubled: number;
}

export class Tree {
  readonly nodes = new Map<string, Node>();
  roots: string[] = [];

  apply({ full, actors, gone }: ActorsUpdate): void {
    if (full) {
      this.nodes.clear();
      this.roots = [];
    }
    for (const path of gone) this.remove(path);
    for (const actor of actors) this.put(actor);
  }

  sum(): Sum {
    const sum = { actors: 0, running: 0, waiting: 0, rate: 0, restarts: 0, deadLetters: 0, troubled: 0 };
    for (const { actor } of this.nodes.values()) {
      sum.actors++;
      if (actor.state === "running") sum.running++;
      sum.waiting += actor.mailbox.depth;
      sum.rate += actor.rate;
      sum.restarts += actor.restarts;
      sum.deadLetters += actor.dead_letters;
      if (troubles(actor).length > 0) sum.troubled++;
    }
    return sum;
  }

  private put(actor: ActorRow): void {
    const text = `${actor.path} ${actor.kind}`.toLowerCase();
    const known = this.nodes.get(actor.path);
    if (known !== undefined && known.actor.parent === actor.parent) {
      known.actor = actor;
      known.text = text;
      return;
    }
    if (known !== undefined) this.unlink(known.actor);
    this.nodes.set(actor.path, { actor, children: known?.children ?? [], text, kept: 0, found: 0 });
    this.siblings(actor).push(actor.path);
  }

  /** With everything below it. */
  private remove(path: string): void {
    const node = this.nodes.get(path);
    if (node === undefined) return;
    this.unlink(node.actor);
    const below = [path];
    for (let at = below.pop(); at !== undefined; at = below.pop()) {
      below.push(...(this.nodes.get(at)?.children ?? []));
      this.nodes.delete(at);
    }
  }

  private unlink(actor: ActorRow): void {
    const siblings = this.siblings(actor);
    const at = siblings.indexOf(actor.path);
    if (at >= 0) siblings.splice(at, 1);
  }

  private siblings({ parent }: ActorRow): string[] {
    return (parent === null ? undefined : this.nodes.get(parent)?.children) ?? this.roots;
  }
}

/** A whole tree as the rows of the live stream, in tree order. */
export function rows(tree: ActorTree): ActorRow[] {
  const all: ActorRow[] = [];
  const walk = ({ children, ...actor }: ActorTree, parent: string | null, depth: number) => {
    all.push({ ...actor, parent, depth });
    for (const child of children) walk(child, actor.path, depth + 1);
  };
  walk(tree, null, 0);
  return all;
}
