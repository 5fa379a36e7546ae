//! A running sum over one block of one tensor. Parts made apart can be merged; the order never shows.

use crate::fixed;
use crate::{AggregateError, Plan};
use nsfl_tensor::{Bf16, DType, F16, F32, F64};

/// The sum over some of a plan's members of one block of one tensor.
#[derive(Debug, Clone)]
pub struct Partial<'p> {
    plan: &'p Plan,
    tensor: usize,
    /// Bytes of a member's block.
    len: usize,
    members: usize,
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    /// Fixed-point sums, one an element.
    Sum(Vec<i64>),
    /// The largest integers so far.
    Max(Vec<u8>),
}

impl<'p> Partial<'p> {
    /// An empty sum for blocks of `len` bytes of the plan's `tensor`-th tensor.
    #[must_use]
    pub fn new(plan: &'p Plan, tensor: usize, len: usize) -> Self {
        let dtype = plan.layout().tensors()[tensor].dtype;
        let state = if dtype.is_float() { State::Sum(vec![0; len / dtype.size()]) } else { State::Max(Vec::new()) };
        Self { plan, tensor, len, members: 0, state }
    }

    /// Adds a member's block. Each member is to be added once; only their number is checked, in `finish`.
    ///
    /// # Errors
    /// A block of another length.
    pub fn accumulate(&mut self, member: usize, block: &[u8]) -> Result<(), AggregateError> {
        self.check_len(block)?;
        match &mut self.state {
            State::Sum(sums) => {
                let c = self.plan.coefficient(self.tensor, member);
                match self.plan.layout().tensors()[self.tensor].dtype {
                    DType::F64 => fixed::add::<F64, 8>(sums, c, block),
                    DType::F16 => fixed::add::<F16, 2>(sums, c, block),
                    DType::Bf16 => fixed::add::<Bf16, 2>(sums, c, block),
                    _ => fixed::add::<F32, 4>(sums, c, block),
                }
            }
            State::Max(max) if self.members == 0 => *max = block.to_vec(),
            State::Max(max) => raise(self.plan.layout().tensors()[self.tensor].dtype, max, block),
        }
        self.members += 1;
        Ok(())
    }

    /// Adds what another part has summed of the same block.
    ///
    /// # Errors
    /// A part of another block.
    pub fn merge(&mut self, other: Self) -> Result<(), AggregateError> {
        if (self.tensor, self.len) != (other.tensor, other.len) {
            return Err(AggregateError::Mismatch("parts of two different blocks were merged"));
        }
        match (&mut self.state, other.state) {
            (State::Sum(ours), State::Sum(theirs)) => {
                ours.iter_mut().zip(theirs).for_each(|(a, b)| *a = a.wrapping_add(b));
            }
            (State::Max(_), State::Max(_)) if other.members == 0 => {}
            (State::Max(ours), State::Max(theirs)) if self.members == 0 => *ours = theirs,
            (State::Max(ours), State::Max(theirs)) => {
                raise(self.plan.layout().tensors()[self.tensor].dtype, ours, &theirs);
            }
            _ => return Err(AggregateError::Mismatch("parts of two different plans were merged")),
        }
        self.members += other.members;
        Ok(())
    }

    /// Writes the new weights of the block: for floats `base + η·mean`, rounded once, for integers the maximum.
    ///
    /// # Errors
    /// Blocks of another length, or more or fewer members than planned.
    pub fn finish(&self, base: &[u8], out: &mut [u8]) -> Result<(), AggregateError> {
        self.check_len(base)?;
        self.check_len(out)?;
        if self.members != self.plan.members() {
            return Err(AggregateError::Mismatch("a block was finished with more or fewer members than planned"));
        }
        let factor = self.plan.factor(self.tensor);
        match (&self.state, self.plan.layout().tensors()[self.tensor].dtype) {
            (State::Max(max), _) => out.copy_from_slice(max),
            (State::Sum(sums), DType::F64) => fixed::finish::<F64, 8>(sums, self.members, factor, base, out),
            (State::Sum(sums), DType::F16) => fixed::finish::<F16, 2>(sums, self.members, factor, base, out),
            (State::Sum(sums), DType::Bf16) => fixed::finish::<Bf16, 2>(sums, self.members, factor, base, out),
            (State::Sum(sums), _) => fixed::finish::<F32, 4>(sums, self.members, factor, base, out),
        }
        Ok(())
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
