//! The ways in which a script can fail, and what is to be told of each.

use serde_json::{Value, json};

/// One way to fail, and what must be told of it.
pub(crate) struct Way {
    /// Its job, and the function of `package/src/ways.py`.
    pub(crate) name: &'static str,
    /// The task configuration in the package.
    pub(crate) config: &'static str,
    pub(crate) code: &'static str,
    /// In the reason.
    pub(crate) reason: &'static str,
    /// How the script ended; empty where that is not to be told.
    pub(crate) exit: &'static str,
    pub(crate) limit: &'static str,
    /// In the traceback, last line; empty where there is none.
    pub(crate) traceback: &'static str,
    /// Whether it ran, and printed something.
    pub(crate) ran: bool,
}

const RAN: Way =
    Way { name: "", config: "task.json", code: "", reason: "", exit: "", limit: "", traceback: "", ran: true };

/// Megabytes that a task may use, client c1 lets it write, and lets a package unpack to.
pub(crate) const MEMORY_MB: u32 = 100;
pub(crate) const QUOTA_MB: u32 = 20;
pub(crate) const UNPACKED_MB: u32 = 1;

/// Those that take longest first.
pub(crate) const WAYS: [Way; 20] = [
    Way {
        name: "endless",
        config: "endless.json",
        code: "trainer-timeout",
        reason: "did not end within 9 s",
        exit: "signal 15 (SIGTERM)",
        limit: "time 9 s",
        ..RAN
    },
    Way {
        name: "deaf",
        config: "endless.json",
        code: "trainer-killed",
        reason: "did not end within 9 s, nor when it was asked to",
        exit: "signal 9 (SIGKILL)",
        limit: "time 9 s",
        ..RAN
    },
    Way { name: "forks", code: "script-forks", reason: "python3 train.py --way forks", exit: "exit code 0", ..RAN },
    Way {
        name: "memory",
        code: "script-memory",
        reason: "ran into a limit",
        exit: "signal 9 (SIGKILL)",
        limit: "memory 100 MB",
        ..RAN
    },
    Way {
        name: "disk",
        code: "script-disk",
        reason: "ran into a limit",
        exit: "signal 9 (SIGKILL)",
        limit: "disk 20 MB",
        ..RAN
    },
    Way {
        name: "exception",
        code: "script-exception",
        reason: "ValueError: no such column",
        exit: "exit code 1",
        traceback: "ValueError: no such column",
        ..RAN
    },
    Way {
        name: "syntax-error",
        code: "script-syntax",
        reason: "SyntaxError",
        exit: "exit code 1",
        traceback: "SyntaxError: invalid syntax",
        ..RAN
    },
    Way { name: "exit-code", code: "script-exit", reason: "exit code 3", exit: "exit code 3", ..RAN },
    Way { name: "killed", code: "script-signal", reason: "was killed", exit: "signal 11 (SIGSEGV)", ..RAN },
    Way { name: "nothing", code: "commit-missing", reason: "committed no weights", ..RAN },
    Way {
        name: "twice",
        code: "commit-twice",
        reason: "called a second time",
        exit: "exit code 0",
        traceback: "CommittedTwice",
        ..RAN
    },
    Way { name: "nan", code: "not-finite", reason: "'w'", ..RAN },
    Way { name: "shapes", code: "wrong-shape", reason: "'w'", ..RAN },
    Way { name: "names", code: "wrong-names", reason: "'w' is missing", ..RAN },
    Way { name: "pickled", code: "bad-update", reason: "pickle", ..RAN },
    Way {
        name: "interpreter",
        config: "interpreter.json",
        code: "script-command",
        reason: "'python-of-c2' is not installed on this client",
        ran: false,
        ..RAN
    },
    Way { name: "missing", code: "script-missing", reason: "there is no file", ran: false, ..RAN },
    Way { name: "unconfigured", code: "script-missing", reason: "is not among the tasks", ran: false, ..RAN },
    Way {
        name: "bomb",
        code: "package-too-large",
        reason: "bytes unpacked is more than the 1000000",
        ran: false,
        ..RAN
    },
    Way { name: "good", ..RAN },
];

impl Way {
    /// The job: two rounds, for which one of the two clients is enough.
    pub(crate) fn job(&self) -> Value {
        let mut job = json!({
            "id": self.name, "runtime": "pytorch", "output": "out",
            "hyper_parameters": {
                "max_round_num": 2, "client_num": 2, "threshold_client_num": 1,
                "evaluate_interval": 0, "save_interval": 0, "round_timeout": 60,
            },
            "resource": {"cpu": 0.1, "memory": MEMORY_MB}, "parameters": {"--way": self.name},
        });
        match self.is_at_the_site() {
            true => job["task_entry"] = json!(self.name),
            false => job["scripts"] = json!({"path": "", "config_file": self.config}),
        }
        job
    }

    /// Its script is not sent with the job but configured at the clients, as it should be at c2 only.
    pub(crate) fn is_at_the_site(&self) -> bool {
        ["missing", "unconfigured"].contains(&self.name)
    }

    /// Client c1 does not fail for what its script does in round 1, but for what is there in every round.
    pub(crate) fn fails_always(&self) -> bool {
        !self.ran
    }
}
