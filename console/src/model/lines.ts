/** The rows of a tree that are looked at: what a filter finds with the way to it, in tree order. */

import type { ActorRow } from "../api/bodies.ts";
import type { Node, Tree } from "./tree.ts";
import { troubles } from "./trouble.ts";

export interface Look {
  text: string;
  state: string;
  /** Only those with something to see to. */
  troubled: boolean;
  /** What somebody opened or closed. */
  toggled: ReadonlyMap<string, boolean>;
}

export interface Shown {
  actor: ActorRow;
  level: number;
  position: number;
  setSize: number;
  /** None without children. */
  open: boolean | undefined;
  /** Shown for what is below it only. */
  passed: boolean;
  below: number;
}

/** More children than this are closed until somebody opens them. */
const MANY = 40;

export const filters = (look: Look): boolean => look.text !== "" || look.state !== "" || look.troubled;

/** Each look has a number: what it keeps is marked with it, so that nothing has to be cleared. */
let looks = 0;

/** The rows to show, in tree order. Ten thousand of them are a list of nodes: a row is made when it comes to the screen. */
export class Lines implements Iterable<Shown> {
  readonly #made = new Map<number, Shown>();
  readonly #siblings = new Map<string | null, Map<string, number>>();

  constructor(
    private readonly tree: Tree,
    private readonly look: Look,
    private readonly number: number,
    private readonly nodes: readonly Node[],
    /** Found by a filter, without those that are shown for what is below them. */
    readonly matches: number,
  ) {}

  get length(): number {
    return this.nodes.length;
  }

  /** Rows made so far. */
  get made(): number {
    return this.#made.size;
  }

  at(index: number): Shown | undefined {
    const [node, known] = [this.nodes[index], this.#made.get(index)];
    if (node === undefined || known !== undefined) return known;
    const { actor } = node;
    const siblings = this.siblings(actor.parent);
    const row: Shown = {
      actor,
      level: levelOf(this.tree, node),
      position: (siblings.get(actor.path) ?? 0) + 1,
      setSize: siblings.size,
      open: isOpen(node, this.look),
      passed: filters(this.look) && node.found !== this.number,
      below: node.children.length,
    };
    this.#made.set(index, row);
    return row;
  }

  place(path: string): number {
    return this.nodes.findIndex((node) => node.actor.path === path);
  }

  *[Symbol.iterator](): Iterator<Shown> {
    for (let index = 0; index < this.length; index++) yield this.at(index) as Shown;
  }

  /** Those that are shown beside one another, in their places. */
  private siblings(parent: string | null): Map<string, number> {
    const known = this.#siblings.get(parent);
    if (known !== undefined) return known;
    const paths = (parent === null ? undefined : this.tree.nodes.get(parent)?.children) ?? this.tree.roots;
    const here = filters(this.look) ? paths.filter((path) => this.tree.nodes.get(path)?.kept === this.number) : paths;
    const places = new Map(here.map((path, index) => [path, index]));
    this.#siblings.set(parent, places);
    return places;
  }
}

function levelOf(tree: Tree, node: Node): number {
  let level = 1;
  for (let at = above(tree, node); at !== undefined; at = above(tree, at)) level++;
  return level;
}

const above = (tree: Tree, { actor }: Node): Node | undefined =>
  actor.parent === null ? undefined : tree.nodes.get(actor.parent);

/** None without children. */
function isOpen({ actor, children }: Node, look: Look): boolean | undefined {
  if (children.length === 0) return undefined;
  return look.toggled.get(actor.path) ?? (filters(look) || children.length <= MANY);
}

/** The rows to show, in tree order: what matches with the way to it. */
export function shown(tree: Tree, look: Look): Lines {
  const words = look.text
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== "");
  const [number, filtering] = [++looks, filters(look)];
  let matches = 0;
  if (filtering) {
    for (const node of tree.nodes.values()) {
      const { actor, text } = node;
      if (!words.every((word) => text.includes(word))) continue;
      if (look.state !== "" && actor.state !== look.state) continue;
      if (look.troubled && troubles(actor).length === 0) continue;
      matches++;
      node.found = number;
      for (let at: Node | undefined = node; at !== undefined && at.kept !== number; at = above(tree, at))
        at.kept = number;
    }
  }
  const nodes: Node[] = [];
  const walk = (paths: readonly string[]) => {
    for (const path of paths) {
      const node = tree.nodes.get(path);
      if (node === undefined || (filtering && node.kept !== number)) continue;
      nodes.push(node);
      if (isOpen(node, look)) walk(node.children);
    }
  };
  walk(tree.roots);
  return new Lines(tree, look, number, nodes, matches);
}
