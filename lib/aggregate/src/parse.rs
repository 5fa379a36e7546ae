//! From a rule's name and parameters in a job document to an [`Aggregation`].
//!
//! Beside a rule's own parameters every rule, one's own too, takes `pre`, a list of pre-aggregators such as `{"name": "nnm", "f": 2}`, and
//! all but those that are a server optimizer themselves take `server`, such as `{"name": "fedadam", "learning_rate": 0.1}`.

use crate::params::{Params, bad};
use crate::rule::lora::{Lora, Variant};
use crate::rule::mean::Mean;
use crate::{Adaptive, Aggregation, Allowed, Pre, Rules, Server};
use crate::{Bulyan, CenteredClipping, FedBuff, FedNova, GeometricMedian, Krum, Median, QFedAvg, Take, TrimmedMean};
use nsfl_types::JobError;
use serde_json::{Map, Value};

/// Every rule of the library.
pub const RULES: [&str; 18] = [
    "fedavg",
    "fedavgm",
    "fedadagrad",
    "fedyogi",
    "fedadam",
    "fednova",
    "scaffold",
    "feddyn",
    "qfedavg",
    "fedbuff",
    "median",
    "trimmed_mean",
    "krum",
    "multikrum",
    "bulyan",
    "geometric_median",
    "centered_clipping",
    "lora",
];
const SERVERS: [&str; 4] = ["fedavgm", "fedadagrad", "fedyogi", "fedadam"];
/// Rules of which a member's update and what its client keeps go together. So do those that ask for facts.
const SINGLE: [&str; 2] = ["scaffold", "feddyn"];
const PRE: [&str; 4] = ["bucketing", "nnm", "arc", "clipping"];

impl Rules {
    /// From the job document's `aggregator.name` and `aggregator.params`. `learning_rate` is what η is when they do not say:
    /// `hyper_parameters.learning_rate`.
    ///
    /// # Errors
    /// The first name or parameter that cannot be accepted, with its path and what is allowed.
    pub fn parse(&self, name: &str, params: &Map<String, Value>, learning_rate: f64) -> Result<Aggregation, JobError> {
        let mut p = Params::new("aggregator.params", name, params);
        let own = SERVERS.contains(&name);
        let server = if own {
            server(name, &mut p, learning_rate)?
        } else if name == "feddyn" {
            let alpha = p.number("alpha", 0.01, Allowed::Positive)?;
            if (learning_rate - 1.0).abs() > 0.0 {
                return Err(bad(
                    "hyper_parameters.learning_rate".into(),
                    "feddyn has no server learning rate: 1 is allowed",
                ));
            }
            Server::Dyn { alpha }
        } else {
            Server::Sgd { learning_rate: p.number("learning_rate", learning_rate, Allowed::Positive)? }
        };
        let mut aggregation = match self.own(name) {
            Some(make) => Aggregation::of(make(&mut p)?, server),
            None => self.rule(name, &mut p, server)?,
        };
        for pre in pre_aggregators(&mut p)? {
            aggregation = aggregation.with(pre);
        }
        if !own
            && name != "feddyn"
            && name != "scaffold"
            && let Some(given) = p.value("server")
        {
            let learning_rate = server_rate(&server);
            aggregation = aggregation.with_server(nested_server(&p, given, learning_rate)?);
        }
        if (SINGLE.contains(&name) || !aggregation.facts().is_empty()) && aggregation.mixes() {
            let problem = format!("{name} must see each member's own update, not mixtures; allowed: arc, clipping");
            return Err(p.bad("pre", &problem));
        }
        p.finish()?;
        Ok(aggregation)
    }

    /// One of the library's.
    fn rule(&self, name: &str, p: &mut Params<'_>, server: Server) -> Result<Aggregation, JobError> {
        let new = |mean: Mean| Aggregation::new(mean, server);
        Ok(match name {
            "fedavg" => new(Mean { name: "fedavg", uniform: p.flag("uniform", false)? }),
            "fedavgm" => new(Mean { name: "fedavgm", uniform: p.flag("uniform", false)? }),
            "fedadagrad" => new(Mean { name: "fedadagrad", uniform: p.flag("uniform", false)? }),
            "fedyogi" => new(Mean { name: "fedyogi", uniform: p.flag("uniform", false)? }),
            "fedadam" => new(Mean { name: "fedadam", uniform: p.flag("uniform", false)? }),
            "scaffold" => new(Mean { name: "scaffold", uniform: true }),
            "feddyn" => new(Mean { name: "feddyn", uniform: true }),
            "fednova" => Aggregation::new(FedNova, server),
            "qfedavg" => {
                let q = p.number("q", 0.1, Allowed::NotNegative)?;
                let local_learning_rate = p.optional("local_learning_rate", Allowed::Positive)?;
                Aggregation::new(QFedAvg { q, local_learning_rate }, server)
            }
            "fedbuff" => {
                let k = p.count("k", 10, Allowed::Count)?;
                let max_staleness = p.optional_count("max_staleness", Allowed::Whole)?;
                Aggregation::new(FedBuff { k, max_staleness }, server)
            }
            "median" => Aggregation::new(Median, server),
            "trimmed_mean" => Aggregation::new(TrimmedMean { f: p.required_count("f", Allowed::Whole)? }, server),
            "krum" => Aggregation::new(Krum { f: p.required_count("f", Allowed::Whole)?, take: Take::One }, server),
            "multikrum" => {
                let f = p.required_count("f", Allowed::Whole)?;
                let take = p.optional_count("m", Allowed::Count)?.map_or(Take::AllButF, Take::Some);
                Aggregation::new(Krum { f, take }, server)
            }
            "bulyan" => Aggregation::new(Bulyan { f: p.required_count("f", Allowed::Whole)? }, server),
            "geometric_median" => {
                let nu = p.number("nu", 1e-6, Allowed::Positive)?;
                let iterations = p.count("iterations", 1000, Allowed::Iterations)?;
                let uniform = p.flag("uniform", true)?;
                Aggregation::new(GeometricMedian { nu, iterations, uniform }, server)
            }
            "centered_clipping" => {
                let tau = p.number("tau", 10.0, Allowed::Positive)?;
                let iterations = p.count("iterations", 3, Allowed::Iterations)?;
                Aggregation::new(CenteredClipping { tau, iterations }, server)
            }
            "lora" => {
                let variant = match p.word("variant")? {
                    None | Some("fedit") => Variant::FedIt,
                    Some("ffa") => Variant::Ffa,
                    Some("flora") => Variant::Flora,
                    Some("fedex") => Variant::FedEx,
                    Some(other) => {
                        return Err(
                            p.bad("variant", &format!("'{other}' is unknown; allowed: fedit, ffa, flora, fedex"))
                        );
                    }
                };
                if variant.multiplies() {
                    added_as_it_is(p, &server)?;
                }
                let scaling = p.number("scaling", 1.0, Allowed::Positive)?;
                Aggregation::new(Lora { variant, scaling, uniform: p.flag("uniform", false)? }, server)
            }
            _ => {
                let problem = format!("'{name}' is unknown; allowed: {}", self.names().collect::<Vec<_>>().join(", "));
                return Err(bad("aggregator.name".into(), &problem));
            }
        })
    }
}

fn server_rate(server: &Server) -> f64 {
    server.plain_rate().unwrap_or(1.0)
}

/// Products of updates are no updates: no pre-aggregator comes before them, and no server optimizer moves them.
fn added_as_it_is(p: &Params<'_>, server: &Server) -> Result<(), JobError> {
    const WHY: &str = "does not go with the variants flora and fedex, which add products of updates as they are";
    if let Some(name) = ["pre", "server"].into_iter().find(|name| p.has(name)) {
        return Err(p.bad(name, WHY));
    }
    if (server_rate(server) - 1.0).abs() > 0.0 {
        let own = p.field("learning_rate");
        let field = if p.has("learning_rate") { own } else { "hyper_parameters.learning_rate".to_owned() };
        return Err(bad(field, &format!("other than 1 {WHY}")));
    }
    Ok(())
}

fn server(name: &str, p: &mut Params<'_>, learning_rate: f64) -> Result<Server, JobError> {
    let learning_rate = p.number("learning_rate", learning_rate, Allowed::Positive)?;
    if name == "fedavgm" {
        let beta = p.number("beta", 0.9, Allowed::Fraction)?;
        return Ok(Server::Momentum { learning_rate, beta, nesterov: p.flag("nesterov", false)? });
    }
    let kind = match name {
        "fedadagrad" => Adaptive::Adagrad,
        "fedyogi" => Adaptive::Yogi,
        _ => Adaptive::Adam,
    };
    let beta1 = p.number("beta1", 0.9, Allowed::Fraction)?;
    let beta2 = if kind == Adaptive::Adagrad { 0.99 } else { p.number("beta2", 0.99, Allowed::Fraction)? };
    Ok(Server::Adaptive { kind, learning_rate, beta1, beta2, tau: p.number("tau", 1e-3, Allowed::Positive)? })
}

fn nested_server(p: &Params<'_>, given: &Value, learning_rate: f64) -> Result<Server, JobError> {
    let field = p.field("server");
    let (name, params) = named(&field, given, &SERVERS)?;
    let mut p = Params::new(field, name, params);
    p.word("name")?;
    let server = server(name, &mut p, learning_rate)?;
    p.finish()?;
    Ok(server)
}

fn pre_aggregators(p: &mut Params<'_>) -> Result<Vec<Pre>, JobError> {
    let Some(given) = p.value("pre") else { return Ok(Vec::new()) };
    let Value::Array(items) = given else {
        return Err(p.bad("pre", r#"must be a list, such as [{"name": "nnm", "f": 2}]"#));
    };
    items.iter().enumerate().map(|(i, item)| pre(format!("{}[{i}]", p.field("pre")), item)).collect()
}

fn pre(field: String, given: &Value) -> Result<Pre, JobError> {
    let (name, params) = named(&field, given, &PRE)?;
    let mut p = Params::new(field, name, params);
    p.word("name")?;
    let pre = match name {
        "bucketing" => Pre::Bucketing { s: p.count("s", 2, Allowed::Count)? },
        "nnm" => Pre::Mixing { f: p.required_count("f", Allowed::Whole)? },
        "arc" => Pre::Adaptive { f: p.required_count("f", Allowed::Whole)? },
        _ => match p.optional("max_norm", Allowed::Positive)? {
            Some(max_norm) => Pre::Clipping { max_norm },
            None => return Err(p.bad("max_norm", &format!("is missing and required: {}", Allowed::Positive))),
        },
    };
    p.finish()?;
    Ok(pre)
}

/// An object with a name among these.
fn named<'v>(field: &str, given: &'v Value, names: &[&str]) -> Result<(&'v str, &'v Map<String, Value>), JobError> {
    let Value::Object(params) = given else {
        return Err(bad(field.to_owned(), &format!("must be an object with a name; allowed: {}", names.join(", "))));
    };
    match params.get("name").and_then(Value::as_str) {
        Some(name) if names.contains(&name) => Ok((name, params)),
        other => {
            let problem = format!("'{}' is unknown; allowed: {}", other.unwrap_or_default(), names.join(", "));
            Err(bad(format!("{field}.name"), &problem))
        }
    }
}
