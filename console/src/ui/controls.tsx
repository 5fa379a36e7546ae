/** Small parts that pages are made of: buttons, fields, facts, meters. */

import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";
import type { Json } from "../api/bodies.ts";
import { Glyph, type Sign } from "./glyph.tsx";

interface ButtonProps {
  children: ComponentChildren;
  onClick?: () => void;
  sign?: Sign;
  kind?: "plain" | "primary" | "danger" | "quiet";
  type?: "button" | "submit";
  disabled?: boolean;
  pressed?: boolean;
  label?: string;
}

export function Button({
  children,
  onClick,
  sign,
  kind = "plain",
  type = "button",
  disabled,
  pressed,
  label,
}: ButtonProps) {
  return (
    <button
      type={type}
      className={`button ${kind}`}
      onClick={onClick}
      disabled={disabled}
      aria-pressed={pressed}
      aria-label={label}
    >
      {sign && <Glyph of={sign} />}
      {children}
    </button>
  );
}

interface SearchProps {
  label: string;
  value: string;
  onInput: (value: string) => void;
  hint?: string;
  list?: string[];
}

/** A filter: takes effect with every letter. */
export function Search({ label, value, onInput, hint, list }: SearchProps) {
  const id = useId();
  return (
    <label className="search">
      <Glyph of="search" />
      <span className="hidden">{label}</span>
      <input
        type="search"
        value={value}
        placeholder={hint ?? label}
        list={list && id}
        autoComplete="off"
        spellcheck={false}
        onInput={(event) => onInput(event.currentTarget.value)}
      />
      {list && (
        <datalist id={id}>
          {list.map((item) => (
            <option key={item} value={item} />
          ))}
        </datalist>
      )}
    </label>
  );
}

interface ChoiceProps {
  label: string;
  value: string;
  options: readonly (readonly [value: string, text: string])[];
  onChange: (value: string) => void;
}

export function Choice({ label, value, options, onChange }: ChoiceProps) {
  return (
    <label className="choice">
      <span className="hidden">{label}</span>
      <select value={value} onChange={(event) => onChange(event.currentTarget.value)}>
        {options.map(([of, text]) => (
          <option key={of} value={of}>
            {text}
          </option>
        ))}
      </select>
    </label>
  );
}

/** Name and value, one below the other. Those without a value are left out. */
export function Facts({ of }: { of: [string, ComponentChildren][] }) {
  const told = of.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return (
    <dl className="facts">
      {told.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** A part of a whole. The words beside it say the same. */
export function Meter({ part, label, tone = "busy" }: { part: number; label: string; tone?: string }) {
  const width = `${Math.min(100, Math.max(0, part * 100))}%`;
  return (
    <span className={`meter tone-${tone}`} role="img" aria-label={label}>
      <span style={{ width }} />
    </span>
  );
}

export function Empty({ children }: { children: ComponentChildren }) {
  return <p className="empty">{children}</p>;
}

/** Anything as a tree of names and values. */
export function Tell({ value }: { value: Json }) {
  if (value === null) return <span className="faint">none</span>;
  if (typeof value !== "object") return <span className="mono">{String(value)}</span>;
  const entries = Object.entries(value);
  if (entries.length === 0) return <span className="faint">empty</span>;
  if (Array.isArray(value) && value.every((item) => item === null || typeof item !== "object")) {
    return <span className="mono">{value.join(", ")}</span>;
  }
  return <Facts of={entries.map(([name, inner]) => [name.replaceAll("_", " "), <Tell key={name} value={inner} />])} />;
}
