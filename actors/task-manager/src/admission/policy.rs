//! A site's policy applied to an order. Pure. What a rule allows is not told: the answer goes to the server.

use nsfl_config::Policy;
use nsfl_messages::wire::TaskOrder;
use nsfl_types::Runtime;

/// # Errors
/// The rule that is broken, by its key in the file, and what breaks it.
pub(super) fn judge(policy: &Policy, order: &TaskOrder, sandboxed: bool) -> Result<(), String> {
    let listed = |rule: &str, is_listed: Option<bool>, what: &dyn std::fmt::Display| match is_listed {
        Some(false) => Err(format!("{rule}: '{what}' is not listed")),
        _ => Ok(()),
    };
    let author = &order.author;
    let namespace = order.key.job.namespace.as_str();
    listed("authors", policy.authors.as_ref().map(|authors| authors.contains(author)), author)?;
    listed("namespaces", policy.namespaces.as_ref().map(|names| names.contains(namespace)), &namespace)?;
    let runtimes = policy.runtimes.as_ref().map(|runtimes| runtimes.contains(&order.runtime));
    listed("runtimes", runtimes, &order.runtime.as_str())?;
    match &order.scripts {
        Some(scripts) => {
            let digest = scripts.package.digest;
            listed("packages", policy.packages.as_ref().map(|packages| packages.contains(&digest)), &digest)?;
        }
        None => {
            let entry = &order.task_entry;
            listed("tasks", policy.tasks.as_ref().map(|tasks| tasks.contains(entry)), entry)?;
        }
    }
    let (rule, allowed) = match policy.author_datasets.get(author) {
        Some(own) => (format!("author_datasets.{author}"), Some(own)),
        None => ("datasets".to_owned(), policy.datasets.as_ref()),
    };
    order.datasets.iter().try_for_each(|name| listed(&rule, allowed.map(|names| names.contains(name)), name))?;
    most(policy, order)?;
    if policy.require_sandbox && !sandboxed && runs_script(order.runtime) {
        return Err("require_sandbox: this client runs scripts without a sandbox".to_owned());
    }
    if let Some(group) = policy.minimum_secure_aggregation_group {
        return Err(format!(
            "minimum_secure_aggregation_group: at least {group} is asked for, the job has no secure aggregation"
        ));
    }
    match policy.dp_floor {
        Some(floor) => Err(format!("dp_floor: at least {floor} is asked for, the job has no differential privacy")),
        None => Ok(()),
    }
}

fn most(policy: &Policy, order: &TaskOrder) -> Result<(), String> {
    let (max, asked) = (&policy.maximum, &order.resource);
    let amounts = [
        ("cpu", asked.cpu, max.cpu),
        ("gpu", asked.gpu, max.gpu),
        ("memory_mb", asked.memory_mb, max.memory_mb),
        ("worker_num", f64::from(asked.worker_num), max.worker_num.map(f64::from)),
        ("timeout_s", order.timeout_ms as f64 / 1000.0, max.timeout_s),
    ];
    amounts.into_iter().try_for_each(|(rule, asked, max)| match max {
        Some(max) if asked > max => Err(format!("maximum.{rule}: the task asks for {asked}, at most {max} is allowed")),
        _ => Ok(()),
    })
}

/// Code that may come with a job. The builtin trainers know only ours.
fn runs_script(runtime: Runtime) -> bool {
    runtime != Runtime::Builtin
}
