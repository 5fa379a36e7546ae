// The buffers of a TorchScript module, which tch does not hand out (it has the parameters only).
#include <torch/script.h>

// Calls f once a buffer with a tensor that is then f's, sharing memory with the module. 0: done; else out of memory.
extern "C" int nsfl_named_buffers(torch::jit::script::Module *module, void *data,
                                  void (*f)(void *, const char *, torch::Tensor *)) {
  try {
    for (const auto &buffer : module->named_buffers()) {
      f(data, buffer.name.c_str(), new torch::Tensor(buffer.value));
    }
    return 0;
  } catch (...) {
    return 1;
  }
}
