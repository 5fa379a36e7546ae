//! Reads a rule's parameters from JSON: each is checked, and one that the rule does not know is refused.

use crate::Allowed;
use nsfl_types::{Code, JobError};
use serde_json::{Map, Value};

/// The parameters of one rule, pre-aggregator or server optimizer.
#[derive(Debug)]
pub struct Params<'a> {
    path: String,
    rule: String,
    values: &'a Map<String, Value>,
    known: Vec<&'static str>,
}

impl<'a> Params<'a> {
    pub(crate) fn new(path: impl Into<String>, rule: &str, values: &'a Map<String, Value>) -> Self {
        Self { path: path.into(), rule: rule.to_owned(), values, known: Vec::new() }
    }

    /// A number, or its default when it is not given.
    ///
    /// # Errors
    /// It is no number, or out of range.
    pub fn number(&mut self, name: &'static str, default: f64, allowed: Allowed) -> Result<f64, JobError> {
        Ok(self.optional(name, allowed)?.unwrap_or(default))
    }

    /// A number that need not be given.
    ///
    /// # Errors
    /// It is no number, or out of range.
    pub fn optional(&mut self, name: &'static str, allowed: Allowed) -> Result<Option<f64>, JobError> {
        let Some(value) = self.value(name) else { return Ok(None) };
        match value.as_f64() {
            Some(number) if allowed.holds(number) => Ok(Some(number)),
            Some(_) => Err(self.bad(name, &format!("{value} is out of range: {allowed} is allowed"))),
            None => Err(self.bad(name, &format!("must be a number: {allowed} is allowed"))),
        }
    }

    /// A count that need not be given.
    ///
    /// # Errors
    /// It is no number, or out of range.
    pub fn optional_count(&mut self, name: &'static str, allowed: Allowed) -> Result<Option<usize>, JobError> {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a whole number ≥ 0, cut at the end"
        )]
        let count = |number: f64| number as usize;
        Ok(self.optional(name, allowed)?.map(count))
    }

    /// A count, or its default when it is not given.
    ///
    /// # Errors
    /// It is no number, or out of range.
    pub fn count(&mut self, name: &'static str, default: usize, allowed: Allowed) -> Result<usize, JobError> {
        Ok(self.optional_count(name, allowed)?.unwrap_or(default))
    }

    /// A count that must be given.
    ///
    /// # Errors
    /// It is not given, no number, or out of range.
    pub fn required_count(&mut self, name: &'static str, allowed: Allowed) -> Result<usize, JobError> {
        let missing = format!("is missing and required: {allowed}");
        self.optional_count(name, allowed)?.ok_or_else(|| self.bad(name, &missing))
    }

    /// True or false, or its default when it is not given.
    ///
    /// # Errors
    /// It is neither.
    pub fn flag(&mut self, name: &'static str, default: bool) -> Result<bool, JobError> {
        match self.value(name) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(self.bad(name, "must be true or false")),
        }
    }

    /// A word, if it is given.
    ///
    /// # Errors
    /// It is no string.
    pub fn word(&mut self, name: &'static str) -> Result<Option<&'a str>, JobError> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(word)) => Ok(Some(word)),
            Some(_) => Err(self.bad(name, "must be a string")),
        }
    }

    /// The value as it is, if it is given and not null.
    pub fn value(&mut self, name: &'static str) -> Option<&'a Value> {
        self.known.push(name);
        self.values.get(name).filter(|value| !value.is_null())
    }

    /// Whether it is there, for whoever may ask for it.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.values.get(name).is_some_and(|value| !value.is_null())
    }

    /// The path of a parameter.
    pub(crate) fn field(&self, name: &str) -> String {
        format!("{}.{name}", self.path)
    }

    /// A refusal of this parameter: what is wrong with it, and what is allowed.
    #[must_use]
    pub fn bad(&self, name: &str, problem: &str) -> JobError {
        bad(self.field(name), problem)
    }

    /// Refuses what nobody has asked for.
    pub(crate) fn finish(self) -> Result<(), JobError> {
        match self.values.keys().find(|name| !self.known.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => {
                let known = if self.known.is_empty() { "none".to_owned() } else { self.known.join(", ") };
                Err(self.bad(name, &format!("is unknown to {}; allowed: {known}", self.rule)))
            }
        }
    }
}

pub(crate) fn bad(field: String, problem: &str) -> JobError {
    JobError { field, problem: problem.to_owned(), code: Code::BadDocument }
}
