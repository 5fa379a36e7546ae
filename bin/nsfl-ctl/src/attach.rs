//! What goes up with a job document: the initial model, the tasks' scripts as one zip, the extender's script. The
//! document then names where each is in the namespace's storage.

use crate::cli::Submit;
use crate::document::Document;
use crate::fault::Fault;
use crate::print::talk;
use crate::rest::{Rest, escaped};
use nsfl_package::{Limits, check, pack_folder};
use serde_json::{Value, json};
use std::error::Error;
use std::fs::File;
use std::path::Path;

/// Task configurations that are looked for when the document names none.
const CONFIG_FILES: [&str; 2] = ["task.json", "config.json"];

/// Whether anything goes up.
pub(crate) fn brings_files(submit: &Submit, document: &Document) -> bool {
    model(submit, document).is_some() || scripts(submit, document).is_some() || extender(submit, document).is_some()
}

/// Uploads what is given and has the document name it.
pub(crate) fn send(rest: &Rest, submit: &Submit, document: &mut Document) -> Result<(), Fault> {
    let id = document.id()?.to_owned();
    let sender = Sender { rest, namespace: &submit.namespace, id: &id };
    if let Some(path) = model(submit, document) {
        let stored = sender.file("models", path)?;
        talk(&format!("model {} uploaded", path.display()));
        document.json["model_path"] = json!(stored);
    }
    if let Some(folder) = scripts(submit, document).map(Path::to_owned) {
        let named = document.json["scripts"]["config_file"].as_str().map(str::to_owned);
        let (zip, config_file) = packed(&folder, named)?;
        let stored = sender.bytes("scripts", "scripts.zip", &zip)?;
        talk(&format!("scripts {} packed and uploaded, {} bytes", folder.display(), zip.len()));
        document.json["scripts"] = json!({"path": stored, "config_file": config_file});
    }
    if let Some(path) = extender(submit, document).map(Path::to_owned) {
        sender.file("extenders", &path)?;
        talk(&format!("extender {} uploaded", path.display()));
        let older = document.json.as_object_mut().and_then(|document| document.remove("extenders"));
        let mut fields =
            [document.json["extender"].take(), older.unwrap_or_default()].into_iter().find(Value::is_object);
        let fields = fields.get_or_insert_with(|| json!({}));
        fields["script_path"] = json!(format!("extenders/{id}"));
        fields["entry"] = json!(name(&path)?);
        document.json["extender"] = fields.take();
    }
    Ok(())
}

fn model<'a>(submit: &'a Submit, document: &'a Document) -> Option<&'a Path> {
    submit.model.as_deref().or(document.model.as_deref())
}

fn scripts<'a>(submit: &'a Submit, document: &'a Document) -> Option<&'a Path> {
    submit.scripts.as_deref().or(document.scripts.as_deref())
}

fn extender<'a>(submit: &'a Submit, document: &'a Document) -> Option<&'a Path> {
    submit.extender.as_deref().or(document.extender.as_deref())
}

/// The folder as a zip, and its task configuration: the one named, else the only one that is there.
fn packed(folder: &Path, named: Option<String>) -> Result<(Vec<u8>, String), Fault> {
    let unfit = |error: &dyn Error| {
        let mut text = error.to_string();
        if let Some(source) = error.source() {
            text += &format!(": {source}");
        }
        Fault::Usage(text)
    };
    let zip = pack_folder(folder, &Limits::default()).map_err(|e| unfit(&e))?;
    let listing = check(&zip, &Limits::default()).map_err(|e| unfit(&e))?;
    if let Some(named) = named {
        if listing.has(&named) {
            return Ok((zip, named));
        }
        return Err(Fault::file(folder, format!("holds no {named}, which scripts.config_file names")));
    }
    let mut found = CONFIG_FILES.iter().filter(|name| listing.has(name));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok((zip, (*one).to_owned())),
        _ => {
            let how = format!(
                "say in scripts.config_file which file is the task configuration, or call it {}",
                CONFIG_FILES[0]
            );
            Err(Fault::file(folder, how))
        }
    }
}

fn name(path: &Path) -> Result<&str, Fault> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.ok_or_else(|| Fault::file(path, "has no name that the server's storage could take"))
}

/// Puts files of one job into its namespace's storage.
struct Sender<'a> {
    rest: &'a Rest,
    namespace: &'a str,
    id: &'a str,
}

impl Sender<'_> {
    fn file(&self, folder: &str, path: &Path) -> Result<String, Fault> {
        let name = name(path)?;
        let file = File::open(path).map_err(|e| Fault::file(path, e))?;
        if !file.metadata().is_ok_and(|about| about.is_file()) {
            return Err(Fault::file(path, "is no file"));
        }
        self.rest.upload(&self.url(folder, name), &file)?;
        Ok(format!("{folder}/{}/{name}", self.id))
    }

    fn bytes(&self, folder: &str, name: &str, bytes: &[u8]) -> Result<String, Fault> {
        self.rest.upload_bytes(&self.url(folder, name), bytes)?;
        Ok(format!("{folder}/{}/{name}", self.id))
    }

    fn url(&self, folder: &str, name: &str) -> String {
        let files = format!("/api/v1/namespaces/{}/files", escaped(self.namespace));
        format!("{files}/{folder}/{}/{}", escaped(self.id), escaped(name))
    }
}
