/** *Access*: who may do what, and who did what. For administrators. */

import { useEffect, useState } from "preact/hooks";
import { get, path, query, request, sentence } from "../api/http.ts";
import { may, type Role } from "../api/session.ts";
import { instant } from "../model/format.ts";
import { refine, route } from "../route.ts";
import { useLive } from "../stores/live.ts";
import { now } from "../stores/time.ts";
import { Button, Empty } from "../ui/controls.tsx";
import { confirm, Dialog, Problem } from "../ui/dialog.tsx";
import { type Column, Grid } from "../ui/grid.tsx";
import { Tabs } from "../ui/tabs.tsx";

interface Token {
  id: string;
  name: string;
  role: Role;
  created: string;
  created_by: string;
  last_used: string | null;
  revoked: string | null;
}

interface Entry {
  id: number;
  at: string;
  who: string;
  role: string;
  from: string;
  method: string;
  path: string;
  status: number | null;
}

export function AccessPage() {
  useLive({ topics: ["events"] });
  const { tab = "" } = route.value.query;
  return (
    <section className="page">
      <div className="bar">
        <h1>Access</h1>
        <Tabs
          label="Tokens or audit"
          tabs={[
            ["", "Tokens"],
            ["audit", "Audit"],
          ]}
          current={tab}
          onChoose={(tab) => refine({ tab })}
        />
      </div>
      {!may("admin") ? <Empty>For administrators.</Empty> : tab === "audit" ? <Audit /> : <Tokens />}
    </section>
  );
}

/** What is asked for, and again when something was changed. */
function useAsked<T>(url: string, again: number): { value: T | null; problem: string } {
  const [asked, setAsked] = useState<{ value: T | null; problem: string }>({ value: null, problem: "" });
  useEffect(() => {
    let over = false;
    get<T>(url).then(
      (value) => !over && setAsked({ value, problem: "" }),
      (error: unknown) => !over && setAsked((before) => ({ ...before, problem: sentence(error) })),
    );
    return () => {
      over = true;
    };
  }, [url, again]);
  return asked;
}

function Tokens() {
  const [again, setAgain] = useState(0);
  const [making, setMaking] = useState(false);
  const { value, problem } = useAsked<{ tokens: Token[] }>(path("tokens"), again);
  const reload = () => setAgain((before) => before + 1);
  const columns: Column<Token>[] = [
    {
      id: "name",
      title: "Name",
      width: "minmax(100px, 1fr)",
      cell: (of) => <span className="strong">{of.name}</span>,
    },
    { id: "role", title: "Role", width: "90px", cell: (of) => of.role },
    { id: "id", from: 760, title: "Id", width: "100px", cell: (of) => <span className="mono">{of.id}</span> },
    {
      id: "created",
      from: 900,
      title: "Created",
      width: "minmax(140px, 1fr)",
      cell: (of) => `${instant(of.created, now.value)} by ${of.created_by}`,
    },
    {
      id: "used",
      from: 640,
      title: "Last used",
      width: "min(140px, 24%)",
      cell: (of) => (of.last_used === null ? "never" : instant(of.last_used, now.value)),
    },
    {
      id: "revoke",
      title: "Revoked",
      width: "150px",
      cell: (of) =>
        of.revoked === null ? (
          <Button onClick={() => revoke(of, reload)}>Revoke</Button>
        ) : (
          instant(of.revoked, now.value)
        ),
    },
  ];
  return (
    <>
      <p className="bar">
        <Button sign="plus" kind="primary" onClick={() => setMaking(true)}>
          Issue a token
        </Button>
      </p>
      {problem && <Problem>{problem}</Problem>}
      <Grid
        label="Tokens"
        columns={columns}
        rows={value?.tokens ?? []}
        id={(of) => of.id}
        empty={<Empty>{value === null ? "Asking for them…" : "None was issued yet."}</Empty>}
      />
      {making && (
        <Issue
          onClose={() => {
            setMaking(false);
            reload();
          }}
        />
      )}
    </>
  );
}

function revoke({ id, name }: Token, then: () => void): void {
  confirm({
    title: `Revoke ${name}'s token?`,
    text: `Token ${id} is not taken any more, at once.`,
    verb: "Revoke",
    danger: true,
    done: `Token ${id} was revoked.`,
    act: async () => {
      await request("DELETE", path("tokens", id));
      then();
    },
  });
}

function Issue({ onClose }: { onClose: () => void }) {
  const [name, setName] = useState("");
  const [role, setRole] = useState<Role>("viewer");
  const [token, setToken] = useState("");
  const [problem, setProblem] = useState("");
  const issue = async (event: Event) => {
    event.preventDefault();
    try {
      setToken((await request<{ token: string }>("POST", path("tokens"), { name, role })).token);
    } catch (error) {
      setProblem(sentence(error));
    }
  };
  return (
    <Dialog title="Issue a token" onClose={onClose}>
      {token !== "" ? (
        <div className="dialog-text">
          <p>Copy it now: it is shown this once.</p>
          <pre tabIndex={0} aria-label="Token">
            {token}
          </pre>
        </div>
      ) : (
        <form onSubmit={(event) => void issue(event)}>
          <div className="field">
            <label htmlFor="token-name">For whom</label>
            <input
              id="token-name"
              value={name}
              required
              maxLength={64}
              onInput={(event) => setName(event.currentTarget.value)}
            />
          </div>
          <div className="field">
            <label htmlFor="token-role">Role</label>
            <select id="token-role" value={role} onChange={(event) => setRole(event.currentTarget.value as Role)}>
              <option value="viewer">viewer: looks</option>
              <option value="operator">operator: changes jobs, clients, actors</option>
              <option value="admin">admin: tokens, audit, backup</option>
            </select>
          </div>
          {problem && <Problem>{problem}</Problem>}
          <footer>
            <Button type="submit" kind="primary">
              Issue
            </Button>
          </footer>
        </form>
      )}
    </Dialog>
  );
}

const AUDIT: Column<Entry>[] = [
  { id: "at", title: "At", width: "min(140px, 24%)", cell: (of) => instant(of.at, now.value) },
  {
    id: "who",
    title: "Who",
    width: "minmax(80px, 0.6fr)",
    cell: (of) => <span className="strong">{of.who}</span>,
  },
  { id: "role", from: 620, title: "Role", width: "80px", cell: (of) => of.role },
  { id: "from", from: 700, title: "From", width: "110px", cell: (of) => of.from },
  {
    id: "what",
    title: "What",
    width: "minmax(120px, 2fr)",
    cell: (of) => <span className="mono">{`${of.method} ${of.path}`}</span>,
  },
  { id: "status", from: 560, title: "Answer", width: "90px", cell: (of) => of.status ?? "none: the server ended" },
];

const NEWEST = 1000;
const AGAIN_MS = 5000;

function Audit() {
  const [again, setAgain] = useState(0);
  useEffect(() => {
    const timer = setInterval(
      () => document.visibilityState === "visible" && setAgain((before) => before + 1),
      AGAIN_MS,
    );
    return () => clearInterval(timer);
  }, []);
  const { value, problem } = useAsked<{ entries: Entry[] }>(
    path("audit") + query({ newest: true, limit: NEWEST }),
    again,
  );
  return (
    <>
      {problem && <Problem>{problem}</Problem>}
      <Grid
        label="Audit"
        columns={AUDIT}
        rows={[...(value?.entries ?? [])].reverse()}
        id={(of) => String(of.id)}
        empty={<Empty>{value === null ? "Asking for it…" : "Nothing was changed yet."}</Empty>}
      />
    </>
  );
}
