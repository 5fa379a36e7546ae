//! How a job's updates and its model are written on their way. What the bytes are: `nsfl-compress`.

use super::JobError;
use super::spec::bad;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;

/// `compression`, checked: at least one of the two.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompressionSpec {
    /// Of updates, if they are compressed.
    pub update: Option<UpdateCoding>,
    /// Of the model as it is sent, if it is compressed: values of half the width.
    pub model: Option<Coding>,
}

/// How an update is written.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct UpdateCoding {
    /// The coding.
    pub coding: Coding,
    /// Whether a client adds what a round's coding has lost to its next update.
    pub error_feedback: bool,
}

/// Which values of a tensor are written, and how.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coding {
    /// The share of each tensor's values that is written, the largest by magnitude; all when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k: Option<Share>,
    /// How each value is written.
    pub values: Values,
}

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Values {
    /// As it is.
    Whole,
    /// IEEE half precision, to the nearest.
    F16,
    /// bfloat16, to the nearest.
    Bf16,
    /// QSGD, Alistarh et al. 2017, arXiv 1610.02132: a whole number of steps of a scale, rounded at random so that the mean
    /// is the value.
    Qsgd {
        /// Of one number.
        bits: Bits,
        /// Values that share a scale; all of a tensor when not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bucket: Option<Bucket>,
        /// What the scale is.
        norm: Norm,
    },
}

/// Bits of a quantised value, its sign among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bits {
    /// 7 steps to either side.
    #[serde(rename = "4")]
    Four,
    /// 127 steps to either side.
    #[serde(rename = "8")]
    Eight,
}

impl Bits {
    /// How many.
    #[must_use]
    pub fn count(self) -> usize {
        if self == Self::Four { 4 } else { 8 }
    }

    /// The largest number of steps.
    #[must_use]
    pub fn steps(self) -> i8 {
        if self == Self::Four { 7 } else { 127 }
    }
}

/// What a bucket's scale is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Norm {
    /// The largest magnitude, as in the paper's experiments: the least variance.
    Max,
    /// The Euclidean norm, as in the paper's proofs.
    L2,
}

/// A share, above 0 and below 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Share(f64);

impl Share {
    /// How many of `n` it is: at least one, rounded up.
    #[must_use]
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a count is no more than it"
    )]
    pub fn of(self, n: usize) -> usize {
        ((self.0 * n as f64).ceil() as usize).clamp(1, n.max(1)).min(n)
    }
}

impl TryFrom<f64> for Share {
    type Error = &'static str;

    fn try_from(share: f64) -> Result<Self, Self::Error> {
        if share > 0.0 && share < 1.0 { Ok(Self(share)) } else { Err("a number above 0 and below 1 is allowed") }
    }
}

impl From<Share> for f64 {
    fn from(share: Share) -> Self {
        share.0
    }
}

/// Values that share a scale: a multiple of 16, up to 65536.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Bucket(u32);

impl Bucket {
    /// When a job does not say.
    pub const DEFAULT: Self = Self(512);

    /// How many.
    #[must_use]
    pub fn get(self) -> usize {
        self.0 as usize
    }
}

impl TryFrom<u32> for Bucket {
    type Error = &'static str;

    fn try_from(bucket: u32) -> Result<Self, Self::Error> {
        if (16..=65536).contains(&bucket) && bucket.is_multiple_of(16) {
            Ok(Self(bucket))
        } else {
            Err("a multiple of 16 from 16 to 65536, or \"tensor\", is allowed")
        }
    }
}

impl From<Bucket> for u32 {
    fn from(bucket: Bucket) -> Self {
        bucket.0
    }
}

impl fmt::Display for Coding {
    /// As one would say it: `top 0.01, 8-bit QSGD in buckets of 512`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Share(share)) = self.top_k {
            write!(f, "top {share}, ")?;
        }
        match self.values {
            Values::Whole => write!(f, "whole values"),
            Values::F16 => write!(f, "f16"),
            Values::Bf16 => write!(f, "bf16"),
            Values::Qsgd { bits, bucket, norm } => {
                let norm = if norm == Norm::L2 { ", L2 norm" } else { "" };
                match bucket {
                    Some(Bucket(bucket)) => write!(f, "{}-bit QSGD in buckets of {bucket}{norm}", bits.count()),
                    None => write!(f, "{}-bit QSGD by tensor{norm}", bits.count()),
                }
            }
        }
    }
}

const FIELDS: &str = "values, top_k, bucket, norm, error_feedback, model";

/// The document's `compression`.
pub(super) fn compression(value: Option<&Value>) -> Result<Option<CompressionSpec>, JobError> {
    let Some(value) = value else { return Ok(None) };
    let fields = value.as_object().ok_or_else(|| bad("compression", "must be an object"))?;
    if let Some(unknown) = fields.keys().find(|name| !FIELDS.split(", ").any(|known| known == *name)) {
        return Err(bad(&format!("compression.{unknown}"), &format!("is unknown; allowed: {FIELDS}")));
    }
    let values = named(fields, "values", &["f16", "bf16", "qsgd8", "qsgd4"])?;
    let top_k = fields.get("top_k").map(share).transpose()?;
    let quantised = matches!(values, Some("qsgd8" | "qsgd4"));
    for name in ["bucket", "norm"] {
        if fields.contains_key(name) && !quantised {
            return Err(bad(&format!("compression.{name}"), "is for values qsgd8 and qsgd4"));
        }
    }
    let norm = named(fields, "norm", &["max", "l2"])?;
    let norm = if norm == Some("l2") { Norm::L2 } else { Norm::Max };
    let bucket = bucket(fields.get("bucket"))?;
    let values = match values {
        None => Values::Whole,
        Some("f16") => Values::F16,
        Some("bf16") => Values::Bf16,
        Some("qsgd8") => Values::Qsgd { bits: Bits::Eight, bucket, norm },
        Some(_) => Values::Qsgd { bits: Bits::Four, bucket, norm },
    };
    let feedback = match fields.get("error_feedback") {
        None => None,
        Some(Value::Bool(feedback)) => Some(*feedback),
        Some(_) => return Err(bad("compression.error_feedback", "must be true or false")),
    };
    let compressed = top_k.is_some() || values != Values::Whole;
    if feedback.is_some() && !compressed {
        return Err(bad("compression.error_feedback", "is for updates: give values or top_k too"));
    }
    let error_feedback = feedback.unwrap_or(top_k.is_some());
    let update = compressed.then_some(UpdateCoding { coding: Coding { top_k, values }, error_feedback });
    let model = named(fields, "model", &["f16", "bf16"])?
        .map(|name| Coding { top_k: None, values: if name == "f16" { Values::F16 } else { Values::Bf16 } });
    if update.is_none() && model.is_none() {
        return Err(bad("compression", "says of nothing how it is sent: give values, top_k or model"));
    }
    Ok(Some(CompressionSpec { update, model }))
}

fn named<'a>(fields: &'a Map<String, Value>, name: &str, allowed: &[&str]) -> Result<Option<&'a str>, JobError> {
    let Some(value) = fields.get(name) else { return Ok(None) };
    let known = value.as_str().filter(|text| allowed.contains(text));
    let refused =
        || bad(&format!("compression.{name}"), &format!("{value} is unknown; allowed: {}", allowed.join(", ")));
    known.map(Some).ok_or_else(refused)
}

fn share(value: &Value) -> Result<Share, JobError> {
    let share = Share::try_from(value.as_f64().unwrap_or(f64::NAN));
    share.map_err(|allowed| bad("compression.top_k", &format!("{value} is out of range: {allowed}")))
}

fn bucket(value: Option<&Value>) -> Result<Option<Bucket>, JobError> {
    match value {
        None => Ok(Some(Bucket::DEFAULT)),
        Some(Value::String(text)) if text == "tensor" => Ok(None),
        Some(value) => {
            let number = value.as_u64().and_then(|number| u32::try_from(number).ok()).unwrap_or(0);
            let bucket = Bucket::try_from(number);
            let refused = |allowed| bad("compression.bucket", &format!("{value} is out of range: {allowed}"));
            bucket.map(Some).map_err(refused)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(value: Value) -> Result<Option<CompressionSpec>, JobError> {
        compression(Some(&value))
    }

    #[test]
    fn what_is_not_said_is_the_default() {
        assert_eq!(compression(None), Ok(None));
        let spec = of(json!({"values": "qsgd8", "top_k": 0.01, "model": "bf16"})).unwrap().unwrap();
        let update = spec.update.unwrap();
        let values = Values::Qsgd { bits: Bits::Eight, bucket: Some(Bucket::DEFAULT), norm: Norm::Max };
        assert_eq!(update.coding, Coding { top_k: Some(Share(0.01)), values });
        assert!(update.error_feedback, "what top_k leaves out would be lost");
        assert_eq!(spec.model.unwrap().values, Values::Bf16);
        assert_eq!(update.coding.to_string(), "top 0.01, 8-bit QSGD in buckets of 512");
        let plain = of(json!({"values": "qsgd4", "bucket": "tensor", "norm": "l2"})).unwrap().unwrap().update.unwrap();
        assert_eq!((plain.error_feedback, plain.coding.to_string().as_str()), (false, "4-bit QSGD by tensor, L2 norm"));
        assert_eq!(of(json!({"model": "f16"})).unwrap().unwrap().update, None);
    }

    #[test]
    fn each_bad_field_is_named_with_its_path_and_what_is_allowed() {
        for (value, field, says) in [
            (json!("gzip"), "compression", "object"),
            (json!({}), "compression", "values, top_k or model"),
            (json!({"value": "f16"}), "compression.value", "allowed: values, top_k"),
            (json!({"values": "f8"}), "compression.values", "f16, bf16, qsgd8, qsgd4"),
            (json!({"top_k": 1}), "compression.top_k", "above 0 and below 1"),
            (json!({"top_k": "a"}), "compression.top_k", "above 0 and below 1"),
            (json!({"values": "qsgd8", "bucket": 100}), "compression.bucket", "multiple of 16"),
            (json!({"values": "f16", "bucket": 512}), "compression.bucket", "qsgd8 and qsgd4"),
            (json!({"values": "qsgd8", "norm": "l1"}), "compression.norm", "max, l2"),
            (json!({"values": "f16", "error_feedback": 1}), "compression.error_feedback", "true or false"),
            (json!({"model": "f16", "error_feedback": true}), "compression.error_feedback", "values or top_k"),
            (json!({"model": "qsgd8"}), "compression.model", "f16, bf16"),
        ] {
            let error = of(value).unwrap_err();
            assert_eq!(error.field, field);
            assert!(error.problem.contains(says), "{error}");
        }
    }

    #[test]
    fn a_share_is_of_every_tensor_at_least_one() {
        let share = Share(0.01);
        assert_eq!([0, 1, 99, 100, 101, 1000].map(|n| share.of(n)), [0, 1, 1, 1, 2, 10]);
        assert!(serde_json::from_str::<Coding>(r#"{"top_k":1.5,"values":"f16"}"#).is_err());
        assert!(
            serde_json::from_str::<Coding>(r#"{"values":{"qsgd":{"bits":"8","bucket":17,"norm":"max"}}}"#).is_err()
        );
    }
}
