//! Tokens, the audit log and marks on clients: each write a transaction of its own, each row with its checksum.

use crate::fail::{committing, reading};
use crate::format::{name, named, signed, time, time_if_any, unreadable, unsigned};
use crate::{SqliteJobStore, seal};
use async_trait::async_trait;
use nsfl_store::{AccessStore, AuditRecord, ClientMark, StoreError, TokenRecord};
use nsfl_types::{ClientId, Digest, Timestamp};
use rusqlite::{Connection, Params, Result, Row, Transaction, TransactionBehavior, params};

#[async_trait]
impl AccessStore for SqliteJobStore {
    async fn put_token(&self, token: TokenRecord) -> Result<(), StoreError> {
        self.change(move |db| put_token(db, &token)).await
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        self.reader.read(|db| list(db, "SELECT * FROM tokens ORDER BY created, id", [], token)).await
    }

    async fn append_audit(&self, record: AuditRecord) -> Result<u64, StoreError> {
        self.change(move |db| {
            // as `AUTOINCREMENT` would choose it, so that it is in the checksum too
            let sql = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'audit'), 0) + 1";
            let id = db.query_row(sql, [], |row| row.get(0)).map(i64::cast_unsigned)?;
            put_audit(db, &AuditRecord { id, ..record }).map(|()| id)
        })
        .await
    }

    async fn close_audit(&self, id: u64, status: u16) -> Result<(), StoreError> {
        let closed = self.change(move |db| {
            let found = list(db, "SELECT * FROM audit WHERE id = ?", [signed(id)], audit)?.pop();
            let Some(record) = found else { return Ok(false) };
            put_audit(db, &AuditRecord { status: Some(status), ..record }).map(|()| true)
        });
        if closed.await? { Ok(()) } else { Err(StoreError::NotFound(format!("audit record {id}"))) }
    }

    async fn audit(&self, after: u64, limit: u32) -> Result<Vec<AuditRecord>, StoreError> {
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let sql = "SELECT * FROM audit WHERE id > ? ORDER BY id LIMIT ?";
        self.reader.read(move |db| list(db, sql, params![after, limit], audit)).await
    }

    async fn prune_audit(&self, before: Timestamp, keep: u64) -> Result<u64, StoreError> {
        self.change(move |db| {
            let sql = "DELETE FROM audit WHERE at < ?1
                       OR id <= (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'audit') - ?2";
            let keep = i64::try_from(keep).unwrap_or(i64::MAX);
            db.execute(sql, params![signed(before.0), keep]).map(|removed| removed as u64)
        })
        .await
    }

    async fn newest_audit(&self) -> Result<u64, StoreError> {
        let sql = "SELECT coalesce(max(id), 0) FROM audit";
        self.reader.read(move |db| db.query_row(sql, [], |row| row.get(0)).map(i64::cast_unsigned)).await
    }

    async fn put_mark(&self, mark: ClientMark) -> Result<(), StoreError> {
        self.change(move |db| put_mark(db, &mark)).await
    }

    async fn remove_mark(&self, client: &ClientId) -> Result<(), StoreError> {
        let client = client.clone();
        self.change(move |db| db.execute("DELETE FROM marks WHERE client = ?", [client.as_str()]).map(drop)).await
    }

    async fn marks(&self) -> Result<Vec<ClientMark>, StoreError> {
        self.reader.read(|db| list(db, "SELECT * FROM marks ORDER BY client", [], mark)).await
    }
}

impl SqliteJobStore {
    /// A transaction of its own, in the order of the commits.
    async fn change<T: Send + 'static>(
        &self,
        write: impl FnOnce(&Transaction<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writer
            .run(move |db, path| {
                let whole = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(reading(path))?;
                let written = write(&whole).map_err(reading(path))?;
                whole.commit().map_err(committing(path))?;
                Ok(written)
            })
            .await
    }
}

fn put_token(db: &Connection, token: &TokenRecord) -> Result<()> {
    let columns = [
        ("id", token.id.clone().into()),
        ("name", token.name.clone().into()),
        ("role", name(&token.role).into()),
        ("digest", token.digest.as_bytes().to_vec().into()),
        ("created", signed(token.created.0).into()),
        ("created_by", token.created_by.clone().into()),
        ("revoked", token.revoked.map(|at| signed(at.0)).into()),
    ];
    seal::write(db, "REPLACE INTO tokens", &columns)
}

pub(crate) fn token(row: &Row<'_>) -> Result<TokenRecord> {
    seal::check(row)?;
    Ok(TokenRecord {
        id: row.get("id")?,
        name: row.get("name")?,
        role: named(row, "role")?,
        digest: Digest::from_bytes(row.get("digest")?),
        created: time(row, "created")?,
        created_by: row.get("created_by")?,
        revoked: time_if_any(row, "revoked")?,
    })
}

fn put_audit(db: &Connection, record: &AuditRecord) -> Result<()> {
    let columns = [
        ("id", signed(record.id).into()),
        ("at", signed(record.at.0).into()),
        ("who", record.who.clone().into()),
        ("role", name(&record.role).into()),
        ("origin", record.from.clone().into()),
        ("method", record.method.clone().into()),
        ("path", record.path.clone().into()),
        ("status", record.status.into()),
    ];
    seal::write(db, "REPLACE INTO audit", &columns)
}

pub(crate) fn audit(row: &Row<'_>) -> Result<AuditRecord> {
    seal::check(row)?;
    Ok(AuditRecord {
        id: unsigned(row, "id")?,
        at: time(row, "at")?,
        who: row.get("who")?,
        role: named(row, "role")?,
        from: row.get("origin")?,
        method: row.get("method")?,
        path: row.get("path")?,
        status: row.get("status")?,
    })
}

fn put_mark(db: &Connection, mark: &ClientMark) -> Result<()> {
    let columns = [
        ("client", mark.client.as_str().to_owned().into()),
        ("kind", name(&mark.kind).into()),
        ("by", mark.by.clone().into()),
        ("at", signed(mark.at.0).into()),
        ("reason", mark.reason.clone().into()),
    ];
    seal::write(db, "REPLACE INTO marks", &columns)
}

pub(crate) fn mark(row: &Row<'_>) -> Result<ClientMark> {
    seal::check(row)?;
    Ok(ClientMark {
        client: row.get::<_, String>("client")?.parse().map_err(unreadable("client"))?,
        kind: named(row, "kind")?,
        by: row.get("by")?,
        at: time(row, "at")?,
        reason: row.get("reason")?,
    })
}

fn list<T>(db: &Connection, sql: &str, params: impl Params, read: impl FnMut(&Row<'_>) -> Result<T>) -> Result<Vec<T>> {
    db.prepare_cached(sql)?.query_map(params, read)?.collect()
}
