/** The tree of a client, asked for through its link again and again while it is shown. */

import { useEffect, useState } from "preact/hooks";
import type { ActorTree } from "../../api/bodies.ts";
import { get, path, query, sentence } from "../../api/http.ts";
import { rows, Tree } from "../../model/tree.ts";

export interface Remote {
  tree: Tree | null;
  problem: string;
}

const AGAIN_MS = 3000;
const NOTHING: Remote = { tree: null, problem: "" };

export function useClientTree(client: string): Remote {
  const [remote, setRemote] = useState<Remote>(NOTHING);
  useEffect(() => {
    setRemote(NOTHING);
    if (client === "") return;
    let timer: ReturnType<typeof setTimeout>;
    let over = false;
    const look = async () => {
      const next = await asked(client).catch((error): Remote => ({ tree: null, problem: sentence(error) }));
      if (over) return;
      setRemote((before) => ({ tree: next.tree ?? before.tree, problem: next.problem }));
      timer = setTimeout(look, AGAIN_MS);
    };
    void look();
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [client]);
  return remote;
}

async function asked(client: string): Promise<Remote> {
  const tree = new Tree();
  tree.apply({ full: true, actors: rows(await get<ActorTree>(path("actors") + query({ client }))), gone: [] });
  return { tree, problem: "" };
}
