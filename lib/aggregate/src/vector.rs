//! Runs loops with the widest vectors that the machine has and the compiler turns them into. Knows no loop.

/// A loop. Its `run`, and what that calls, is to be `inline(always)`: what is not inlined is not compiled for wide vectors.
pub(crate) trait Kernel {
    /// What comes out of it.
    type Output;

    /// Runs it.
    fn run(self) -> Self::Output;
}

/// Short closures are inlined without being told to.
impl<R, F: FnOnce() -> R> Kernel for F {
    type Output = R;

    #[inline(always)]
    fn run(self) -> R {
        self()
    }
}

/// Runs `kernel`, compiled for AVX2 where the processor has it.
///
/// The numbers are the same either way: the loops are ordinary Rust, whose float operations the compiler neither fuses nor
/// reorders, so wider registers only do more of the same operations at once.
#[inline(always)]
pub(crate) fn vectorised<K: Kernel>(kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        #[allow(unsafe_code, reason = "a function for AVX2 may be called where the processor has it")]
        // SAFETY: `wide` needs nothing but AVX2, and the processor has just been asked for it.
        return unsafe { wide(kernel) };
    }
    kernel.run()
}

/// The kernel is inlined here, and so is compiled with what is enabled here.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn wide<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}
