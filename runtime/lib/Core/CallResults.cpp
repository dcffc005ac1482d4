//===- CallResults.cpp - results that a call makes ------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CallFrame.h"

using namespace moe::rt;

namespace {
/// A tensor that keeps its memory alive.
struct Result {
  DLManagedTensor managed{};
  std::vector<int64_t> extents; ///< sizes, then strides
  std::shared_ptr<Memory> memory;
  void *allocated = nullptr; ///< null for what is not the caller's to free
};
} // namespace

static void deleteResult(DLManagedTensor *tensor) {
  auto *result = static_cast<Result *>(tensor->manager_ctx);
  result->memory->free(result->allocated);
  delete result;
}

void moe::rt::deleteTensors(std::vector<DLManagedTensor *> &tensors) {
  for (DLManagedTensor *tensor : tensors)
    tensor->deleter(tensor);
  tensors.clear();
}

Status CallFrame::takeResults(std::vector<DLManagedTensor *> &outputs) {
  outputs.reserve(entry.results.size());
  for (size_t i = 0; i < entry.results.size(); ++i) {
    DLManagedTensor *tensor = nullptr;
    Status status = takeResult(i, tensor);
    if (!status.isOk()) {
      deleteTensors(outputs);
      return status.withPrefix(
          format("result %zu of entry '%s'", i, entry.name.c_str()));
    }
    outputs.push_back(tensor);
  }
  return Status::ok();
}

/// That the CPU may read a result which the manifest marks as the host's.
Status CallFrame::checkReadable(const int64_t *descriptor) const {
  if (site.memory == site.hostMemory ||
      !site.memory->has(reinterpret_cast<void *>(descriptor[0])))
    return Status::ok();
  return Status(MOERT_INTERNAL,
                "it is marked as the host's, but in memory of the device");
}

Status CallFrame::takeResult(size_t index, DLManagedTensor *&out) {
  const TensorType &type = entry.results[index];
  const std::shared_ptr<Memory> &memory = memoryOf(type);
  const int64_t *from = descriptor(entry.args.size() + index);
  size_t rank = type.shape.size();
  size_t elementBytes = dtypeBytes(type.dtype);
  auto result = std::make_unique<Result>();
  result->memory = memory;
  result->extents.assign(from + 3, from + 3 + 2 * rank);
  int64_t *shape = result->extents.data(), *strides = shape + rank;
  std::string wrong = checkShape(type, shape, rank);
  std::optional<int64_t> count = countElements(shape, rank);
  if (!wrong.empty() || !count)
    return Status(MOERT_INTERNAL, wrong.empty() ? "too large" : wrong);

  DLTensor &tensor = result->managed.dl_tensor;
  tensor.data =
      reinterpret_cast<char *>(from[1]) + from[2] * int64_t(elementBytes);
  tensor.device = type.isHost ? DLDevice{kDLCPU, 0} : site.backend.device();
  tensor.ndim = static_cast<int>(rank);
  tensor.dtype = toDLDataType(type.dtype);
  tensor.shape = shape;
  tensor.strides = strides;
  result->allocated = reinterpret_cast<void *>(from[0]);
  if (type.isSymmetric) {
    const char *data = static_cast<const char *>(tensor.data);
    size_t bytes = size_t(*count) * elementBytes;
    if (!site.heap.isInSlice(data, bytes))
      return Status(MOERT_INTERNAL, "it is not in the symmetric heap");
    site.workspace.note(entry, data, bytes);
    result->allocated = nullptr;
  } else if (!memory->keep(result->allocated)) {
    // A constant of the artifact or an argument: the caller gets a copy.
    size_t bytes = size_t(*count) * elementBytes;
    if (!tensor.data && bytes)
      return Status(MOERT_INTERNAL, "the entry did not set it");
    if (type.isHost)
      if (Status s = checkReadable(from); !s.isOk())
        return s;
    void *copy = memory->allocate(int64_t(bytes), 64);
    if (!copy)
      return Status(MOERT_OUT_OF_MEMORY, "cannot copy it");
    if (!isOnDevice(type))
      packTensor(tensor, elementBytes, static_cast<char *>(copy));
    else if (!isDense(tensor))
      return Status(MOERT_INTERNAL, "a view of memory that is not the entry's");
    else if (Status s = site.backend.copy(copy, tensor.data, bytes); !s.isOk())
      return s;
    memory->keep(copy);
    result->allocated = tensor.data = copy;
    int64_t stride = 1;
    for (size_t i = rank; i-- > 0; stride *= shape[i])
      strides[i] = stride;
  }
  result->managed.manager_ctx = result.get();
  result->managed.deleter = deleteResult;
  out = &result.release()->managed;
  return Status::ok();
}
