//===- Framework.h - the libraries whose arrays Python has ------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_PYTHON_RUNTIME_FRAMEWORK_H
#define MOE_PYTHON_RUNTIME_FRAMEWORK_H

#include "DLPackExchange.h"
#include "Tensor.h"
#include "Types.h"

#include <optional>

namespace moe::py {

/// What makes arrays: numpy, torch, CuPy, JAX, or the runtime itself.
class Framework {
public:
  virtual ~Framework() = default;
  /// Whether empty() works there.
  virtual bool allocatesOn(DLDevice device) const = 0;
  /// An array of the framework's own, uninitialized, on its current stream.
  virtual nanobind::object empty(const ElementType &type,
                                 const std::vector<int64_t> &shape,
                                 DLDevice device) = 0;
  /// An array in the memory of `tensor`.
  virtual nanobind::object wrap(const std::shared_ptr<Tensor> &tensor) = 0;
  /// The one whose arrays stand for tensors in host memory.
  virtual Framework &onHost() { return *this; }
  /// The stream that the framework uses on a GPU now, if it says so.
  virtual std::optional<void *> currentStream(int32_t device) {
    (void)device;
    return std::nullopt;
  }
};

/// How to get at the memory of objects of a type.
struct ArrayType {
  enum Access {
    None,
    Own,      ///< a Tensor
    Exchange, ///< C functions of the framework
    Buffer,   ///< the buffer protocol; `isNumpy` where there are more types
    DLPack    ///< the method __dlpack__
  };
  Access access = None;
  bool isNumpy = false;
  const ExchangeApi *api = nullptr;
  Framework *framework = nullptr;
};

/// That of the object's type, which is found out once.
ArrayType arrayTypeOf(nanobind::handle object);

/// Of arrays for which no other one is known: numpy on the host, the runtime's
/// own tensors elsewhere.
Framework &defaultFramework();

} // namespace moe::py

#endif // MOE_PYTHON_RUNTIME_FRAMEWORK_H
