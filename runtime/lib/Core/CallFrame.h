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
  std::shared_ptr<Memory> hostMemory; ///< the same on the host backend
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
  Status setInputs(const std::vector<const DLTensor *> &given);

  /// Checks the tensors that the call writes its results to, as far as that is
  /// possible before it. After setInputs.
  Status setOutputs(const std::vector<const DLTensor *> &outputs);

  /// \name Memory of the caller's for results
  /// Null when it has given none of that many bytes for result `index`.
  /// @{
  void *given(int64_t index, int64_t bytes);
  /// The same, once.
  void *takeGiven(int64_t index, int64_t bytes);
  /// @}

  /// What memory of result `index` comes from where the caller has given none.
  Memory &memoryOfResult(int64_t index);

  /// ", argument 0 at offset 512" for symmetric arguments, and for outputs of
  /// the caller's, which are at the same offset on all ranks.
  const std::string &symmetricText() const { return offsets; }

  /// One pointer per descriptor, arguments first.
  void **args() { return pointers.data(); }

  /// Turns the result descriptors into tensors that own their memory.
  Status takeResults(std::vector<DLManagedTensor *> &outputs);
  /// Brings what is not there yet to the outputs of the caller's.
  Status storeResults();

private:
  /// An output of the caller's.
  struct Output {
    const DLTensor *tensor = nullptr;
    char *data = nullptr;
    size_t bytes = 0;
    bool isTaken = false; ///< the entry has asked for the memory
  };
  int64_t *descriptor(size_t index) {
    return static_cast<int64_t *>(pointers[index]);
  }
  /// Whether generated code expects a tensor of that type in device memory.
  bool isOnDevice(const TensorType &type) const {
    return site.backend.isAsynchronous() && !type.isHost;
  }
  /// What kernels load with one instruction, or what the CPU loads.
  size_t alignmentOf(const TensorType &type) const {
    return isOnDevice(type) ? 16 : dtypeBytes(type.dtype);
  }
  const std::shared_ptr<Memory> &memoryOf(const TensorType &type) const {
    return type.isHost ? site.hostMemory : site.memory;
  }
  Status setInput(size_t index, const DLTensor *input);
  Status checkSymmetric(const DLTensor &tensor, size_t bytes);
  Status bring(const DLTensor &input, const TensorType &type, size_t bytes,
               const char *&data);
  Status takeResult(size_t index, DLManagedTensor *&out);
  Status checkReadable(const int64_t *descriptor) const;
  Status setOutput(size_t index, const DLTensor *tensor);
  Status checkOverlaps(size_t index) const;
  Status storeResult(size_t index);

  const Manifest::Entry &entry;
  CallSite site;
  std::vector<const DLTensor *> inputs; ///< as given
  std::vector<Output> outputs;          ///< empty when there are none
  std::string offsets;
  /// The descriptors, one after another: allocated, aligned, offset, sizes,
  /// strides, all of them 8 bytes wide.
  std::vector<int64_t> words;
  std::vector<void *> pointers;
};

/// Whether memory of that kind is the host's.
bool isHostMemory(DLDevice device);

/// That a tensor which the manifest marks as the host's is in such memory.
Status checkOnHost(DLDevice given);

/// Address of the first element.
inline char *dataOf(const DLTensor &tensor) {
  return static_cast<char *>(tensor.data) + tensor.byte_offset;
}

/// Copies a strided tensor to dense row-major memory.
void packTensor(const DLTensor &tensor, size_t elementBytes, char *out);

/// Whether the tensor is dense and row-major.
bool isDense(const DLTensor &tensor);

/// Calls the deleter of each.
void deleteTensors(std::vector<DLManagedTensor *> &tensors);

} // namespace moe::rt

#endif // MOE_RUNTIME_LIB_CORE_CALLFRAME_H
