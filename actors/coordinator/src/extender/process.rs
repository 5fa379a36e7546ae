//! One Python process with the user's script loaded: its workspace, its questions, and what its failures mean.

use super::{Call, ExtenderArgs, Fault};
use crate::aggregator;
use nsfl_actor::Failure;
use nsfl_compress::{Compressed, decompress, is_compressed};
use nsfl_store::StoreError;
use nsfl_trainer::{Dialog, DialogError};
use nsfl_types::{BlobRef, Cause, Code, Refusal};
use serde::Deserialize;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The program that calls the functions. It needs nothing but Python.
const HOST: &str = include_str!("host.py");
/// Room for files beside the model.
const FILE_BYTES: u64 = 1 << 30;

/// Which functions the script has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Functions {
    pub(super) broadcast: bool,
    pub(super) aggregate: bool,
    pub(super) finish: bool,
}

/// A process at work. Dropping it kills it; its folder is removed by `end`, or by the next one.
pub(super) struct Process {
    dialog: Dialog,
    pub(super) folder: PathBuf,
    pub(super) functions: Functions,
}

impl Process {
    /// Starts Python and has it load the script. `bytes`: of the model it may write.
    pub(super) async fn start(args: &ExtenderArgs, call: &Call, bytes: u64) -> Result<Self, Fault> {
        let folder = args.workspace.clone();
        match tokio::fs::remove_dir_all(&folder).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(unprepared(&folder, &error)),
            _ => {}
        }
        for part in ["scripts", "files"] {
            tokio::fs::create_dir_all(folder.join(part)).await.map_err(|e| unprepared(&folder, &e))?;
        }
        let host = folder.join("nsfl_extender.py");
        tokio::fs::write(&host, HOST).await.map_err(|e| unprepared(&folder, &e))?;
        let package = folder.join("scripts.zip");
        args.blobs.lend(call.package.digest, &package).await.map_err(|e| stored(&e))?;
        let python = &args.config.python;
        let flags: [OsString; 4] = ["-B".into(), "-X".into(), "utf8".into(), host.into()];
        let dialog = Dialog::start(python, &flags, &folder, args.config.timeout).map_err(|error| {
            Fault::new(format!("{}; `extender.python` of the server names it", Failure::from_error(&error)), None)
        })?;
        let mut process = Self { dialog, folder, functions: Functions::default() };
        let spec = &args.spec;
        let question = json!({
            "call": "load", "package": package, "folder": process.folder.join("scripts"), "entry": spec.entry,
            "functions": {"broadcast": spec.broadcast, "aggregate": spec.aggregate, "finish": spec.finish},
            "memory": args.config.memory_bytes, "file_size": bytes.saturating_add(FILE_BYTES).min(i64::MAX as u64),
            "seed": call.seed & (u64::MAX >> 1),
        });
        let functions = process.ask("its script could not be loaded", &question).await?;
        process.functions = serde_json::from_value(functions).map_err(|e| Fault::new(e.to_string(), None))?;
        Ok(process)
    }

    /// Lets it read a blob under this name.
    pub(super) async fn lend(&self, args: &ExtenderArgs, blob: BlobRef, name: &str) -> Result<PathBuf, Fault> {
        let path = self.folder.join(name);
        args.blobs.lend(blob.digest, &path).await.map_err(|e| stored(&e))?;
        Ok(path)
    }

    /// The same of an update: a compressed one it finds as the safetensors file that it stands for.
    pub(super) async fn lend_update(&self, args: &ExtenderArgs, update: BlobRef, name: &str) -> Result<PathBuf, Fault> {
        let bytes = args.blobs.open(update.digest).await.map_err(|e| stored(&e))?;
        if !is_compressed(&bytes) {
            return self.lend(args, update, name).await;
        }
        let path = self.folder.join(name);
        let (to, store) = (path.clone(), args.blobs.clone());
        let written = aggregator::blocking(move || {
            let compressed = Compressed::parse(&bytes).map_err(|e| aggregator::compressed(&e))?;
            let unwritten = |e: std::io::Error| unprepared(&to, &e).refusal;
            let mut file = std::io::BufWriter::new(std::fs::File::create(&to).map_err(unwritten)?);
            decompress(&compressed, |block| file.write_all(block)).and_then(|()| file.flush()).map_err(unwritten)?;
            store.forget(&bytes);
            Ok(())
        });
        written.await?;
        Ok(path)
    }

    /// Asks; `what` stands before what went wrong.
    pub(super) async fn ask(&mut self, what: &str, question: &Value) -> Result<Value, Fault> {
        match self.dialog.ask(question).await {
            Ok(mut answer) => match answer.get_mut("error") {
                None => Ok(answer["ok"].take()),
                Some(error) => {
                    let reason = error["reason"].as_str().unwrap_or_default().to_owned();
                    let traceback = error["traceback"].as_str().map(str::to_owned);
                    Err(self.fault(what, &reason, Cause { traceback, ..Cause::default() }))
                }
            },
            Err(error) => {
                let exit = match &error {
                    DialogError::Ended { how } => Some(how.clone()),
                    _ => None,
                };
                let limit = match &error {
                    DialogError::Timeout { after } => Some(format!("time {} s", after.as_secs_f64())),
                    _ => None,
                };
                Err(self.fault(what, &error.to_string(), Cause { exit, limit, ..Cause::default() }))
            }
        }
    }

    fn fault(&self, what: &str, reason: &str, cause: Cause) -> Fault {
        let log = self.dialog.last_words(Cause::MAX_TEXT);
        Fault::new(format!("{what}: {reason}"), Some(Cause { log, ..cause }))
    }

    /// Ends it and removes its folder. Nothing depends on it.
    pub(super) async fn end(mut self) {
        self.dialog.kill();
        if let Err(error) = tokio::fs::remove_dir_all(&self.folder).await {
            tracing::warn!(%error, folder = %self.folder.display(), "extender's folder not removed");
        }
    }
}

fn unprepared(folder: &Path, error: &std::io::Error) -> Fault {
    let code = if error.kind() == std::io::ErrorKind::StorageFull { Code::DiskFull } else { Code::Store };
    Refusal::new(code, format!("cannot prepare {}: {error}", folder.display())).into()
}

/// The store's failure is not the script's.
pub(super) fn stored(error: &StoreError) -> Fault {
    Refusal::new(error.code(), Failure::from_error(error).to_string()).into()
}
