//! What must hold for a job's states.

use super::*;

const AT: Timestamp = Timestamp(7);

fn job() -> JobMachine {
    JobMachine::new(JobKey::new("default".parse().unwrap(), "x".parse().unwrap()))
}

fn feed(machine: &mut JobMachine, inputs: impl IntoIterator<Item = JobInput>) -> Vec<JobEffect> {
    let mut effects = Vec::new();
    for input in inputs {
        machine.handle(AT, input, &mut effects);
    }
    effects
}

fn operate(machine: &mut JobMachine, operation: Operation) -> Vec<JobEffect> {
    let mut effects = Vec::new();
    machine.operate(AT, operation, &mut effects).unwrap();
    effects
}

/// A job brought to `state` the way jobs come there.
fn in_state(state: JobState) -> JobMachine {
    let mut job = job();
    let running = [JobInput::Scheduled, JobInput::CoordinatorStarted { run: 1 }];
    let failed = JobInput::RunFailed { run: 1, code: Code::NoQuorum, reason: "nobody came".into() };
    match state {
        JobState::Queuing => {}
        JobState::Pending => drop(feed(&mut job, [JobInput::ClientsMissing { reason: "1 of 2 clients".into() }])),
        JobState::Starting => drop(feed(&mut job, [JobInput::Scheduled])),
        JobState::Stopped => drop(operate(&mut job, Operation::Stop)),
        _ => drop(feed(&mut job, running)),
    }
    match state {
        JobState::Stopping => drop(operate(&mut job, Operation::Stop)),
        JobState::Deleting => drop(operate(&mut job, Operation::Delete)),
        JobState::Finished => drop(feed(&mut job, [JobInput::RunFinished { run: 1 }])),
        JobState::Failed => drop(feed(&mut job, [failed])),
        _ => {}
    }
    assert_eq!(job.status().state, state);
    job
}

fn status_changed(state: JobState, reason: &str, progress: u8) -> JobEffect {
    JobEffect::StatusChanged { status: JobStatus { state, reason: reason.into(), progress }, at: AT }
}

#[test]
fn each_state_allows_exactly_what_the_specification_lists() {
    let table = [
        (JobState::Queuing, "stop, update, delete"),
        (JobState::Pending, "stop, update, delete"),
        (JobState::Starting, "stop, delete"),
        (JobState::Running, "stop, delete"),
        (JobState::Stopping, "delete"),
        (JobState::Stopped, "start, update, delete"),
        (JobState::Finished, "start, update, delete"),
        (JobState::Failed, "start, stop, update, delete"),
        (JobState::Deleting, "nothing"),
    ];
    for (state, names) in table {
        for operation in Operation::ALL {
            let mut machine = in_state(state);
            let before = machine.clone();
            let mut effects = Vec::new();
            let result = machine.operate(AT, operation, &mut effects);
            let listed = names.split(", ").any(|name| name == operation.to_string());
            assert_eq!(result.is_ok(), listed, "{operation} in {state}");
            if let Err(refused) = result {
                assert_eq!((machine, effects), (before, vec![]), "a refused operation changes nothing");
                let text = format!("job default/x is {state}: {operation} is not allowed; allowed: {names}");
                assert_eq!(refused.to_string(), text);
                assert_eq!(refused.code(), Code::NotAllowed);
            }
        }
    }
}

#[test]
fn a_job_runs_from_queuing_to_finished() {
    let mut job = job();
    let missing = JobInput::ClientsMissing { reason: "1 of 2 clients".into() };
    let progress = JobInput::Progress { run: 1, done: 1, total: 3 };
    let started = JobInput::CoordinatorStarted { run: 1 };
    let inputs = [missing, JobInput::ClientsReady, JobInput::Scheduled, started, progress];
    assert_eq!(
        feed(&mut job, inputs),
        [
            status_changed(JobState::Pending, "1 of 2 clients", 0),
            status_changed(JobState::Queuing, "", 0),
            status_changed(JobState::Starting, "", 0),
            JobEffect::StartCoordinator { run: 1 },
            status_changed(JobState::Running, "", 0),
            status_changed(JobState::Running, "", 33),
        ]
    );
    let finished = JobInput::RunFinished { run: 1 };
    assert_eq!(feed(&mut job, [finished]), [status_changed(JobState::Finished, "", 100)]);
}

#[test]
fn a_job_started_again_is_a_new_run_and_deaf_to_the_old_one() {
    let mut job = in_state(JobState::Failed);
    assert_eq!(job.status().reason, "no-quorum: nobody came");
    assert_eq!(operate(&mut job, Operation::Start), [status_changed(JobState::Queuing, "", 0)]);
    let mut finished = in_state(JobState::Finished);
    assert_eq!(finished.status().progress, 100);
    assert_eq!(operate(&mut finished, Operation::Start), [status_changed(JobState::Queuing, "", 0)]);
    assert_eq!(job.run(), 2);
    feed(&mut job, [JobInput::Scheduled]);
    let old = [
        JobInput::CoordinatorStarted { run: 1 },
        JobInput::Progress { run: 1, done: 3, total: 3 },
        JobInput::RunFinished { run: 1 },
        JobInput::RunFailed { run: 1, code: Code::Internal, reason: String::new() },
        JobInput::RunStopped { run: 1 },
    ];
    assert_eq!(feed(&mut job, old), []);
    assert_eq!(job.status().state, JobState::Starting);
}

#[test]
fn events_that_come_twice_or_too_late_change_nothing() {
    let inputs = |run| {
        [
            JobInput::Scheduled,
            JobInput::CoordinatorStarted { run },
            JobInput::Progress { run, done: 1, total: 1 },
            JobInput::RunFinished { run },
            JobInput::RunFailed { run, code: Code::Internal, reason: String::new() },
            JobInput::RunStopped { run },
            JobInput::ClientsReady,
            JobInput::ClientsMissing { reason: String::new() },
        ]
    };
    for state in [JobState::Stopped, JobState::Finished, JobState::Failed] {
        let mut job = in_state(state);
        assert_eq!(feed(&mut job, inputs(1)), [], "{state}");
    }
}

#[test]
fn a_running_job_is_removed_only_when_its_run_has_stopped() {
    for state in [JobState::Starting, JobState::Running, JobState::Stopping] {
        let mut job = in_state(state);
        let effects = operate(&mut job, Operation::Delete);
        assert_eq!(effects[1..], [JobEffect::StopCoordinator { run: 1 }]);
        assert_eq!(feed(&mut job, [JobInput::RunStopped { run: 1 }]), [JobEffect::RemoveJob]);
        assert_eq!(job.status().state, JobState::Deleting);
    }
    for state in [JobState::Queuing, JobState::Pending, JobState::Finished] {
        assert_eq!(operate(&mut in_state(state), Operation::Delete)[1..], [JobEffect::RemoveJob]);
    }
}

#[test]
fn a_stopped_run_leads_to_stopped_and_one_that_finished_meanwhile_to_finished() {
    let end = |input| {
        let mut job = in_state(JobState::Stopping);
        feed(&mut job, [input]);
        job.status().state
    };
    assert_eq!(end(JobInput::RunStopped { run: 1 }), JobState::Stopped);
    let failed = JobInput::RunFailed { run: 1, code: Code::Internal, reason: "died".into() };
    assert_eq!(end(failed), JobState::Stopped);
    assert_eq!(end(JobInput::RunFinished { run: 1 }), JobState::Finished);
    let mut failed = in_state(JobState::Failed);
    assert_eq!(operate(&mut failed, Operation::Stop), [status_changed(JobState::Stopped, "", 0)]);
}

#[test]
fn a_coordinator_that_forgot_in_a_restart_that_it_was_to_stop_is_told_again() {
    for state in [JobState::Stopping, JobState::Deleting] {
        let started = JobInput::CoordinatorStarted { run: 1 };
        assert_eq!(feed(&mut in_state(state), [started]), [JobEffect::StopCoordinator { run: 1 }], "{state}");
    }
}

#[test]
fn a_restarted_scheduler_goes_on_where_it_was() {
    for state in JobState::ALL {
        let job = JobMachine::restore(&in_state(state).snapshot()).unwrap();
        let mut effects = Vec::new();
        job.resume(&mut effects);
        let owed = match state {
            JobState::Starting | JobState::Running => vec![JobEffect::StartCoordinator { run: 1 }],
            JobState::Stopping | JobState::Deleting => vec![JobEffect::StopCoordinator { run: 1 }],
            _ => vec![],
        };
        assert_eq!(effects, owed, "{state}");
    }
}

#[test]
fn the_stored_form_is_the_golden_one() {
    let golden = include_str!("../../golden/job.2.json").trim_end();
    let job = in_state(JobState::Pending);
    assert_eq!(String::from_utf8(job.snapshot()).unwrap(), golden);
    assert_eq!(JobMachine::restore(golden.as_bytes()).unwrap(), job);
    let first = include_str!("../../golden/job.1.json").trim_end();
    assert_eq!(JobMachine::restore(first.as_bytes()).unwrap(), job, "of version 1");
}
