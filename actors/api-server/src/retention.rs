//! The audit log is kept for so long and so many records; what is beyond goes by and by. A server that is used every day
//! does not fill its disk with who used it.

use crate::shared::Shared;
use actix_web::web;
use nsfl_actor::{Failure, now_ms};
use nsfl_types::Timestamp;
use std::time::Duration;

/// What is kept of the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditKept {
    /// For so long.
    pub age: Duration,
    /// So many records, the newest.
    pub records: u64,
}

/// Between two looks at what is too old.
const EVERY: Duration = Duration::from_secs(3600);

pub(crate) async fn retain(app: web::Data<Shared>) {
    loop {
        let AuditKept { age, records } = app.args.audit;
        let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        match app.args.access.prune_audit(Timestamp(now_ms().saturating_sub(age)), records).await {
            Ok(0) => {}
            Ok(records) => tracing::info!(records, "audit records removed that are kept no longer"),
            Err(error) => {
                let failure = Failure::from_error(&error);
                tracing::warn!(%failure, "audit log not shortened");
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}
