/** The job document as text: for what the form does not know. */

import { useState } from "preact/hooks";
import type { JobDocument } from "../../api/bodies.ts";
import { sentence } from "../../api/http.ts";
import { read } from "../../model/document.ts";

interface Props {
  document: JobDocument;
  onChange: (document: JobDocument) => void;
  onProblem: (problem: string) => void;
}

export function Text({ document, onChange, onProblem }: Props) {
  const [text, setText] = useState(() => JSON.stringify(document, null, 2));
  const typed = async (text: string) => {
    setText(text);
    try {
      onChange(await read("job.json", text));
      onProblem("");
    } catch (error) {
      onProblem(sentence(error));
    }
  };
  return (
    <label className="field">
      <span>Job document (JSON)</span>
      <textarea
        className="mono"
        rows={24}
        spellcheck={false}
        value={text}
        onInput={(event) => void typed(event.currentTarget.value)}
      />
    </label>
  );
}
