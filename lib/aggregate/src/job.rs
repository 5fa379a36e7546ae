//! The aggregation that a job asks for: one reading of its document for all who need it, at submit and in every round.

use crate::{AggregateError, Aggregation, Lateness, Rules};
use nsfl_types::{AggregatorSpec, Code, JobError, JobSpec, Late, OptimizerSpec};

impl Rules {
    /// Of a checked job. A job with the optimizer `scaffold` or `feddyn` is aggregated by the rule of that name; its `aggregator`
    /// names it or is left out.
    ///
    /// # Errors
    /// The first field that cannot be accepted: the rule, a parameter, a number of clients that the rule does not work with, or
    /// what is to become of late updates and is not what the rule is for.
    pub fn of_job(&self, spec: &JobSpec) -> Result<Aggregation, JobError> {
        let AggregatorSpec { name, params } = &spec.aggregator;
        let controls = spec.optimizer.as_ref().is_some_and(OptimizerSpec::is_scaffold);
        let aggregation = match (controls, name.as_str()) {
            // equal weights anyway
            (true, "fedavg") => {
                self.parse("fedavg", params, spec.hyper.learning_rate)?;
                self.parse("scaffold", &without(params, "uniform"), spec.hyper.learning_rate)
            }
            (true, other) if other != "scaffold" => Err(bad(
                "aggregator.name",
                &format!("'{other}' does not go with optimizer scaffold; allowed: scaffold"),
            )),
            (false, "scaffold") => Err(bad(
                "aggregator.name",
                "'scaffold' needs the control variates of optimizer scaffold: name that too",
            )),
            (_, name) => match spec.optimizer {
                Some(OptimizerSpec::FedDyn { alpha, .. }) => self.dynamic(spec, alpha),
                _ => self.parse(name, params, spec.hyper.learning_rate),
            },
        }?;
        if let Some(k) = aggregation.check_late(spec)? {
            aggregation.check_members(k).map_err(|e| bad("aggregator.params.k", &e.to_string()))?;
            return Ok(aggregation);
        }
        let client_num = spec.hyper.client_num;
        let numbers = [
            ("hyper_parameters.client_num", client_num),
            ("hyper_parameters.threshold_client_num", spec.hyper.quorum.get()),
            ("redundancy", spec.redundancy.cohort(client_num)),
        ];
        for (field, members) in numbers {
            let checked = aggregation.check_members(members as usize);
            checked.map_err(|e: AggregateError| bad(field, &format!("is {members} updates for a round; {e}")))?;
        }
        aggregation.check_compression(spec)?;
        Ok(aggregation)
    }

    /// FedDyn's rule, with the α of the clients: h is made of what they move by it.
    fn dynamic(&self, spec: &JobSpec, alpha: f64) -> Result<Aggregation, JobError> {
        let AggregatorSpec { name, params } = &spec.aggregator;
        let left_out = name == "fedavg" && params.is_empty();
        if name != "feddyn" && !left_out {
            let problem = format!("'{name}' does not go with optimizer feddyn; allowed: feddyn");
            return Err(bad("aggregator.name", &problem));
        }
        let mut params = params.clone();
        let own = params.entry("alpha").or_insert_with(|| alpha.into());
        if own.as_f64().is_some_and(|own| own.to_bits() != alpha.to_bits()) {
            let problem =
                format!("is {own}, but optimizer feddyn has {alpha}: both must be the same; leave one of them out");
            return Err(bad("aggregator.params.alpha", &problem));
        }
        self.parse("feddyn", &params, spec.hyper.learning_rate)
    }
}

impl Aggregation {
    /// Every rule sees updates as they are decoded. Top-k needs one that adds them all up.
    fn check_compression(&self, spec: &JobSpec) -> Result<(), JobError> {
        let update = spec.compression.as_ref().and_then(|compression| compression.update);
        if update.is_none_or(|update| update.coding.top_k.is_none()) {
            return Ok(());
        }
        let refused = |what: &str| {
            let why = "sees mostly zeros; top_k is for rules that add up all updates; allowed here: values";
            Err(bad("compression.top_k", &format!("{what} {why}")))
        };
        if !self.rule().takes_all() {
            return refused(&format!("aggregator '{}'", self.rule().name()));
        }
        if self.has_pre() { refused("aggregator.params.pre") } else { Ok(()) }
    }

    /// K and the largest staleness, of a rule that makes a model of K updates to any.
    #[must_use]
    pub fn buffer(&self) -> Option<(usize, Option<usize>)> {
        match self.rule().lateness() {
            Lateness::Buffered { k, max_staleness } => Some((k, max_staleness)),
            _ => None,
        }
    }

    /// Whether the rule takes late updates as the job has it; K when it makes a model of each K.
    fn check_late(&self, spec: &JobSpec) -> Result<Option<usize>, JobError> {
        const LATE: &str = "hyper_parameters.late";
        let (rule, lateness) = (self.rule().name(), self.rule().lateness());
        match (spec.hyper.late, lateness) {
            (Late::Drop, _) => Ok(None),
            (Late::Stale { .. }, Lateness::Weighed) if self.mixes() => Err(bad(
                LATE,
                "'stale' weighs each update, and a pre-aggregator mixes them; allowed: arc and clipping in aggregator.params.pre",
            )),
            (Late::Stale { .. }, Lateness::Weighed) => Ok(None),
            (Late::Stale { .. }, _) => {
                let problem = format!(
                    "'stale' goes with fedavg, fedavgm, fedadagrad, fedyogi and fedadam; {rule} does not weigh updates by \
                     their staleness beside those of its round"
                );
                Err(bad(LATE, &problem))
            }
            (Late::Buffer, Lateness::Buffered { k, .. }) => {
                let at_once = spec.redundancy.cohort(spec.hyper.client_num) as usize;
                let named = spec.clients.len();
                let too_few = |n: usize, who: &str| {
                    let problem =
                        format!("is {k}; {who} {n}, each hands in one update to each model: 1 to {n} is allowed");
                    bad("aggregator.params.k", &problem)
                };
                if k > at_once {
                    return Err(too_few(at_once, "clients at work at once (client_num × redundancy) are"));
                }
                if named > 0 && k > named {
                    return Err(too_few(named, "clients named are"));
                }
                Ok(Some(k))
            }
            (Late::Buffer, _) => {
                let problem = format!("'buffer' goes with aggregator fedbuff, not with {rule}");
                Err(bad(LATE, &problem))
            }
        }
    }
}

fn without(
    params: &serde_json::Map<String, serde_json::Value>,
    name: &str,
) -> serde_json::Map<String, serde_json::Value> {
    params.iter().filter(|(key, _)| *key != name).map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn bad(field: &str, problem: &str) -> JobError {
    JobError { field: field.to_owned(), problem: problem.to_owned(), code: Code::BadDocument }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn job(fields: &Value) -> JobSpec {
        let mut document = json!({
            "id": "x", "runtime": "pytorch", "task_entry": "t", "output": "o", "model_path": "m",
            "hyper_parameters": {"client_num": 5, "threshold_client_num": 5},
        });
        let fields = fields.as_object().unwrap();
        fields.iter().for_each(|(name, value)| document[name] = value.clone());
        JobSpec::parse(document.to_string().as_bytes()).unwrap().1
    }

    fn refused(fields: &Value) -> (String, String) {
        let error = Rules::default().of_job(&job(fields)).unwrap_err();
        (error.field, error.problem)
    }

    #[test]
    fn a_rule_that_cannot_work_with_the_jobs_numbers_of_clients_is_refused_by_the_field() {
        let krum = json!({"name": "krum", "params": {"f": 1}});
        assert!(Rules::default().of_job(&job(&json!({"aggregator": krum}))).is_ok());
        for (client_num, quorum, field) in
            [(4, 4, "hyper_parameters.client_num"), (6, 4, "hyper_parameters.threshold_client_num")]
        {
            let hyper = json!({"client_num": client_num, "threshold_client_num": quorum});
            let (found, problem) = refused(&json!({"aggregator": krum, "hyper_parameters": hyper}));
            assert_eq!(found, field);
            assert!(problem.contains("at least 5 updates"), "{problem}");
        }
        let buffer = json!({"name": "fedbuff", "params": {"k": 5}});
        let (field, problem) = refused(&json!({"aggregator": buffer, "redundancy": 1.2}));
        assert_eq!(field, "redundancy");
        assert!(problem.contains("at most 5"), "{problem}");
    }

    #[test]
    fn every_bound_on_the_number_of_updates_is_known_at_submit() {
        for (aggregator, least) in [
            (json!({"name": "trimmed_mean", "params": {"f": 2}}), 5),
            (json!({"name": "krum", "params": {"f": 2}}), 7),
            (json!({"name": "multikrum", "params": {"f": 2, "m": 7}}), 9),
            (json!({"name": "bulyan", "params": {"f": 1}}), 7),
            (json!({"name": "fedavg", "params": {"pre": [{"name": "nnm", "f": 3}]}}), 7),
            (json!({"name": "fedavg", "params": {"pre": [{"name": "arc", "f": 3}]}}), 7),
            (json!({"name": "krum", "params": {"f": 1, "pre": [{"name": "bucketing", "s": 2}]}}), 9),
        ] {
            let of = |client_num: u32, quorum: u32| {
                let hyper = json!({"client_num": client_num, "threshold_client_num": quorum});
                json!({"aggregator": aggregator, "hyper_parameters": hyper})
            };
            assert!(Rules::default().of_job(&job(&of(least, least))).is_ok(), "{aggregator}");
            assert_eq!(refused(&of(least - 1, least - 1)).0, "hyper_parameters.client_num", "{aggregator}");
            assert_eq!(refused(&of(least, least - 1)).0, "hyper_parameters.threshold_client_num", "{aggregator}");
        }
    }

    #[test]
    fn the_dynamic_regulariser_and_its_rule_go_together_with_one_alpha() {
        let of = |optimizer: Value, aggregator: Option<Value>| {
            let mut fields = json!({"optimizer": optimizer});
            aggregator.into_iter().for_each(|aggregator| fields["aggregator"] = aggregator);
            fields
        };
        let own = json!({"name": "feddyn", "alpha": 0.1});
        for aggregator in
            [None, Some(json!({"name": "feddyn"})), Some(json!({"name": "feddyn", "params": {"alpha": 0.1}}))]
        {
            let aggregation = Rules::default().of_job(&job(&of(own.clone(), aggregator))).unwrap();
            assert_eq!(aggregation.server(), &crate::Server::Dyn { alpha: 0.1 });
        }
        let (field, problem) = refused(&of(own.clone(), Some(json!({"name": "feddyn", "params": {"alpha": 0.2}}))));
        assert_eq!(field, "aggregator.params.alpha");
        assert!(problem.contains("is 0.2, but optimizer feddyn has 0.1"), "{problem}");
        for aggregator in [json!({"name": "median"}), json!({"name": "fedavg", "params": {"uniform": true}})] {
            assert_eq!(refused(&of(own.clone(), Some(aggregator))).0, "aggregator.name");
        }
        assert!(
            Rules::default().of_job(&job(&json!({"aggregator": {"name": "feddyn"}}))).is_ok(),
            "a script of its own"
        );
    }

    #[test]
    fn top_k_is_refused_with_rules_that_do_not_add_up_all_updates_and_values_are_not() {
        let hyper = json!({"client_num": 7, "threshold_client_num": 7});
        let of = |aggregator: Value, compression: Value| json!({"aggregator": aggregator, "compression": compression, "hyper_parameters": hyper});
        let all = |params: Value| json!({"name": "fedavg", "params": params});
        for aggregator in [
            json!({"name": "median"}),
            json!({"name": "trimmed_mean", "params": {"f": 1}}),
            json!({"name": "krum", "params": {"f": 1}}),
            json!({"name": "multikrum", "params": {"f": 1}}),
            json!({"name": "bulyan", "params": {"f": 1}}),
            json!({"name": "geometric_median"}),
            json!({"name": "centered_clipping"}),
            json!({"name": "lora", "params": {"variant": "flora"}}),
            all(json!({"pre": [{"name": "clipping", "max_norm": 1.0}]})),
        ] {
            let (field, problem) = refused(&of(aggregator.clone(), json!({"top_k": 0.1})));
            assert_eq!(field, "compression.top_k");
            assert!(problem.contains("add up all updates"), "{problem}");
            assert!(Rules::default().of_job(&job(&of(aggregator, json!({"values": "qsgd8", "model": "f16"})))).is_ok());
        }
        for aggregator in
            [all(json!({})), json!({"name": "fedadam"}), json!({"name": "feddyn"}), json!({"name": "qfedavg"})]
        {
            assert!(Rules::default().of_job(&job(&of(aggregator, json!({"top_k": 0.1, "values": "qsgd4"})))).is_ok());
        }
    }

    #[test]
    fn late_updates_go_with_rules_that_weigh_them_and_a_buffer_no_larger_than_those_at_work() {
        let hyper = |late: &str, client_num: u32| json!({"client_num": client_num, "late": late});
        let with =
            |late: &str, n, aggregator: Value| json!({"hyper_parameters": hyper(late, n), "aggregator": aggregator});
        let fedbuff = |k: u32| json!({"name": "fedbuff", "params": {"k": k}});
        for fields in [
            with("stale", 3, json!({"name": "fedavg", "params": {"uniform": true}})),
            with("stale", 3, json!({"name": "fedyogi", "params": {"pre": [{"name": "clipping", "max_norm": 1.0}]}})),
            with("buffer", 3, fedbuff(3)),
            with("drop", 3, fedbuff(3)),
        ] {
            Rules::default().of_job(&job(&fields)).unwrap();
        }
        let mut redundant = with("buffer", 4, fedbuff(6));
        redundant["redundancy"] = json!(1.5);
        assert_eq!(Rules::default().of_job(&job(&redundant)).unwrap().buffer(), Some((6, None)));
        let mut few = with("buffer", 3, fedbuff(3));
        few["clients"] = json!(["a", "b"]);
        let mut scaffold = with("stale", 3, json!({"name": "scaffold"}));
        scaffold["optimizer"] = json!({"name": "scaffold"});
        for (fields, field, says) in [
            (with("stale", 3, json!({"name": "median"})), "hyper_parameters.late", "median does not weigh"),
            (with("stale", 3, json!({"name": "feddyn"})), "hyper_parameters.late", "feddyn does not weigh"),
            (scaffold, "hyper_parameters.late", "scaffold does not weigh"),
            (with("stale", 3, fedbuff(9)), "hyper_parameters.late", "fedavg, fedavgm"),
            (
                with("stale", 9, json!({"name": "fedavg", "params": {"pre": [{"name": "nnm", "f": 0}]}})),
                "hyper_parameters.late",
                "mixes",
            ),
            (with("buffer", 3, json!({"name": "fedavg"})), "hyper_parameters.late", "aggregator fedbuff"),
            (with("buffer", 3, fedbuff(4)), "aggregator.params.k", "1 to 3 is allowed"),
            (few, "aggregator.params.k", "1 to 2 is allowed"),
        ] {
            let (found, problem) = refused(&fields);
            assert_eq!(found, field, "{problem}");
            assert!(problem.contains(says), "{problem}");
        }
    }

    #[test]
    fn control_variates_and_their_rule_go_together() {
        let scaffold = json!({"name": "scaffold"});
        for aggregator in [json!({"name": "scaffold"}), json!({"name": "fedavg", "params": {"uniform": true}})] {
            let with = json!({"optimizer": scaffold, "aggregator": aggregator});
            assert_eq!(Rules::default().of_job(&job(&with)).unwrap().rule().name(), "scaffold");
        }
        assert_eq!(Rules::default().of_job(&job(&json!({"optimizer": scaffold}))).unwrap().rule().name(), "scaffold");
        assert_eq!(Rules::default().of_job(&job(&json!({}))).unwrap().rule().name(), "fedavg");
        let other = json!({"optimizer": scaffold, "aggregator": {"name": "median"}});
        assert_eq!(refused(&other).0, "aggregator.name");
        assert_eq!(refused(&json!({"aggregator": scaffold})).0, "aggregator.name");
        let wrong = json!({"optimizer": scaffold, "aggregator": {"name": "fedavg", "params": {"uniform": 1}}});
        assert_eq!(refused(&wrong).0, "aggregator.params.uniform");
    }
}
