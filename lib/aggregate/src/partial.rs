//! A running sum over one block of one tensor. Parts made apart can be merged; the order never shows.

use crate::plan::Kind;
use crate::{AggregateError, Block, Plan, fixed};
use nsfl_compress::Update;
use nsfl_tensor::{Bf16, DType, F16, F32, F64};

/// The sum over some of a plan's members of one block of one tensor.
#[derive(Debug, Clone)]
pub struct Partial<'p> {
    plan: &'p Plan,
    tensor: usize,
    /// Bytes of a member's block.
    len: usize,
    members: usize,
    /// Members that were added and not passed over for a weight of 0.
    terms: usize,
    /// Fixed-point sums, one an element; empty for integers.
    sums: Vec<i64>,
    /// The largest integers so far.
    max: Vec<u8>,
}

/// What blocks of compressed updates are decoded into, some at a time.
pub(crate) type Decoded = [Vec<u8>; 4];

/// The same block of all updates.
pub(crate) struct Blocks<'a> {
    pub(crate) updates: &'a [Update<'a>],
    pub(crate) block: &'a Block,
}

impl Blocks<'_> {
    fn of<'b>(&'b self, update: usize, buffer: &'b mut Vec<u8>) -> &'b [u8] {
        self.updates[update].read(self.block.tensor, self.block.range.clone(), buffer)
    }
}

impl<'p> Partial<'p> {
    /// An empty sum for blocks of `len` bytes of the plan's `tensor`-th tensor.
    #[must_use]
    pub fn new(plan: &'p Plan, tensor: usize, len: usize) -> Self {
        let mut partial = Self::idle(plan);
        partial.reset(tensor, len);
        partial
    }

    /// One that is to be reset before it is used.
    pub(crate) fn idle(plan: &'p Plan) -> Self {
        Self { plan, tensor: 0, len: 0, members: 0, terms: 0, sums: Vec::new(), max: Vec::new() }
    }

    /// Empties it for another block, with the memory it has.
    pub fn reset(&mut self, tensor: usize, len: usize) {
        let dtype = self.plan.layout().tensors()[tensor].dtype;
        (self.tensor, self.len, self.members, self.terms) = (tensor, len, 0, 0);
        self.sums.clear();
        self.max.clear();
        if dtype.is_float() {
            self.sums.resize(len / dtype.size(), 0);
        }
    }

    /// Adds a member's block. Each member is to be added once; only their number is checked, in `finish`.
    ///
    /// # Errors
    /// A block of another length, or a tensor that the plan does not sum.
    pub fn accumulate(&mut self, member: usize, block: &[u8]) -> Result<(), AggregateError> {
        self.check_len(block)?;
        match self.plan.kind(self.tensor) {
            Kind::Max if self.members == 0 => self.max.extend_from_slice(block),
            Kind::Max => raise(self.dtype(), &mut self.max, block),
            Kind::Sum { .. } => self.add([self.plan.coefficient(self.tensor, member)], [block]),
            _ => return Err(AggregateError::Mismatch("a tensor that is no sum was accumulated")),
        }
        self.members += 1;
        Ok(())
    }

    /// Adds the block of every member, some at a time: the memory of several is waited for together.
    pub(crate) fn accumulate_all(&mut self, blocks: &Blocks<'_>, buffers: &mut Decoded) -> Result<(), AggregateError> {
        let members = self.plan.members();
        if !matches!(self.plan.kind(self.tensor), Kind::Sum { .. }) {
            return (0..members).try_for_each(|member| self.accumulate(member, blocks.of(member, &mut buffers[0])));
        }
        // who counts nothing is not read
        let (plan, tensor) = (self.plan, self.tensor);
        let of = |member| Some((plan.coefficient(tensor, member), member)).filter(|(c, _)| *c != 0.0);
        let mut counted = (0..members).filter_map(of);
        while let Some(first) = counted.next() {
            let rest = (counted.next(), counted.next(), counted.next());
            if let (Some(second), Some(third), Some(fourth)) = rest {
                let [a, b, c, d] = &mut *buffers;
                let four =
                    [blocks.of(first.1, a), blocks.of(second.1, b), blocks.of(third.1, c), blocks.of(fourth.1, d)];
                self.check_len(four[0])?;
                self.add([first, second, third, fourth].map(|(c, _)| c), four);
            } else {
                for (c, member) in [Some(first), rest.0, rest.1, rest.2].into_iter().flatten() {
                    let block = blocks.of(member, &mut buffers[0]);
                    self.check_len(block)?;
                    self.add([c], [block]);
                }
            }
        }
        self.members = members;
        Ok(())
    }

    fn add<const J: usize>(&mut self, coefficients: [f64; J], blocks: [&[u8]; J]) {
        if coefficients == [0.0; J] {
            return;
        }
        self.terms += J;
        match self.dtype() {
            DType::F64 => fixed::add::<F64, 8, J>(&mut self.sums, coefficients, blocks),
            DType::F16 => fixed::add::<F16, 2, J>(&mut self.sums, coefficients, blocks),
            DType::Bf16 => fixed::add::<Bf16, 2, J>(&mut self.sums, coefficients, blocks),
            _ => fixed::add::<F32, 4, J>(&mut self.sums, coefficients, blocks),
        }
    }

    /// Adds what another part has summed of the same block.
    ///
    /// # Errors
    /// A part of another block.
    pub fn merge(&mut self, other: Self) -> Result<(), AggregateError> {
        if (self.tensor, self.len) != (other.tensor, other.len) || !std::ptr::eq(self.plan, other.plan) {
            return Err(AggregateError::Mismatch("parts of two different blocks were merged"));
        }
        self.sums.iter_mut().zip(&other.sums).for_each(|(a, b)| *a = a.wrapping_add(*b));
        if self.max.is_empty() {
            self.max = other.max;
        } else if !other.max.is_empty() {
            let dtype = self.dtype();
            raise(dtype, &mut self.max, &other.max);
        }
        self.members += other.members;
        self.terms += other.terms;
        Ok(())
    }

    /// Writes the new weights of the block: for floats `base + η·Δ`, rounded once, for integers the maximum.
    ///
    /// # Errors
    /// Blocks of another length, more or fewer members than planned, or a plan that does not stream.
    pub fn finish(&self, base: &[u8], out: &mut [u8]) -> Result<(), AggregateError> {
        self.check_len(base)?;
        self.check_len(out)?;
        self.check_members()?;
        if !self.plan.is_fused(self.tensor) {
            return Err(AggregateError::Mismatch("a block that the server optimizer moves was finished without it"));
        }
        let (sums, terms, factor) = (&self.sums, self.terms, self.plan.factor(self.tensor));
        match (self.plan.kind(self.tensor), self.dtype()) {
            (Kind::Max, _) => out.copy_from_slice(&self.max),
            (_, DType::F64) => fixed::finish::<F64, 8>(sums, terms, factor, base, out),
            (_, DType::F16) => fixed::finish::<F16, 2>(sums, terms, factor, base, out),
            (_, DType::Bf16) => fixed::finish::<Bf16, 2>(sums, terms, factor, base, out),
            _ => fixed::finish::<F32, 4>(sums, terms, factor, base, out),
        }
        Ok(())
    }

    /// Writes Δ of the block, for a server optimizer.
    pub(crate) fn delta(&self, out: &mut [f64]) -> Result<(), AggregateError> {
        self.check_members()?;
        fixed::deltas(&self.sums, self.terms, self.plan.factor(self.tensor), out);
        Ok(())
    }

    fn dtype(&self) -> DType {
        self.plan.layout().tensors()[self.tensor].dtype
    }

    fn check_members(&self) -> Result<(), AggregateError> {
        if self.members == self.plan.members() {
            Ok(())
        } else {
            Err(AggregateError::Mismatch("a block was finished with more or fewer members than planned"))
        }
    }

    fn check_len(&self, block: &[u8]) -> Result<(), AggregateError> {
        if block.len() == self.len {
            Ok(())
        } else {
            Err(AggregateError::Mismatch("a block has another length than planned"))
        }
    }
}

/// Element-wise maximum of integers, in place.
fn raise(dtype: DType, max: &mut [u8], block: &[u8]) {
    macro_rules! raise {
        ($int:ty) => {
            for (max, x) in max.as_chunks_mut().0.iter_mut().zip(block.as_chunks().0) {
                *max = <$int>::from_le_bytes(*max).max(<$int>::from_le_bytes(*x)).to_le_bytes();
            }
        };
    }
    match dtype {
        DType::I8 => raise!(i8),
        DType::I16 => raise!(i16),
        DType::U16 => raise!(u16),
        DType::I32 => raise!(i32),
        DType::U32 => raise!(u32),
        DType::I64 => raise!(i64),
        DType::U64 => raise!(u64),
        _ => raise!(u8),
    }
}
