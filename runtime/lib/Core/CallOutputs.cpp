//===- CallOutputs.cpp - results in memory of the caller's ----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CallFrame.h"
#include "moe-runtime/Context.h"

using namespace moe::rt;

//===----------------------------------------------------------------------===//
// Shapes
//===----------------------------------------------------------------------===//

Status moe::rt::findResultShape(const Manifest::Entry &entry,
                                const std::vector<const DLTensor *> &inputs,
                                size_t index, std::vector<int64_t> &shape) {
  shape = entry.results[index].shape;
  const std::vector<Manifest::Extent> &extents = entry.resultExtents[index];
  for (size_t i = 0; i < extents.size(); ++i) {
    const Manifest::Extent &extent = extents[i];
    if (shape[i] >= 0)
      continue;
    shape[i] = extent.value;
    if (extent.argument < 0)
      continue;
    const DLTensor *input = inputs[extent.argument];
    size_t rank = entry.args[extent.argument].shape.size();
    if (!input || input->ndim < 0 || size_t(input->ndim) != rank ||
        !input->shape)
      return makeError(MOERT_INVALID_ARGUMENT,
                       "argument %d of entry '%s': expected a tensor of rank "
                       "%zu, from which result %zu has an extent",
                       extent.argument, entry.name.c_str(), rank, index);
    shape[i] = input->shape[extent.dimension];
  }
  return Status::ok();
}

//===----------------------------------------------------------------------===//
// Before the call
//===----------------------------------------------------------------------===//

Status CallFrame::setOutputs(const std::vector<const DLTensor *> &given) {
  if (given.size() != entry.results.size())
    return makeError(MOERT_INVALID_ARGUMENT,
                     "entry '%s' has %zu results, but %zu outputs were given",
                     entry.name.c_str(), entry.results.size(), given.size())
        .expecting(std::to_string(entry.results.size()),
                   std::to_string(given.size()));
  outputs.resize(given.size());
  for (size_t i = 0; i < given.size(); ++i) {
    Status status = setOutput(i, given[i]);
    if (status.isOk())
      status = checkOverlaps(i);
    if (!status.isOk())
      return status.withSubject(
          format("output %zu of entry '%s'", i, entry.name.c_str()));
  }
  return Status::ok();
}

static Status checkOutputDevice(const Backend &backend, const TensorType &type,
                                DLDevice given) {
  if (type.isHost)
    return checkOnHost(given);
  DLDevice mine = backend.device();
  if (given.device_type == mine.device_type &&
      (given.device_id == mine.device_id || mine.device_type == kDLCPU))
    return Status::ok();
  std::string expected = mine.device_type == kDLCPU
                             ? "in host memory"
                             : format("on device %d", mine.device_id);
  if (given.device_type == mine.device_type)
    return makeError(MOERT_INVALID_ARGUMENT,
                     "expected a tensor %s, got one on device %d",
                     expected.c_str(), given.device_id)
        .expecting(format("device %d", mine.device_id),
                   format("device %d", given.device_id));
  return makeError(MOERT_INVALID_ARGUMENT,
                   "expected a tensor %s, got DLPack device type %d",
                   expected.c_str(), int(given.device_type))
      .expecting(mine.device_type == kDLCPU
                     ? "host memory"
                     : format("device %d", mine.device_id),
                 format("DLPack device type %d", int(given.device_type)));
}

Status CallFrame::setOutput(size_t index, const DLTensor *tensor) {
  if (!tensor)
    return Status(MOERT_INVALID_ARGUMENT, "no tensor was given");
  TensorType type = entry.results[index];
  if (Status s = checkOutputDevice(site.backend, type, tensor->device);
      !s.isOk())
    return s;
  if (!acceptsDLDataType(type.dtype, tensor->dtype))
    return makeError(MOERT_INVALID_ARGUMENT, "expected element type %s, got %s",
                     dtypeName(type.dtype),
                     describeDLDataType(tensor->dtype).c_str())
        .expecting(dtypeName(type.dtype), describeDLDataType(tensor->dtype));
  size_t rank = tensor->ndim < 0 ? 0 : tensor->ndim;
  if (rank && !tensor->shape)
    return Status(MOERT_INVALID_ARGUMENT, "the tensor has no shape");
  if (Status s = findResultShape(entry, inputs, index, type.shape); !s.isOk())
    return s;
  std::string wrong = checkShape(type, tensor->shape, rank);
  if (!wrong.empty())
    return Status(MOERT_INVALID_ARGUMENT, wrong)
        .expecting(type.str(), describeShape(tensor->shape, rank));
  size_t elementBytes = dtypeBytes(type.dtype);
  std::optional<int64_t> count = countElements(tensor->shape, rank);
  if (!count || *count > INT64_MAX / int64_t(elementBytes))
    return makeError(MOERT_INVALID_ARGUMENT, "the shape %s is too large",
                     describeShape(tensor->shape, rank).c_str());
  if (!tensor->data && *count)
    return Status(MOERT_INVALID_ARGUMENT, "the tensor has no data");

  Output &output = outputs[index];
  output = {tensor, dataOf(*tensor), size_t(*count) * elementBytes};
  if (type.isSymmetric) {
    if (Status s = checkSymmetric(*tensor, output.bytes); !s.isOk())
      return s;
    offsets += format(", output %zu at offset %zu", index,
                      site.heap.offsetOf(output.data));
  }
  if (!isDense(*tensor))
    return Status(MOERT_INVALID_ARGUMENT,
                  "expected a dense row-major tensor, got one with other "
                  "strides");
  size_t alignment = alignmentOf(type);
  size_t rest = reinterpret_cast<uintptr_t>(output.data) % alignment;
  if (output.bytes && rest)
    return makeError(MOERT_INVALID_ARGUMENT,
                     "expected memory aligned to %zu bytes, got an address "
                     "that is %zu past a multiple of that",
                     alignment, rest);
  if (site.workspace.isWritten(entry, output.data, output.bytes))
    return Status(MOERT_INVALID_ARGUMENT,
                  "it lies in the workspace of the artifact, where this call "
                  "writes other things as well; give memory of "
                  "moert_symm_alloc");
  return Status::ok();
}

/// Whether a tensor has an element in these bytes, or one before and one
/// behind them.
static bool mayOverlap(const DLTensor &tensor, size_t elementBytes,
                       const char *data, size_t bytes) {
  int64_t low = 0, high = 1;
  for (int i = 0; i < tensor.ndim; ++i) {
    if (tensor.shape[i] == 0)
      return false;
    if (tensor.strides) {
      int64_t reach = (tensor.shape[i] - 1) * tensor.strides[i];
      (reach < 0 ? low : high) += reach;
    }
  }
  if (!tensor.strides)
    high = countElements(tensor.shape, tensor.ndim).value_or(0);
  auto begin = reinterpret_cast<uintptr_t>(dataOf(tensor)) +
               uintptr_t(low * int64_t(elementBytes));
  auto end = begin + uintptr_t((high - low) * int64_t(elementBytes));
  auto other = reinterpret_cast<uintptr_t>(data);
  return bytes && begin < other + bytes && other < end;
}

/// An entry reads its arguments while it writes its results.
Status CallFrame::checkOverlaps(size_t index) const {
  const Output &output = outputs[index];
  for (size_t i = 0; i < inputs.size(); ++i)
    if (mayOverlap(*inputs[i], dtypeBytes(entry.args[i].dtype), output.data,
                   output.bytes))
      return makeError(MOERT_INVALID_ARGUMENT,
                       "it shares memory with argument %zu", i);
  for (size_t i = 0; i < index; ++i)
    if (mayOverlap(*outputs[i].tensor, dtypeBytes(entry.results[i].dtype),
                   output.data, output.bytes))
      return makeError(MOERT_INVALID_ARGUMENT,
                       "it shares memory with output %zu", i);
  return Status::ok();
}

//===----------------------------------------------------------------------===//
// During the call
//===----------------------------------------------------------------------===//

void *CallFrame::given(int64_t index, int64_t bytes) {
  if (index < 0 || size_t(index) >= outputs.size() || bytes <= 0)
    return nullptr;
  Output &output = outputs[index];
  return output.bytes == size_t(bytes) ? output.data : nullptr;
}

Memory &CallFrame::memoryOfResult(int64_t index) {
  bool isKnown = index >= 0 && size_t(index) < entry.results.size();
  return isKnown ? *memoryOf(entry.results[size_t(index)]) : *site.memory;
}

void *CallFrame::takeGiven(int64_t index, int64_t bytes) {
  void *data = given(index, bytes);
  if (!data || outputs[index].isTaken)
    return nullptr;
  outputs[index].isTaken = true;
  return data;
}

//===----------------------------------------------------------------------===//
// After it
//===----------------------------------------------------------------------===//

Status CallFrame::storeResults() {
  for (size_t i = 0; i < outputs.size(); ++i)
    if (Status s = storeResult(i); !s.isOk())
      return s.withSubject(
          format("output %zu of entry '%s'", i, entry.name.c_str()));
  return Status::ok();
}

Status CallFrame::storeResult(size_t index) {
  const TensorType &type = entry.results[index];
  const Output &output = outputs[index];
  int64_t *from = descriptor(entry.args.size() + index);
  size_t rank = type.shape.size();
  int64_t *shape = from + 3;
  std::string wrong = checkShape(type, shape, rank);
  if (!wrong.empty())
    return Status(MOERT_INTERNAL, wrong);
  for (size_t i = 0; i < rank; ++i)
    if (shape[i] != output.tensor->shape[i])
      return makeError(MOERT_INVALID_ARGUMENT,
                       "expected shape %s, which is that of the result, got %s",
                       describeShape(shape, rank).c_str(),
                       describeShape(output.tensor->shape, rank).c_str())
          .expecting(describeShape(shape, rank),
                     describeShape(output.tensor->shape, rank));
  size_t elementBytes = dtypeBytes(type.dtype);
  DLTensor result = *output.tensor;
  result.data =
      reinterpret_cast<char *>(from[1]) + from[2] * int64_t(elementBytes);
  result.byte_offset = 0;
  result.shape = shape;
  result.strides = shape + rank;
  if (result.data == output.data || output.bytes == 0)
    return Status::ok();
  if (!result.data)
    return Status(MOERT_INTERNAL, "the entry did not set it");
  if (type.isHost)
    if (Status s = checkReadable(from); !s.isOk())
      return s;
  if (!isOnDevice(type))
    packTensor(result, elementBytes, output.data);
  else if (!isDense(result))
    return Status(MOERT_INTERNAL, "a view of memory that is not the entry's");
  else if (Status s = site.backend.copy(output.data, result.data, output.bytes);
           !s.isOk())
    return s;
  return Status::ok();
}
