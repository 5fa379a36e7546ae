/** *Submit a job*: by a form, as a document, or from a file; with its scripts and its model. */

import { useEffect, useState } from "preact/hooks";
import type { Job, JobDocument } from "../../api/bodies.ts";
import { get, path, Refused, request, sentence, upload } from "../../api/http.ts";
import { fieldOf, read, written } from "../../model/document.ts";
import { go, link, route } from "../../route.ts";
import { useLive } from "../../stores/live.ts";
import { Button, Choice } from "../../ui/controls.tsx";
import { notice, Problem } from "../../ui/dialog.tsx";
import { Tabs } from "../../ui/tabs.tsx";
import { type Attached, NOTHING, store } from "./attached.ts";
import { Form } from "./form.tsx";
import { Text } from "./text.tsx";

const NEW: JobDocument = {
  id: "",
  runtime: "builtin",
  task_entry: "classifier",
  output: "",
  hyper_parameters: {
    max_round_num: 10,
    client_num: 2,
    threshold_client_num: 2,
    evaluate_interval: 2,
    save_interval: 5,
  },
};

export function SubmitPage() {
  useLive({ topics: ["clients"] });
  const [document, setDocument] = useState<JobDocument>(NEW);
  const [namespaces, setNamespaces] = useState<string[]>(["default"]);
  const [namespace, setNamespace] = useState("default");
  const [attached, setAttached] = useState<Attached>(NOTHING);
  const [view, setView] = useState("");
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState("");
  const { like } = route.value.query;

  useEffect(() => {
    get<{ namespaces: string[] }>(path("namespaces")).then(
      ({ namespaces: known }) => {
        setNamespaces(known);
        if (!known.includes(namespace)) setNamespace(known[0] ?? "");
      },
      (error: unknown) => setProblem(sentence(error)),
    );
  }, []);
  useEffect(() => {
    const [of = "", id = ""] = like?.split("/") ?? [];
    if (id === "") return;
    setNamespace(of);
    get<Job>(path("namespaces", of, "jobs", id)).then(
      (job) => setDocument({ ...written(job), id: "" }),
      (error: unknown) => setProblem(sentence(error)),
    );
  }, [like]);

  const open = async (file: File | undefined) => {
    if (file === undefined) return;
    try {
      setDocument(await read(file.name, await file.text()));
      setProblem("");
    } catch (error) {
      setProblem(`${file.name}: ${sentence(error)}`);
    }
  };

  const submit = async () => {
    setProblem("");
    try {
      const whole = await store(namespace, document, attached, upload, setBusy);
      setBusy("Submitting…");
      await request("POST", path("namespaces", namespace, "jobs"), whole);
      notice(`${whole.id} was submitted.`);
      go(link(["jobs", namespace, whole.id ?? ""]));
    } catch (error) {
      setProblem(sentence(error));
      if (error instanceof Refused) window.document.getElementById(fieldOf(error.message) ?? "")?.focus();
    } finally {
      setBusy("");
    }
  };

  return (
    <section className="page submit">
      <div className="bar">
        <h1>Submit a job</h1>
        {namespaces.length > 1 && (
          <Choice
            label="Namespace"
            value={namespace}
            options={namespaces.map((of) => [of, of] as const)}
            onChange={setNamespace}
          />
        )}
        <Tabs
          label="How"
          tabs={[
            ["", "Form"],
            ["document", "Document"],
          ]}
          current={view}
          onChoose={setView}
        />
        <span className="grow" />
        <label className="button file">
          Open a file…
          <input
            type="file"
            accept=".json,.yaml,.yml,.toml"
            onChange={(event) => void open(event.currentTarget.files?.[0])}
          />
        </label>
      </div>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void submit();
        }}
      >
        {view === "" ? (
          <Form
            document={document}
            onChange={setDocument}
            attached={attached}
            onAttach={setAttached}
            refused={fieldOf(problem)}
          />
        ) : (
          <Text document={document} onChange={setDocument} onProblem={setProblem} />
        )}
        {problem && <Problem>{problem}</Problem>}
        <footer className="submit-foot">
          <Button type="submit" kind="primary" disabled={busy !== ""}>
            Submit
          </Button>
          <a className="button" href={link(["jobs"])}>
            Cancel
          </a>
          <span role="status" className="faint">
            {busy}
          </span>
        </footer>
      </form>
    </section>
  );
}
