//===- CallFrame.h - tensors of one call ------------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LIB_CORE_CALLFRAME_H
#define MOE_RUNTIME_LIB_CORE_CALLFRAME_H

#include "moe-runtime/Backend.h"
#include "moe-runtime/Manifest.h"
#include "moe-runtime/SymmetricHeap.h"
#include "moe-runtime/SymmetricResults.h"

#include <memory>
#include <vector>

namespace moe::rt {

/// Where the tensors of a call may be.
struct CallSite {
  Backend &backend;
  std::shared_ptr<Memory> memory;
  const SymmetricHeap &heap;
  /// Of the artifact, which the call writes to, but for results of its other
  /// entries.
  SymmetricResults &workspace;
  bool waits; ///< the caller waits until the call is done
};

/// The memref descriptors an entry gets, and the way from and to DLPack.
class CallFrame {
public:
  CallFrame(const Manifest::Entry &entry, CallSite site);

  /// Checks the inputs against the entry. Strided or misaligned ones are
  /// copied, since generated code expects dense row-major arguments.
  Status setInputs(const std::vector<const DLTensor *> &inputs);

  /// ", argument 0 at offset 512" for symmetric arguments, which are at the
  /// same offset on all ranks.
  const std::string &symmetricText() const { return offsets; }

  /// One pointer per descriptor, arguments first.
  void **args() { return pointers.data(); }

  /// Turns the result descriptors into tensors that own their memory.
  Status takeResults(std::vector<DLManagedTensor *> &outputs);

private:
  int64_t *descriptor(size_t index) {
    return static_cast<int64_t *>(pointers[index]);
  }
  Status setInput(size_t index, const DLTensor *input);
  Status checkSymmetric(size_t index, const DLTensor &input, size_t bytes);
  Status bring(const DLTensor &input, size_t elementBytes, size_t bytes,
               const char *&data);
  Status takeResult(size_t index, DLManagedTensor *&out);

  const Manifest::Entry &entry;
  CallSite site;
  std::string offsets;
  /// The descriptors, one after another: allocated, aligned, offset, sizes,
  /// strides, all of them 8 bytes wide.
  std::vector<int64_t> words;
  std::vector<void *> pointers;
};

/// Copies a strided tensor to dense row-major memory.
void packTensor(const DLTensor &tensor, size_t elementBytes, char *out);

/// Whether the tensor is dense and row-major.
bool isDense(const DLTensor &tensor);

/// Calls the deleter of each.
void deleteTensors(std::vector<DLManagedTensor *> &tensors);

} // namespace moe::rt

#endif // MOE_RUNTIME_LIB_CORE_CALLFRAME_H
