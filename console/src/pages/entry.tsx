/** Before the pages: the server is asked who we are, and we may be asked for a token. */

import { useEffect, useState } from "preact/hooks";
import { ask, enter, session } from "../api/session.ts";
import { Button } from "../ui/controls.tsx";
import { Problem } from "../ui/dialog.tsx";

const AGAIN_MS = 2000;

export function Entry() {
  const state = session.value;
  useEffect(() => {
    if (state.is !== "away") return;
    const timer = setTimeout(() => void ask(), AGAIN_MS);
    return () => clearTimeout(timer);
  }, [state]);
  if (state.is === "asking") return <main className="entry" aria-busy="true" />;
  return (
    <main className="entry">
      <div className="entry-box">
        <h1>NSFL console</h1>
        {state.is === "away" ? <p role="status">{state.reason} Trying again…</p> : <TokenForm />}
      </div>
    </main>
  );
}

function TokenForm() {
  const [token, setToken] = useState("");
  const [busy, setBusy] = useState(false);
  const state = session.value;
  const reason = state.is === "needed" ? state.reason : "";
  const submit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    await enter(token.trim());
    setBusy(false);
  };
  return (
    <form onSubmit={(event) => void submit(event)}>
      <label className="field">
        <span>Token</span>
        <input
          type="password"
          value={token}
          autoComplete="current-password"
          placeholder="nsfl_…"
          required
          onInput={(event) => setToken(event.currentTarget.value)}
        />
      </label>
      <p className="faint">
        The server's first is in <code>admin.token</code> in its data folder; an administrator issues others with{" "}
        <code>nsfl-ctl token create</code>.
      </p>
      {reason && <Problem>{reason}</Problem>}
      <Button type="submit" kind="primary" disabled={busy || token.trim() === ""}>
        Enter
      </Button>
    </form>
  );
}
