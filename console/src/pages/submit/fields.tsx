/** Fields of the form, each with its name, a hint, and whether the server refused it. An empty one has no value. */

import type { ComponentChildren } from "preact";
import { useEffect, useId, useState } from "preact/hooks";

export interface FieldProps {
  label: string;
  hint?: string;
  /** In the job document; the id of the field in the page. */
  path: string;
  value: unknown;
  onChange: (value: unknown) => void;
  refused?: boolean;
  required?: boolean;
  wide?: boolean;
}

export function Fields({ title, children }: { title: string; children: ComponentChildren }) {
  return (
    <fieldset>
      <legend>{title}</legend>
      <div className="fields">{children}</div>
    </fieldset>
  );
}

interface LabelProps {
  label: string;
  hint?: string | undefined;
  id: string;
  wide?: boolean | undefined;
  children: ComponentChildren;
}

function Labelled({ label, hint, id, wide, children }: LabelProps) {
  return (
    <div className={wide ? "field wide" : "field"}>
      <label htmlFor={id}>{label}</label>
      {children}
      {hint && (
        <small id={`${id}-hint`} className="faint">
          {hint}
        </small>
      )}
    </div>
  );
}

export function TextField({ list, ...field }: FieldProps & { list?: string[] }) {
  const { path, value, onChange, required } = field;
  return (
    <Labelled {...field} id={path}>
      <input
        id={path}
        value={value === undefined || value === null ? "" : String(value)}
        required={required}
        list={list && `${path}-list`}
        autoComplete="off"
        spellcheck={false}
        aria-invalid={field.refused}
        aria-describedby={field.hint && `${path}-hint`}
        onInput={(event) => onChange(event.currentTarget.value === "" ? undefined : event.currentTarget.value)}
      />
      {list && (
        <datalist id={`${path}-list`}>
          {list.map((item) => (
            <option key={item} value={item} />
          ))}
        </datalist>
      )}
    </Labelled>
  );
}

/** The hint is what the server takes without a value. */
export function NumberField({ hint, ...field }: FieldProps) {
  const { path, value, onChange } = field;
  return (
    <Labelled {...field} id={path}>
      <input
        id={path}
        type="number"
        min="0"
        step="any"
        value={typeof value === "number" ? value : ""}
        placeholder={hint}
        aria-invalid={field.refused}
        onInput={(event) => onChange(event.currentTarget.value === "" ? undefined : event.currentTarget.valueAsNumber)}
      />
    </Labelled>
  );
}

export function SelectField({ options, names, ...field }: FieldProps & { options: string[]; names?: string[] }) {
  const { path, value, onChange } = field;
  const known = options.includes(String(value)) || value === undefined ? options : [...options, String(value)];
  return (
    <Labelled {...field} id={path}>
      <select
        id={path}
        value={String(value ?? "")}
        aria-invalid={field.refused}
        onChange={(event) => onChange(event.currentTarget.value)}
      >
        {known.map((option, index) => (
          <option key={option} value={option}>
            {names?.[index] ?? option}
          </option>
        ))}
      </select>
    </Labelled>
  );
}

/** An object as JSON; while it is none, the field says so and the document keeps what it had. */
export function JsonField(field: FieldProps) {
  const { path, value, onChange } = field;
  const whole = value === undefined ? "" : JSON.stringify(value);
  const [text, setText] = useState(whole);
  const [bad, setBad] = useState(false);
  useEffect(() => {
    if (!same(text, value)) setText(whole);
  }, [whole]);
  const typed = (text: string, box: HTMLTextAreaElement) => {
    setText(text);
    const parsed = object(text);
    setBad(parsed === null);
    box.setCustomValidity(parsed === null ? 'A JSON object, such as {"seed": 7}' : "");
    if (parsed !== null) onChange(parsed);
  };
  return (
    <Labelled {...field} id={path} wide>
      <textarea
        id={path}
        className="mono"
        rows={2}
        spellcheck={false}
        value={text}
        placeholder="{ }"
        aria-invalid={bad || field.refused}
        aria-describedby={field.hint && `${path}-hint`}
        onInput={(event) => typed(event.currentTarget.value, event.currentTarget)}
      />
    </Labelled>
  );
}

/** None for nothing, null for what is no object. */
function object(text: string): object | undefined | null {
  if (text.trim() === "") return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

function same(text: string, value: unknown): boolean {
  const parsed = object(text);
  return parsed === null || JSON.stringify(parsed) === JSON.stringify(value);
}

interface FileProps {
  label: string;
  hint?: string;
  accept?: string;
  folder?: boolean;
  files: readonly File[];
  onFiles: (files: File[]) => void;
}

export function FileField({ label, hint, accept, folder, files, onFiles }: FileProps) {
  const id = useId();
  const isFolder = (files[0]?.webkitRelativePath ?? "") !== "";
  const mine = files.length > 0 && isFolder === !!folder;
  return (
    <Labelled
      label={label}
      hint={mine ? `${files.length === 1 ? files[0]?.name : `${files.length} files`}` : hint}
      id={id}
    >
      <input
        id={id}
        type="file"
        accept={accept}
        {...(folder ? { webkitdirectory: true } : {})}
        onChange={(event) => onFiles([...(event.currentTarget.files ?? [])])}
      />
    </Labelled>
  );
}
