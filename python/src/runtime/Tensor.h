//===- Tensor.h - memory of the runtime as Python sees it -------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_PYTHON_RUNTIME_TENSOR_H
#define MOE_PYTHON_RUNTIME_TENSOR_H

#include "Context.h"
#include "DLPackExchange.h"

#include <memory>
#include <vector>

namespace moe::py {

/// How often an entry has been called, which is how long its symmetric results
/// are valid.
struct CallCount {
  std::string entry;
  uint64_t calls = 0;
};

/// Memory that an array may outlive the group with. Needs no GIL.
class TensorMemory {
public:
  /// A result of a call, which frees itself, if the runtime gave it out; else
  /// memory of the group, of which this is a view.
  TensorMemory(ContextRef context, DLManagedTensor *result);
  ~TensorMemory();
  TensorMemory(const TensorMemory &) = delete;

private:
  ContextRef context; ///< null for memory that does not need it
  DLManagedTensor *result;
};

/// A tensor in memory of the runtime: on the host, on a GPU, or symmetric.
class Tensor {
public:
  /// A result of an entry. `stream` is the one that it is written on; null with
  /// `isOnStream` for the legacy one. `valid` for a symmetric result.
  Tensor(ContextRef context, DLManagedTensor *result, bool isSymmetric,
         std::shared_ptr<const CallCount> valid, bool isOnStream, void *stream);
  /// Symmetric memory.
  Tensor(ContextRef context, void *data, DLDataType dtype,
         std::vector<int64_t> shape);

  /// Raises when a later call of the entry has written over it, or what it
  /// lies in was freed.
  const DLTensor &use();
  bool isSymmetric() const { return symmetric; }
  bool isStale() const;
  const ContextRef &group() const { return context; }
  const std::shared_ptr<TensorMemory> &owner() const { return memory; }
  /// The tensor will be read in the order of `stream` from now on.
  void orderBy(void *stream, bool isKnown);
  void markFreed() { freed = true; }

  /// For another framework. The caller owns it.
  VersionedTensor *exportVersioned();
  DLManagedTensor *exportUnversioned();

  const DLTensor &peek() const { return tensor; }

private:
  ContextRef context;
  std::shared_ptr<TensorMemory> memory;
  DLTensor tensor{};
  std::vector<int64_t> shape, strides;
  bool symmetric;
  bool freed = false;
  bool isOnStream = false;
  void *stream = nullptr;
  std::shared_ptr<const CallCount> valid;
  uint64_t call = 0;
};

void bindTensor(nanobind::module_ &module);

} // namespace moe::py

#endif // MOE_PYTHON_RUNTIME_TENSOR_H
