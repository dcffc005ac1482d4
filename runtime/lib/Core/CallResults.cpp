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

Status CallFrame::takeResult(size_t index, DLManagedTensor *&out) {
  const TensorType &type = entry.results[index];
  const int64_t *from = descriptor(entry.args.size() + index);
  size_t rank = type.shape.size();
  size_t elementBytes = dtypeBytes(type.dtype);
  auto result = std::make_unique<Result>();
  result->memory = site.memory;
  result->extents.assign(from + 3, from + 3 + 2 * rank);
  int64_t *shape = result->extents.data(), *strides = shape + rank;
  std::string wrong = checkShape(type, shape, rank);
  std::optional<int64_t> count = countElements(shape, rank);
  if (!wrong.empty() || !count)
    return Status(MOERT_INTERNAL, wrong.empty() ? "too large" : wrong);

  DLTensor &tensor = result->managed.dl_tensor;
  tensor.data =
      reinterpret_cast<char *>(from[1]) + from[2] * int64_t(elementBytes);
  tensor.device = site.backend.device();
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
  } else if (!site.memory->keep(result->allocated)) {
    // A constant of the artifact or an argument: the caller gets a copy.
    size_t bytes = size_t(*count) * elementBytes;
    if (!tensor.data && bytes)
      return Status(MOERT_INTERNAL, "the entry did not set it");
    void *copy = site.memory->allocate(int64_t(bytes), 64);
    if (!copy)
      return Status(MOERT_OUT_OF_MEMORY, "cannot copy it");
    if (!site.backend.isAsynchronous())
      packTensor(tensor, elementBytes, static_cast<char *>(copy));
    else if (!isDense(tensor))
      return Status(MOERT_INTERNAL, "a view of memory that is not the entry's");
    else if (Status s = site.backend.copy(copy, tensor.data, bytes); !s.isOk())
      return s;
    site.memory->keep(copy);
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
