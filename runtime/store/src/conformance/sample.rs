//! Records to write: small, and different wherever a backend could mix them up.

use crate::{
    AuditRecord, CheckpointRecord, ClientMark, EventRecord, JobRecord, MarkKind, MemberRecord, MemberState,
    RoundRecord, RoundState, RunRecord, Steps, TaskRecord, TokenRecord,
};
use nsfl_types::{BlobRef, Cause, Code, Digest, JobKey, JobState, Metrics, TaskKey, TaskKind, Timestamp, UserRole};

/// `default/<id>`.
#[must_use]
pub fn job_key(id: &str) -> JobKey {
    JobKey::new("default".parse().unwrap(), id.parse().unwrap())
}

/// A task of round 1 of `default/<job>`.
#[must_use]
pub fn task_key(job: &str, attempt: u32, kind: TaskKind, client: &str) -> TaskKey {
    TaskKey { job: job_key(job), run: 1, round: 1, attempt, kind, client: client.parse().unwrap() }
}

/// A queuing job.
#[must_use]
pub fn job(id: &str) -> JobRecord {
    JobRecord {
        key: job_key(id),
        document: r#"{"name":"é"}"#.into(),
        author: "ada".into(),
        state: JobState::Queuing,
        snapshot: vec![0, 255, 1],
        created: Timestamp(u64::MAX),
        started: None,
    }
}

/// Run 1 of a job.
#[must_use]
pub fn run(job: &str, generation: u64) -> RunRecord {
    RunRecord { job: job_key(job), run: 1, generation, snapshot: generation.to_le_bytes().to_vec() }
}

/// An attempt of a round of run 1.
#[must_use]
pub fn round(job: &str, round: u32, kind: TaskKind, attempt: u32) -> RoundRecord {
    RoundRecord {
        job: job_key(job),
        run: 1,
        round,
        attempt,
        kind,
        state: RoundState::Complete,
        opened: Timestamp(1),
        closed: Some(Timestamp(2)),
        cohort: 3,
        accepted: 2,
        metrics: metrics(),
        model: Some(BlobRef::of(b"model")),
        reason: String::new(),
        cause: Some(Cause { traceback: Some("Traceback: é".into()), ..Cause::default() }),
    }
}

/// A member of round 1 of run 1.
#[must_use]
pub fn member(job: &str, attempt: u32, kind: TaskKind, client: &str) -> MemberRecord {
    MemberRecord {
        task: task_key(job, attempt, kind, client),
        state: MemberState::Refused,
        metrics: metrics(),
        code: Some(Code::NotFinite),
        reason: "holds NaN".into(),
        cause: Some(cause()),
        counted: None,
        steps: Steps::default(),
        at: Timestamp(7),
    }
}

/// Everything that can be known of a failure.
#[must_use]
pub fn cause() -> Cause {
    Cause {
        exit: Some("exit code 1".into()),
        limit: Some("memory 512 MB".into()),
        traceback: Some("Traceback\n  é".into()),
        log: "last\nlines".into(),
        worker: Some(2),
    }
}

/// A checkpoint of run 1.
#[must_use]
pub fn checkpoint(job: &str, id: &str, round: u32) -> CheckpointRecord {
    CheckpointRecord {
        job: job_key(job),
        id: id.into(),
        run: 1,
        round,
        accuracy: Some(0.1 + 0.2),
        path: format!("models/{id}.safetensors"),
        model: BlobRef::of(id.as_bytes()),
    }
}

/// An event to append.
#[must_use]
pub fn event(job: Option<&str>, kind: &str) -> EventRecord {
    EventRecord {
        id: 0,
        at: Timestamp(9),
        job: job.map(job_key),
        kind: kind.into(),
        fields: serde_json::json!({ "round": 1, "why": "é" }),
    }
}

/// A task's record, of `len` bytes.
#[must_use]
pub fn task(job: &str, client: &str, len: usize) -> TaskRecord {
    TaskRecord { key: task_key(job, 1, TaskKind::Train, client), snapshot: vec![7; len] }
}

/// Numbers that a careless format would not give back to the last bit.
fn metrics() -> Metrics {
    Metrics([("accuracy".into(), 0.1 + 0.2), ("loss".into(), 5e-324), ("sample_num".into(), f64::INFINITY)].into())
}

/// A token made at `created`.
pub fn token(id: &str, created: u64) -> TokenRecord {
    TokenRecord {
        id: id.to_owned(),
        name: format!("user {id}"),
        role: UserRole::Operator,
        digest: Digest::of(id.as_bytes()),
        created: Timestamp(created),
        created_by: "root é".to_owned(),
        revoked: None,
    }
}

/// A request that has no answer yet.
pub fn audit(path: &str) -> AuditRecord {
    AuditRecord {
        id: 0,
        at: Timestamp(7),
        who: "ada".to_owned(),
        role: UserRole::Admin,
        from: "127.0.0.1".to_owned(),
        method: "PUT".to_owned(),
        path: path.to_owned(),
        status: None,
    }
}

/// A cordoned client.
pub fn mark(client: &str) -> ClientMark {
    ClientMark {
        client: client.parse().unwrap(),
        kind: MarkKind::Cordoned,
        by: "ada".to_owned(),
        at: Timestamp(5),
        reason: "new disk".to_owned(),
    }
}
