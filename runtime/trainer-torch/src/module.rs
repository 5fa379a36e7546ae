//! A TorchScript module: load, forward, its named tensors. The only file with unsafe code.
//!
//! tch's own `CModule` shows parameters but no buffers (a BatchNorm's running mean), and keeps its pointer to itself;
//! so this goes to the C functions below it, and to one of ours in `buffers.cpp`.
#![allow(unsafe_code, reason = "calls into libtorch; the proofs are in place")]

use crate::error::{TorchError, words};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::ptr::NonNull;
use tch::{Device, TchError, Tensor};
use torch_sys::{C_tensor, CModule_};

type Named = Vec<(String, Tensor)>;
type Visit = extern "C" fn(*mut c_void, *const c_char, *mut C_tensor);

unsafe extern "C" {
    fn nsfl_named_buffers(module: *mut CModule_, data: *mut c_void, visit: Visit) -> c_int;
}

/// Owns a `torch::jit::script::Module`.
pub(crate) struct Module(NonNull<CModule_>);

impl Module {
    /// Loads what `torch.jit.script(…).save` or `torch.jit.trace(…).save` wrote.
    pub(crate) fn load(path: &Path, device: Device) -> Result<Self, TorchError> {
        let failed = |problem: String| TorchError::Module { path: path.to_owned(), problem };
        if let Err(source) = std::fs::File::open(path) {
            return Err(TorchError::Missing { path: path.to_owned(), source });
        }
        let name = CString::new(path.as_os_str().as_bytes()).map_err(|e| failed(format!("is no file name: {e}")))?;
        let index = match device {
            Device::Cuda(index) => c_int::try_from(index).unwrap_or(0),
            _ => -1,
        };
        // SAFETY: `name` is a C string that lives through the call, which only reads it.
        let raw = unsafe { torch_sys::atm_load_on_device(name.as_ptr(), index) };
        checked().map_err(|e| failed(format!("is not a TorchScript module: {}", words(&e))))?;
        NonNull::new(raw).map(Self).ok_or_else(|| failed("is not a TorchScript module".to_owned()))
    }

    /// Training mode or evaluation mode: dropout and batch normalisation differ.
    pub(crate) fn set_training(&mut self, training: bool) -> Result<(), TorchError> {
        // SAFETY: the pointer came from `atm_load_on_device` and is freed in `drop` only.
        unsafe { if training { torch_sys::atm_train(self.0.as_ptr()) } else { torch_sys::atm_eval(self.0.as_ptr()) } }
        Ok(checked()?)
    }

    /// The module's `forward` on a batch.
    pub(crate) fn forward(&self, inputs: &Tensor) -> Result<Tensor, TorchError> {
        let inputs = [inputs.as_ptr().cast_mut()];
        // SAFETY: the module is alive as above; `inputs` is an array of one pointer to a tensor that the caller
        // borrows to us; libtorch copies the handle and does not write through the pointer.
        let raw = unsafe { torch_sys::atm_forward(self.0.as_ptr(), inputs.as_ptr(), 1) };
        checked()?;
        if raw.is_null() {
            return Err(TorchError::Computation("the module's forward gives no tensor".to_owned()));
        }
        // SAFETY: not null, and made for us by `atm_forward` with `new`: the tensor frees it.
        Ok(unsafe { Tensor::from_ptr(raw) })
    }

    /// By name; they share memory with the module.
    pub(crate) fn parameters(&self) -> Result<Named, TorchError> {
        let mut named = Named::new();
        // SAFETY: the module is alive; `collect` is called during this call only, with `data` as it is given here,
        // and nothing else uses `named` meanwhile.
        unsafe { torch_sys::atm_named_parameters(self.0.as_ptr(), (&raw mut named).cast(), collect) };
        checked()?;
        Ok(named)
    }

    /// By name; they share memory with the module.
    pub(crate) fn buffers(&self) -> Result<Named, TorchError> {
        let mut named = Named::new();
        // SAFETY: as for the parameters; `buffers.cpp` has the same contract and lets no exception out.
        let failed = unsafe { nsfl_named_buffers(self.0.as_ptr(), (&raw mut named).cast(), collect) };
        if failed == 0 { Ok(named) } else { Err(TorchError::Computation("out of memory".to_owned())) }
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        // SAFETY: made by `atm_load_on_device`, owned by us alone, not used again. Tensors of the module that live
        // on count references of their own.
        unsafe { torch_sys::atm_free(self.0.as_ptr()) }
    }
}

/// Receives a tensor. `data` is the `Named` of one of the two functions above, and nobody else's at this time.
extern "C" fn collect(data: *mut c_void, name: *const c_char, tensor: *mut C_tensor) {
    // SAFETY: both callers pass a `&mut Named` that lives through their call, a C string that lives through this one,
    // and a tensor made with `new` for us.
    let (named, name, tensor) = unsafe { (&mut *data.cast::<Named>(), CStr::from_ptr(name), Tensor::from_ptr(tensor)) };
    named.push((name.to_string_lossy().into_owned(), tensor));
}

/// What the last call left behind in this thread.
fn checked() -> Result<(), TchError> {
    // SAFETY: gives null, or a C string that `strdup` made and that is ours now: read once, then freed.
    unsafe {
        let raw = torch_sys::get_and_reset_last_err();
        if raw.is_null() {
            return Ok(());
        }
        let text = CStr::from_ptr(raw).to_string_lossy().into_owned();
        libc::free(raw.cast());
        Err(TchError::Torch(text))
    }
}
