//! What every access store must do.

use super::sample;
use crate::{AccessStore, ClientMark, MarkKind, StoreError, TokenRecord};
use nsfl_types::Timestamp;
use std::path::Path;

/// Runs every check on stores that `open` makes in the folder it is given.
pub async fn access_store<S: AccessStore>(open: impl AsyncFn(&Path) -> S) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    tokens(&store).await;
    audit(&store).await;
    marks(&store).await;
}

/// What it was told is there when it is opened again.
pub async fn access_store_persists<S: AccessStore>(open: impl AsyncFn(&Path) -> S) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    store.put_token(sample::token("a", 1)).await.unwrap();
    store.append_audit(sample::audit("/x")).await.unwrap();
    store.put_mark(sample::mark("c1")).await.unwrap();
    drop(store);
    let store = open(folder.path()).await;
    assert_eq!(store.tokens().await.unwrap(), [sample::token("a", 1)]);
    assert_eq!(store.audit(0, 10).await.unwrap().len(), 1);
    assert_eq!(store.marks().await.unwrap(), [sample::mark("c1")]);
}

async fn tokens(store: &impl AccessStore) {
    let (first, second) = (sample::token("z", 1), sample::token("a", 2));
    store.put_token(second.clone()).await.unwrap();
    store.put_token(first.clone()).await.unwrap();
    assert_eq!(store.tokens().await.unwrap(), [first, second.clone()], "in the order they were made");
    let revoked = TokenRecord { revoked: Some(Timestamp(9)), ..second };
    store.put_token(revoked.clone()).await.unwrap();
    assert_eq!(store.tokens().await.unwrap()[1], revoked);
}

async fn audit(store: &impl AccessStore) {
    assert_eq!(store.newest_audit().await.unwrap(), 0);
    for n in 1..=3 {
        assert_eq!(store.append_audit(sample::audit(&format!("/{n}"))).await.unwrap(), n);
    }
    store.close_audit(2, 403).await.unwrap();
    assert!(matches!(store.close_audit(9, 200).await, Err(StoreError::NotFound(_))));
    let told = store.audit(1, 10).await.unwrap();
    let shown: Vec<_> = told.iter().map(|record| (record.id, record.path.as_str(), record.status)).collect();
    assert_eq!(shown, [(2, "/2", Some(403)), (3, "/3", None)]);
    assert_eq!(store.audit(0, 1).await.unwrap().len(), 1);
    assert_eq!(store.newest_audit().await.unwrap(), 3);
    let at = store.audit(0, 1).await.unwrap()[0].at;
    assert_eq!(store.prune_audit(at, 9).await.unwrap(), 0, "none is older, and there are not too many");
    assert_eq!(store.prune_audit(at, 2).await.unwrap(), 1);
    assert_eq!(store.audit(0, 10).await.unwrap()[0].id, 2);
    assert_eq!(store.prune_audit(Timestamp(at.0 + 1), 9).await.unwrap(), 2);
    assert_eq!((store.audit(0, 10).await.unwrap().len(), store.newest_audit().await.unwrap()), (0, 0));
    assert_eq!(store.append_audit(sample::audit("/4")).await.unwrap(), 4, "a number is not given again");
}

async fn marks(store: &impl AccessStore) {
    store.put_mark(sample::mark("c2")).await.unwrap();
    store.put_mark(sample::mark("c1")).await.unwrap();
    let removed = ClientMark { kind: MarkKind::Removed, reason: "é".into(), ..sample::mark("c2") };
    store.put_mark(removed.clone()).await.unwrap();
    assert_eq!(store.marks().await.unwrap(), [sample::mark("c1"), removed]);
    store.remove_mark(&sample::mark("c1").client).await.unwrap();
    store.remove_mark(&sample::mark("c9").client).await.unwrap();
    assert_eq!(store.marks().await.unwrap().len(), 1);
}
