/** Questions before something is changed, and short notices after. One dialog at a time. */

import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { sentence } from "../api/http.ts";
import { Button } from "./controls.tsx";
import { Glyph } from "./glyph.tsx";

interface DialogProps {
  title: string;
  children: ComponentChildren;
  onClose: () => void;
  wide?: boolean;
}

export function Dialog({ title, children, onClose, wide }: DialogProps) {
  const box = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const before = document.activeElement;
    box.current?.showModal();
    return () => (before instanceof HTMLElement ? before.focus() : undefined);
  }, []);
  return (
    <dialog ref={box} className={wide ? "dialog wide" : "dialog"} onClose={onClose} aria-labelledby="dialog-title">
      <header>
        <h2 id="dialog-title">{title}</h2>
        <Button kind="quiet" sign="close" label="Close" onClick={() => box.current?.close()}>
          {""}
        </Button>
      </header>
      {children}
    </dialog>
  );
}

interface Question {
  title: string;
  text: ComponentChildren;
  /** The verb, as on the button that asked. */
  verb: string;
  danger?: boolean;
  /** Asks for a reason, too. */
  reason?: string;
  done: string;
  act: (reason: string) => Promise<unknown>;
}

const question = signal<Question | null>(null);

/** Asks, does it, and says that it was done; what was refused is shown in the dialog. */
export function confirm(asked: Question): void {
  question.value = asked;
}

export function Confirmation() {
  const asked = question.value;
  return asked === null ? null : <Asked key={asked.title} asked={asked} />;
}

function Asked({ asked }: { asked: Question }) {
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  const [reason, setReason] = useState("");
  const close = () => {
    question.value = null;
  };
  const act = async () => {
    setBusy(true);
    setError("");
    try {
      await asked.act(reason);
      close();
      notice(asked.done);
    } catch (error) {
      setError(sentence(error));
      setBusy(false);
    }
  };
  return (
    <Dialog title={asked.title} onClose={close}>
      <form
        method="dialog"
        onSubmit={(event) => {
          event.preventDefault();
          void act();
        }}
      >
        <div className="dialog-text">{asked.text}</div>
        {asked.reason && (
          <label className="field">
            <span>{asked.reason}</span>
            <input value={reason} maxLength={200} onInput={(event) => setReason(event.currentTarget.value)} />
          </label>
        )}
        {error && <Problem>{error}</Problem>}
        <footer>
          <Button onClick={close}>Cancel</Button>
          <Button type="submit" kind={asked.danger ? "danger" : "primary"} disabled={busy}>
            {asked.verb}
          </Button>
        </footer>
      </form>
    </Dialog>
  );
}

export function Problem({ children }: { children: ComponentChildren }) {
  return (
    <p className="problem" role="alert">
      <Glyph of="triangle" />
      <span>{children}</span>
    </p>
  );
}

const notices = signal<{ id: number; text: string }[]>([]);
let lastNotice = 0;
const NOTICE_MS = 6000;

/** Says something for some seconds, to a screen reader too. */
export function notice(text: string): void {
  const id = ++lastNotice;
  notices.value = [...notices.value, { id, text }];
  setTimeout(() => {
    notices.value = notices.value.filter((of) => of.id !== id);
  }, NOTICE_MS);
}

export function Notices() {
  return (
    <div className="notices" role="status">
      {notices.value.map(({ id, text }) => (
        <p key={id}>
          <Glyph of="check" />
          {text}
        </p>
      ))}
    </div>
  );
}
