//! What a rule is: how members' updates become one pseudo-gradient Δ. It decides from weights, facts and geometry, and
//! never touches a model: what it answers is carried out block by block, in bounded memory, the same for any order.

use crate::{AggregateError, Columns, Fact, Geometry, Pass};
use nsfl_tensor::Layout;
use nsfl_types::Metrics;
use std::fmt;
use std::sync::Arc;

pub(crate) mod fedbuff;
pub(crate) mod fednova;
pub(crate) mod lora;
pub(crate) mod mean;
pub(crate) mod qfedavg;
pub(crate) mod scaffold;

/// An aggregation rule.
///
/// Of two kinds are the answers of `combine`. A **sum** streams: updates are accumulated one by one into a
/// [`crate::Partial`], parts are merged, and the memory does not grow with the members. **Columns** need all updates: each
/// coordinate's values are seen together, in tiles of a few coordinates over the stored updates.
///
/// A rule of one's own is a type with this trait. This one believes a member by its reported accuracy:
///
/// ```
/// use nsfl_aggregate::{AggregateError, Allowed, Combine, Fact, Inputs, Rule, Rules};
/// use std::sync::Arc;
///
/// const ACCURACY: Fact = Fact { name: "accuracy", required: true, allowed: Allowed::NotNegative };
///
/// #[derive(Debug)]
/// struct ByAccuracy;
///
/// impl Rule for ByAccuracy {
///     fn name(&self) -> &'static str {
///         "by_accuracy"
///     }
///
///     fn facts(&self) -> Vec<Fact> {
///         vec![ACCURACY]
///     }
///
///     fn combine(&self, inputs: &Inputs<'_>) -> Result<Combine, AggregateError> {
///         let of = |numbers| Ok(ACCURACY.of("by_accuracy", numbers)?.unwrap_or(0.0));
///         let weights: Vec<f64> = inputs.numbers.iter().map(|numbers| of(*numbers)).collect::<Result<_, _>>()?;
///         let over = weights.iter().sum();
///         Ok(Combine::Sum { weights, times: 1.0, over, previous: 0.0 })
///     }
/// }
///
/// let rules = Rules::default().with("by_accuracy", |_params| Ok(Arc::new(ByAccuracy)));
/// let aggregation = rules.parse("by_accuracy", &Default::default(), 1.0).unwrap();
/// assert_eq!(aggregation.facts(), [ACCURACY]);
/// assert!(aggregation.check_numbers(&Default::default()).is_err());
/// ```
pub trait Rule: fmt::Debug + Send + Sync {
    /// Its name in a job document and in messages.
    fn name(&self) -> &'static str;

    /// What it needs of each member beside weight and update.
    fn facts(&self) -> Vec<Fact> {
        Vec::new()
    }

    /// What it must see of the updates before `combine`.
    fn pass(&self) -> Pass {
        Pass::None
    }

    /// Whether each member's whole update goes into the result, with whatever weight. Then what top-k leaves out of one update
    /// comes with a later one.
    fn takes_all(&self) -> bool {
        true
    }

    /// The slot in which it keeps its last result, if it does.
    fn previous(&self) -> Option<&'static str> {
        None
    }

    /// How it takes updates to an older model than the one it makes the next of.
    fn lateness(&self) -> Lateness {
        Lateness::None
    }

    /// Whether it works with so many members.
    ///
    /// # Errors
    /// Too few or too many, with the reason.
    fn check(&self, members: usize) -> Result<(), AggregateError> {
        if members == 0 { Err(AggregateError::NoMembers) } else { Ok(()) }
    }

    /// What becomes of a tensor of weights; for most rules all are combined.
    ///
    /// # Errors
    /// A model that the rule is not for.
    fn treat(&self, _model: &Layout, _tensor: usize) -> Result<Treat, AggregateError> {
        Ok(Treat::Combine)
    }

    /// How this round's members are combined.
    ///
    /// # Errors
    /// Members it cannot work with.
    fn combine(&self, inputs: &Inputs<'_>) -> Result<Combine, AggregateError>;
}

/// How a rule takes updates to an older model, whose staleness it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lateness {
    /// Not at all.
    None,
    /// Each counts for less by its staleness, beside those to the newest model.
    Weighed,
    /// It makes a model of so many updates, whatever models they are to.
    Buffered {
        /// K.
        k: usize,
        /// Largest staleness it takes.
        max_staleness: Option<usize>,
    },
}

/// What an update of staleness s counts: 1/√(1+s) (Nguyen et al. 2022, arXiv 2106.06639).
#[must_use]
pub fn staleness_weight(staleness: f64) -> f64 {
    1.0 / (1.0 + staleness).sqrt()
}

/// What a rule is told of a round: of each member, in canonical order. After a pre-aggregator that mixes members, of each
/// new vector, with equal weights and without numbers.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// Weights, all below 2: the members' own over a power of two.
    pub weights: &'a [f64],
    /// What each reported.
    pub numbers: &'a [&'a Metrics],
    /// What the rule asked to see by `pass`.
    pub geometry: Option<&'a Geometry>,
}

impl Inputs<'_> {
    /// How many members there are.
    #[must_use]
    pub fn members(&self) -> usize {
        self.weights.len()
    }

    /// The geometry that the rule asked for.
    ///
    /// # Errors
    /// None was given: a mistake of the caller.
    pub fn geometry(&self) -> Result<&Geometry, AggregateError> {
        self.geometry.ok_or(AggregateError::Mismatch("the rule was planned without the survey it asks for"))
    }
}

/// How members are combined.
#[derive(Debug, Clone)]
pub enum Combine {
    /// Δ = times / over · Σ weightᵢ·Δᵢ + previous · (last Δ).
    Sum {
        /// Of each member, ≥ 0.
        weights: Vec<f64>,
        /// Numerator of the common factor.
        times: f64,
        /// Its denominator.
        over: f64,
        /// What the rule's previous result counts.
        previous: f64,
    },
    /// Δ by coordinate, from all values of some members.
    Columns {
        /// Which members.
        members: Vec<usize>,
        /// From their values.
        each: Arc<dyn Columns>,
    },
}

impl Combine {
    /// The mean of some of `count` members.
    pub(crate) fn mean_of(count: usize, members: &[usize]) -> Self {
        let mut weights = vec![0.0; count];
        members.iter().for_each(|i| weights[*i] = 1.0);
        Self::Sum { weights, times: 1.0, over: crate::member::real(members.len()), previous: 0.0 }
    }
}

/// What becomes of a tensor of weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Treat {
    /// It is combined by the rule.
    Combine,
    /// It stays as it is.
    Keep,
    /// It becomes zero.
    Zero,
    /// It takes up products of two other tensors.
    Product(Product),
}

/// W + scaling·(Σ pᵢ BᵢAᵢ), or of that only what the product of the means lacks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Product {
    /// Index of A, rank × columns of W.
    pub a: usize,
    /// Index of B, rows of W × rank.
    pub b: usize,
    /// The factor.
    pub scaling: f64,
    /// Whether B̄Ā is taken off.
    pub residual: bool,
}
