//! Job documents on this machine: JSON, YAML or TOML, alone or in a workspace. The server checks what is in them.

use crate::cli::{JobName, Source};
use crate::fault::Fault;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// Names a job document may have in a workspace.
const IN_WORKSPACE: [&str; 4] = ["job.json", "job.yaml", "job.yml", "job.toml"];
/// Names in a workspace of the initial model, the tasks' scripts, the extender's script.
const MODEL_IN_WORKSPACE: &str = "model.safetensors";
const SCRIPTS_IN_WORKSPACE: &str = "scripts";
const EXTENDER_IN_WORKSPACE: &str = "extender.py";

/// A job document, and what stands beside it.
#[derive(Debug, PartialEq)]
pub(crate) struct Document {
    /// The document, an object.
    pub(crate) json: Value,
    /// The workspace's model file, if it has one.
    pub(crate) model: Option<PathBuf>,
    /// The workspace's folder of scripts, if it has one.
    pub(crate) scripts: Option<PathBuf>,
    /// The workspace's extender, if it has one.
    pub(crate) extender: Option<PathBuf>,
}

impl Document {
    /// The document that `-f` or `-w` names.
    pub(crate) fn load(source: &Source) -> Result<Self, Fault> {
        match (&source.file, &source.workspace) {
            (Some(file), _) => Ok(Self { json: parse(file)?, model: None, scripts: None, extender: None }),
            (None, Some(folder)) => {
                let there = |name: &str, is: fn(&Path) -> bool| Some(folder.join(name)).filter(|path| is(path));
                Ok(Self {
                    json: parse(&in_workspace(folder)?)?,
                    model: there(MODEL_IN_WORKSPACE, Path::is_file),
                    scripts: there(SCRIPTS_IN_WORKSPACE, Path::is_dir),
                    extender: there(EXTENDER_IN_WORKSPACE, Path::is_file),
                })
            }
            (None, None) => Err(Fault::Usage("give the job document with -f FILE or -w FOLDER".into())),
        }
    }

    /// The id in it.
    pub(crate) fn id(&self) -> Result<&str, Fault> {
        let id = self.json["id"].as_str().filter(|id| !id.is_empty());
        id.ok_or_else(|| Fault::Usage("the job document has no `id`, a text: give it one".into()))
    }
}

/// The id on the command line, or the one in the document.
pub(crate) fn job_id(job: &JobName) -> Result<String, Fault> {
    match &job.id {
        Some(id) => Ok(id.clone()),
        None if job.source.file.is_none() && job.source.workspace.is_none() => {
            Err(Fault::Usage("name the job: its id, or -f FILE or -w FOLDER with its document".into()))
        }
        None => Ok(Document::load(&job.source)?.id()?.to_owned()),
    }
}

fn in_workspace(folder: &Path) -> Result<PathBuf, Fault> {
    let mut found = IN_WORKSPACE.iter().map(|name| folder.join(name)).filter(|path| path.is_file());
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => {
            Err(Fault::file(folder, format!("holds no job document: {} is expected", IN_WORKSPACE.join(", "))))
        }
        (Some(one), Some(other)) => {
            let both = format!("holds {} and {}: remove one, or name one with -f", name(&one), name(&other));
            Err(Fault::file(folder, both))
        }
    }
}

fn parse(path: &Path) -> Result<Value, Fault> {
    let text = fs::read_to_string(path).map_err(|e| Fault::file(path, e))?;
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    let parsed: Result<Value, String> = match extension.as_str() {
        "json" => serde_json::from_str(&text).map_err(|e| e.to_string()),
        "yaml" | "yml" => serde_yaml_ng::from_str(&text).map_err(|e| e.to_string()),
        "toml" => toml::from_str(&text).map_err(|e| e.to_string()),
        _ => Err("is of no known kind: .json, .yaml, .yml or .toml is expected".into()),
    };
    match parsed {
        Ok(document) if document.is_object() => Ok(document),
        Ok(_) => Err(Fault::file(path, "is no job document: an object with fields is expected")),
        Err(problem) => Err(Fault::file(path, problem.trim_end())),
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(name: &str, text: &str) -> Result<Document, Fault> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(name), text).unwrap();
        Document::load(&Source { file: Some(folder.path().join(name)), workspace: None })
    }

    #[test]
    fn the_same_document_in_three_notations_is_the_same() {
        let json = load("j.json", r#"{"id":"a","clients":["c1"],"hyper_parameters":{"client_num":2}}"#).unwrap();
        let yaml = load("j.yml", "id: a\nclients: [c1]\nhyper_parameters:\n  client_num: 2\n").unwrap();
        let toml = load("j.toml", "id = 'a'\nclients = ['c1']\n[hyper_parameters]\nclient_num = 2\n").unwrap();
        assert_eq!((&json, &json), (&yaml, &toml));
        assert_eq!(json.id().unwrap(), "a");
    }

    #[test]
    fn what_is_no_document_is_named_with_its_file() {
        for (name, text) in [("j.json", "{"), ("j.yaml", "just text"), ("j.txt", "{}"), ("j.toml", "a = ")] {
            let fault = load(name, text).unwrap_err();
            assert!(fault.to_string().contains(name) && fault.exit_code() == 2, "{fault}");
        }
        assert!(load("j.json", r#"{"id":7}"#).unwrap().id().is_err());
    }

    #[test]
    fn a_workspace_holds_one_document_and_perhaps_a_model_scripts_and_an_extender() {
        let folder = tempfile::tempdir().unwrap();
        let source = Source { file: None, workspace: Some(folder.path().to_owned()) };
        assert!(Document::load(&source).unwrap_err().to_string().contains("job.json"));
        fs::write(folder.path().join("job.json"), r#"{"id":"a"}"#).unwrap();
        assert_eq!(Document::load(&source).unwrap().model, None);
        fs::write(folder.path().join("model.safetensors"), "m").unwrap();
        assert_eq!(Document::load(&source).unwrap().model, Some(folder.path().join("model.safetensors")));
        assert_eq!(Document::load(&source).unwrap().scripts, None);
        fs::create_dir(folder.path().join("scripts")).unwrap();
        fs::write(folder.path().join("extender.py"), "").unwrap();
        let loaded = Document::load(&source).unwrap();
        assert_eq!(loaded.scripts, Some(folder.path().join("scripts")));
        assert_eq!(loaded.extender, Some(folder.path().join("extender.py")));
        fs::write(folder.path().join("job.toml"), "id = 'a'").unwrap();
        assert!(Document::load(&source).unwrap_err().to_string().contains("job.toml"));
    }
}
