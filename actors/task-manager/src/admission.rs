//! Whether this site takes a task: what it asks for against what there is, and the site's policy. Decided before
//! anything is fetched or recorded; the server has no say in it.

mod policy;

use nsfl_config::Policy;
use nsfl_messages::wire::TaskOrder;
use nsfl_types::{Code, Refusal, Resource};
use std::path::PathBuf;

/// How a site decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admission {
    /// The site's policy. It is read for each task, so that a change holds from the next one on, and one that cannot be
    /// read lets nothing pass.
    pub policy: Option<PathBuf>,
    /// A task that asks for more than there is in all gets that.
    pub cap_resources: bool,
    /// Scripts run in a sandbox.
    pub sandboxed: bool,
}

impl Admission {
    /// The order as it is taken.
    ///
    /// # Errors
    /// Why it is not: which rule of which file, or how much is asked for and how much there is.
    pub(crate) fn admit(&self, mut order: TaskOrder, offered: &Resource) -> Result<TaskOrder, Refusal> {
        order.resource = self.granted(order.resource, offered)?;
        if let Some(file) = &self.policy {
            let refuse = |rule: String| {
                Refusal::new(
                    Code::Policy,
                    format!("the site's policy does not allow the task: {}: {rule}", file.display()),
                )
            };
            let policy = Policy::read(file).map_err(|error| refuse(error.to_string()))?;
            policy::judge(&policy, &order, self.sandboxed).map_err(refuse)?;
        }
        Ok(order)
    }

    fn granted(&self, asked: Resource, offered: &Resource) -> Result<Resource, Refusal> {
        if self.cap_resources {
            return Ok(Resource {
                worker_num: asked.worker_num.min(offered.worker_num),
                cpu: asked.cpu.min(offered.cpu),
                gpu: asked.gpu.min(offered.gpu),
                memory_mb: asked.memory_mb.min(offered.memory_mb),
            });
        }
        let amounts = [
            ("cpu", asked.cpu, offered.cpu),
            ("gpu", asked.gpu, offered.gpu),
            ("memory", asked.memory_mb, offered.memory_mb),
            ("worker_num", asked.worker_num.into(), offered.worker_num.into()),
        ];
        match amounts.into_iter().find(|(_, asked, offered)| asked > offered) {
            None => Ok(asked),
            Some((what, asked, offered)) => {
                let reason = format!("the task asks for {what} {asked}, this client has {offered} in all");
                Err(Refusal::new(Code::Unsupported, reason))
            }
        }
    }
}

#[cfg(test)]
mod tests;
