//! What a job brings along in its namespace's storage, read into the blob store when its run begins: the scripts of its
//! tasks and of its extender, each as one zip. What was read stays the run's, whatever becomes of the storage.

use crate::CoordinatorArgs;
use crate::owners::Owners;
use nsfl_actor::Failure;
use nsfl_package::{Limits, PackageError, check, pack_folder};
use nsfl_store::{Owner, put_bytes};
use nsfl_types::{BlobRef, Code, Refusal};
use nsfl_workflow::Packages;
use std::io;
use std::path::{Path, PathBuf};

/// A field of the job document that names a folder or a zip, and the one that names a file in it.
struct Named<'a> {
    path_field: &'static str,
    path: &'a str,
    file_field: &'static str,
    file: &'a str,
}

pub(crate) async fn packages(args: &CoordinatorArgs, owners: &Owners) -> Result<Packages, Refusal> {
    let spec = &args.run.spec;
    let scripts = spec.scripts.as_ref().map(|scripts| Named {
        path_field: "scripts.path",
        path: &scripts.path,
        file_field: "scripts.config_file",
        file: &scripts.config_file,
    });
    let extender = spec.extender.as_ref().map(|extender| Named {
        path_field: "extender.script_path",
        path: &extender.script_path,
        file_field: "extender.entry",
        file: &extender.entry,
    });
    if extender.is_some() && !args.surroundings.extender.enabled {
        let reason = "extender: this server runs none (`extender.enabled` of its configuration); leave it out";
        return Err(Refusal::new(Code::Unsupported, reason));
    }
    Ok(Packages {
        scripts: stored(args, scripts, &owners.packages).await?,
        extender: stored(args, extender, &owners.packages).await?,
    })
}

async fn stored(args: &CoordinatorArgs, named: Option<Named<'_>>, owner: &Owner) -> Result<Option<BlobRef>, Refusal> {
    let Some(named) = named else { return Ok(None) };
    let (storage, namespace) = (args.surroundings.storage.clone(), args.run.key.namespace.to_string());
    let (path, shown) = (named.path.to_owned(), format!("{} '{}'", named.path_field, named.path));
    let read = nsfl_actor::blocking(move || read(&storage, &namespace, &path, &shown)).await;
    let (zip, names) = read.map_err(|failure| Refusal::new(Code::Internal, failure.to_string()))??;
    if !names.has(named.file) {
        let reason = format!("{} '{}' is not in {} '{}'", named.file_field, named.file, named.path_field, named.path);
        return Err(Refusal::new(Code::ScriptMissing, reason));
    }
    let blob = put_bytes(args.surroundings.blobs.as_ref(), zip.into(), owner).await;
    blob.map(Some).map_err(|error| Refusal::new(error.code(), Failure::from_error(&error).to_string()))
}

/// The zip and what is in it. Blocking.
fn read(storage: &Path, namespace: &str, path: &str, shown: &str) -> Result<(Vec<u8>, nsfl_package::Listing), Refusal> {
    let found = inside(&storage.join(namespace), path)
        .ok_or_else(|| missing(format!("{shown} is not in the storage of namespace '{namespace}'; upload it first")))?;
    let failed = |error: PackageError| match &error {
        PackageError::Unreadable { source, .. } if !is_the_authors(source) => {
            Refusal { code: Code::Store, ..error.refusal(shown) }
        }
        _ => error.refusal(shown),
    };
    let limits = Limits::default();
    let zip = if found.is_dir() {
        pack_folder(&found, &limits).map_err(failed)?
    } else {
        let unreadable = |error: io::Error| {
            let code = if is_the_authors(&error) { Code::ScriptMissing } else { Code::Store };
            Refusal::new(code, format!("{shown} cannot be read: {error}"))
        };
        let len = found.metadata().map_err(unreadable)?.len();
        limits.check_packed(len).map_err(failed)?;
        std::fs::read(&found).map_err(unreadable)?
    };
    let names = check(&zip, &limits).map_err(failed)?;
    Ok((zip, names))
}

/// Where the path leads, links followed, if that is inside the folder.
fn inside(folder: &Path, path: &str) -> Option<PathBuf> {
    let (folder, found) = (folder.canonicalize().ok()?, folder.join(path).canonicalize().ok()?);
    (found != folder && found.starts_with(&folder)).then_some(found)
}

/// Whether what was put into the storage is to blame, and not the disk.
fn is_the_authors(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, IsADirectory, NotADirectory, NotFound, PermissionDenied};
    matches!(error.kind(), NotFound | PermissionDenied | IsADirectory | NotADirectory | InvalidInput)
}

fn missing(reason: String) -> Refusal {
    Refusal::new(Code::ScriptMissing, reason)
}
