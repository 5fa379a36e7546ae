/** The fields that most jobs need. A field left empty is left to the server; what the form does not know stays as it is. */

import type { JobDocument } from "../../api/bodies.ts";
import { at, changed } from "../../model/document.ts";
import { clients } from "../../stores/state.ts";
import { type Attached, configurations } from "./attached.ts";
import { Fields, FileField, JsonField, NumberField, SelectField, TextField } from "./fields.tsx";

const RULES = [
  "fedavg",
  "fedavgm",
  "fedadagrad",
  "fedyogi",
  "fedadam",
  "fednova",
  "scaffold",
  "feddyn",
  "qfedavg",
  "fedbuff",
  "median",
  "trimmed_mean",
  "krum",
  "multikrum",
  "bulyan",
  "geometric_median",
  "centered_clipping",
  "lora",
];

interface Props {
  document: JobDocument;
  onChange: (document: JobDocument) => void;
  attached: Attached;
  onAttach: (attached: Attached) => void;
  /** The field that the server did not accept. */
  refused: string | undefined;
}

export function Form({ document, onChange, attached, onAttach, refused }: Props) {
  const set = (path: string, value: unknown) => onChange(changed(document, path, value));
  const of = (path: string) => ({
    path,
    value: at(document, path),
    onChange: (value: unknown) => set(path, value),
    refused: refused === path,
  });
  const runtime = document.runtime ?? "builtin";
  const builtin = runtime === "builtin";
  const sent = !builtin && document.scripts !== undefined;
  const files = configurations(attached.scripts);
  const known = [...(clients.all.value?.values() ?? [])];
  const datasets = [...new Set(known.flatMap((client) => Object.keys(client.datasets)))].sort();
  const start = (value: string) => {
    const plain = changed(document, "scripts", undefined);
    onChange({ ...changed(plain, "task_entry", value === "builtin" ? "classifier" : undefined), runtime: value });
  };
  const send = (how: string) => {
    const next =
      how === "scripts" ? changed(document, "task_entry", undefined) : changed(document, "scripts", undefined);
    onChange(how === "scripts" ? { ...next, scripts: { path: "", config_file: "task.json" } } : next);
  };
  const attach = (scripts: readonly File[]) => {
    onAttach({ ...attached, scripts });
    const [first] = configurations(scripts);
    if (first !== undefined && !configurations(scripts).includes(document.scripts?.config_file ?? ""))
      set("scripts.config_file", first);
  };
  return (
    <div className="form">
      <Fields title="Job">
        <TextField label="Id" hint="Letters, digits, . _ -" required {...of("id")} />
        <TextField label="Output" hint="Folder in the storage" required {...of("output")} />
        <TextField label="Description" wide {...of("description")} />
      </Fields>
      <Fields title="Training">
        <SelectField
          label="Runtime"
          options={["builtin", "pytorch", "tensorflow", "torchscript"]}
          {...of("runtime")}
          onChange={(value) => start(String(value))}
        />
        {builtin && <SelectField label="Task" options={["classifier", "echo"]} {...of("task_entry")} />}
        {!builtin && (
          <SelectField
            label="Scripts"
            options={["task", "scripts"]}
            names={["A task the sites have", "Sent along with the job"]}
            path="how"
            value={sent ? "scripts" : "task"}
            onChange={(how) => send(String(how))}
          />
        )}
        {!builtin && !sent && (
          <TextField label="Task" hint="Its name in the sites' configuration" required {...of("task_entry")} />
        )}
        {sent && (
          <>
            <FileField label="Folder of scripts" folder files={attached.scripts} onFiles={attach} />
            <FileField label="or one zip" accept=".zip" files={attached.scripts} onFiles={attach} />
            <TextField
              label="Task configuration"
              hint="A file in it, such as task.json"
              list={files}
              required
              {...of("scripts.config_file")}
            />
          </>
        )}
        <FileField
          label="Initial model"
          hint={builtin ? "Optional" : "A safetensors file"}
          accept=".safetensors,.pt"
          files={attached.model === null ? [] : [attached.model]}
          onFiles={([model]) => onAttach({ ...attached, model: model ?? null })}
        />
        {attached.model === null && <TextField label="or its path in the storage" {...of("model_path")} />}
        <TextField
          label="Data sets"
          hint={datasets.length > 0 ? `Known: ${datasets.join(", ")}` : "With commas between them"}
          list={datasets}
          {...of("datasets")}
          value={list(document.datasets)}
        />
        <JsonField
          label="Parameters"
          hint={PARAMETERS[document.task_entry ?? ""] ?? "Passed to the script, as JSON"}
          {...of("parameters")}
        />
      </Fields>
      <Fields title="Rounds">
        <NumberField label="Rounds" hint="10" {...of("hyper_parameters.max_round_num")} />
        <NumberField label="Clients a round" hint="1" {...of("hyper_parameters.client_num")} />
        <NumberField label="Updates needed" hint="1" {...of("hyper_parameters.threshold_client_num")} />
        <NumberField label="Evaluate every … rounds" hint="2" {...of("hyper_parameters.evaluate_interval")} />
        <NumberField label="Checkpoint every … rounds" hint="5" {...of("hyper_parameters.save_interval")} />
        <NumberField label="Longest round, seconds" hint="3600" {...of("hyper_parameters.round_timeout")} />
      </Fields>
      <Fields title="Aggregation and resources">
        <SelectField
          label="Rule"
          options={RULES}
          {...of("aggregator.name")}
          value={document.aggregator?.name ?? "fedavg"}
        />
        <JsonField label="Its parameters" {...of("aggregator.params")} />
        <NumberField label="CPU cores a task" hint="1" {...of("resource.cpu")} />
        <NumberField label="GPUs a task" hint="0" {...of("resource.gpu")} />
        <NumberField label="Memory a task, MB" hint="1000" {...of("resource.memory")} />
        <NumberField label="Priority" hint="0" {...of("priority")} />
      </Fields>
    </div>
  );
}

const PARAMETERS: Record<string, string> = {
  classifier: "features and classes are required",
  echo: "size_mb, noise, sample_num",
};

const list = (value: string | string[] | undefined): string =>
  Array.isArray(value) ? value.join(", ") : (value ?? "");
