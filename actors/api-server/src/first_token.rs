//! The first token: written into a file of the server's data folder, for whoever set the server up.

use crate::access::make;
use nsfl_actor::Failure;
use nsfl_store::AccessStore;
use nsfl_types::UserRole;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Who the first token is for.
const NAME: &str = "first-admin";

/// Makes an admin's token and writes it to `file`, for its owner's eyes only, unless there is a valid one; whether it did.
///
/// # Errors
/// The store or the file system.
pub async fn first_token(store: &dyn AccessStore, file: &Path) -> Result<bool, Failure> {
    let tokens = store.tokens().await?;
    if tokens.iter().any(|token| token.role == UserRole::Admin && token.revoked.is_none()) {
        return Ok(false);
    }
    let (text, token) = make(NAME, UserRole::Admin, "the server");
    // first the file: a token that nobody has would be no way in
    write(file, &text)
        .map_err(|e| Failure::from(e).context(format!("the token cannot be written to {}", file.display())))?;
    store.put_token(token).await?;
    Ok(true)
}

fn write(file: &Path, text: &str) -> std::io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    writeln!(file, "{text}")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nsfl_store::TokenRecord;
    use nsfl_store::memory::MemoryAccessStore;
    use nsfl_types::Timestamp;
    use std::os::unix::fs::PermissionsExt as _;

    #[tokio::test]
    async fn there_is_always_an_admins_token_and_only_the_owner_can_read_its_file() {
        let (store, folder) = (MemoryAccessStore::default(), tempfile::tempdir().unwrap());
        let file = folder.path().join("admin.token");
        assert_eq!(first_token(&store, &file).await, Ok(true));
        assert_eq!(first_token(&store, &file).await, Ok(false));
        let first = fs::read_to_string(&file).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let token = store.tokens().await.unwrap().remove(0);
        store.put_token(TokenRecord { revoked: Some(Timestamp(1)), ..token }).await.unwrap();
        assert_eq!(first_token(&store, &file).await, Ok(true), "the last one was revoked");
        assert_ne!(fs::read_to_string(&file).unwrap(), first);
    }
}
