//===- CallFrame.cpp - tensors of one call --------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CallFrame.h"

#include <cstring>

using namespace moe::rt;

static_assert(sizeof(void *) == sizeof(int64_t));

//===----------------------------------------------------------------------===//
// Strided tensors
//===----------------------------------------------------------------------===//

bool moe::rt::isDense(const DLTensor &tensor) {
  if (!tensor.strides)
    return true;
  int64_t expected = 1;
  for (int i = tensor.ndim - 1; i >= 0; --i) {
    if (tensor.shape[i] == 0)
      return true;
    if (tensor.shape[i] != 1 && tensor.strides[i] != expected)
      return false;
    expected *= tensor.shape[i];
  }
  return true;
}

static void packDim(const DLTensor &tensor, int dim, size_t elementBytes,
                    const char *in, char *&out) {
  if (dim == tensor.ndim) {
    std::memcpy(out, in, elementBytes);
    out += elementBytes;
    return;
  }
  int64_t step = tensor.strides[dim] * static_cast<int64_t>(elementBytes);
  if (dim + 1 == tensor.ndim && tensor.strides[dim] == 1) {
    std::memcpy(out, in, elementBytes * tensor.shape[dim]);
    out += elementBytes * tensor.shape[dim];
    return;
  }
  for (int64_t i = 0; i < tensor.shape[dim]; ++i)
    packDim(tensor, dim + 1, elementBytes, in + i * step, out);
}

void moe::rt::packTensor(const DLTensor &tensor, size_t elementBytes,
                         char *out) {
  const char *in = static_cast<const char *>(tensor.data) + tensor.byte_offset;
  int64_t count = countElements(tensor.shape, tensor.ndim).value_or(0);
  if (count == 0)
    return;
  if (isDense(tensor))
    std::memcpy(out, in, elementBytes * count);
  else
    packDim(tensor, 0, elementBytes, in, out);
}

//===----------------------------------------------------------------------===//
// Arguments
//===----------------------------------------------------------------------===//

CallFrame::CallFrame(const Manifest::Entry &entry, CallSite site)
    : entry(entry), site(std::move(site)) {
  auto wordsOf = [](const TensorType &type) {
    return 3 + 2 * type.shape.size();
  };
  size_t numWords = 0;
  for (const auto *types : {&entry.args, &entry.results})
    for (const TensorType &type : *types)
      numWords += wordsOf(type);
  words.resize(numWords);
  pointers.reserve(entry.args.size() + entry.results.size());
  int64_t *next = words.data();
  for (const auto *types : {&entry.args, &entry.results})
    for (const TensorType &type : *types) {
      pointers.push_back(next);
      next += wordsOf(type);
    }
}

Status CallFrame::setInputs(const std::vector<const DLTensor *> &given) {
  if (given.size() != entry.args.size())
    return makeError(MOERT_INVALID_ARGUMENT,
                     "entry '%s' has %zu arguments, but %zu were given",
                     entry.name.c_str(), entry.args.size(), given.size())
        .expecting(std::to_string(entry.args.size()),
                   std::to_string(given.size()));
  inputs = given;
  for (size_t i = 0; i < inputs.size(); ++i)
    if (Status s = setInput(i, inputs[i]); !s.isOk())
      return s.withSubject(
          format("argument %zu of entry '%s'", i, entry.name.c_str()));
  return Status::ok();
}

static void fillDescriptor(int64_t *descriptor, const void *data,
                           const int64_t *shape, size_t rank) {
  descriptor[0] = descriptor[1] = reinterpret_cast<int64_t>(data);
  descriptor[2] = 0;
  int64_t stride = 1;
  for (size_t i = rank; i-- > 0;) {
    descriptor[3 + i] = shape[i];
    descriptor[3 + rank + i] = stride;
    stride *= shape[i];
  }
}

bool moe::rt::isHostMemory(DLDevice device) {
  return device.device_type == kDLCPU || device.device_type == kDLCUDAHost;
}

Status moe::rt::checkOnHost(DLDevice given) {
  if (isHostMemory(given))
    return Status::ok();
  std::string got =
      given.device_type == kDLCUDA
          ? format("device %d", given.device_id)
          : format("DLPack device type %d", int(given.device_type));
  return makeError(MOERT_INVALID_ARGUMENT,
                   "expected a tensor in host memory, since the CPU uses it "
                   "during the call, got one on %s; copy it to the host, or "
                   "give host memory to write to",
                   got.c_str())
      .expecting("host memory", got);
}

/// Whether an argument may be in memory of this kind.
static Status checkDevice(const CallSite &site, const TensorType &type,
                          DLDevice given) {
  if (type.isHost)
    return checkOnHost(given);
  DLDevice mine = site.backend.device();
  if (given.device_type == mine.device_type) {
    if (given.device_id == mine.device_id || mine.device_type == kDLCPU)
      return Status::ok();
    return makeError(MOERT_INVALID_ARGUMENT,
                     "expected a tensor on device %d, got one on device %d",
                     mine.device_id, given.device_id)
        .expecting(format("device %d", mine.device_id),
                   format("device %d", given.device_id));
  }
  if (mine.device_type == kDLCPU)
    return makeError(MOERT_INVALID_ARGUMENT,
                     "expected a tensor in host memory, got DLPack device "
                     "type %d",
                     int(given.device_type))
        .expecting("host memory",
                   format("DLPack device type %d", int(given.device_type)));
  if (isHostMemory(given) && site.waits)
    return Status::ok();
  return makeError(MOERT_INVALID_ARGUMENT,
                   "expected a tensor on device %d%s, got DLPack device type "
                   "%d",
                   mine.device_id, site.waits ? " or in host memory" : "",
                   int(given.device_type))
      .expecting(format("device %d", mine.device_id),
                 format("DLPack device type %d", int(given.device_type)));
}

/// What arguments and outputs in symmetric memory have in common.
Status CallFrame::checkSymmetric(const DLTensor &tensor, size_t bytes) {
  const char *data = dataOf(tensor);
  if (!isDense(tensor))
    return Status(MOERT_INVALID_ARGUMENT,
                  "it has to be symmetric memory, which is dense");
  if (!site.heap.isInSlice(data, bytes))
    return Status(MOERT_INVALID_ARGUMENT,
                  "it has to be symmetric memory, but it is not in this "
                  "rank's slice of the symmetric heap");
  if (!site.heap.isInOneBlock(data, bytes))
    return makeError(MOERT_INVALID_ARGUMENT,
                     "it has %zu bytes from offset %zu of the symmetric heap, "
                     "which is more than one block that was given out",
                     bytes, site.heap.offsetOf(data));
  if (reinterpret_cast<uintptr_t>(data) % 16 != 0)
    return Status(MOERT_INVALID_ARGUMENT,
                  "it has to be symmetric memory aligned to 16 bytes");
  return Status::ok();
}

/// Gets memory of the call and fills it with the tensor's elements.
Status CallFrame::bring(const DLTensor &input, const TensorType &type,
                        size_t bytes, const char *&data) {
  size_t elementBytes = dtypeBytes(type.dtype);
  if (site.backend.isAsynchronous() && !isHostMemory(input.device) &&
      !isDense(input))
    return Status(MOERT_INVALID_ARGUMENT,
                  "a tensor on a device has to be dense and row-major");
  auto *packed = static_cast<char *>(
      memoryOf(type)->allocate(static_cast<int64_t>(bytes), 64));
  if (!packed)
    return makeError(MOERT_OUT_OF_MEMORY, "cannot allocate %zu bytes", bytes);
  data = packed;
  if (bytes == 0)
    return Status::ok();
  if (!isOnDevice(type)) {
    packTensor(input, elementBytes, packed);
    return Status::ok();
  }
  if (isDense(input))
    return site.backend.copy(packed, dataOf(input), bytes);
  // A copy from pageable memory has read it when it returns.
  std::vector<char> staged(bytes);
  packTensor(input, elementBytes, staged.data());
  return site.backend.copy(packed, staged.data(), bytes);
}

Status CallFrame::setInput(size_t index, const DLTensor *input) {
  const TensorType &type = entry.args[index];
  if (!input)
    return Status(MOERT_INVALID_ARGUMENT, "no tensor was given");
  size_t rank = input->ndim < 0 ? 0 : input->ndim;
  if (Status s = checkDevice(site, type, input->device); !s.isOk())
    return s;
  if (!acceptsDLDataType(type.dtype, input->dtype))
    return makeError(MOERT_INVALID_ARGUMENT, "expected element type %s, got %s",
                     dtypeName(type.dtype),
                     describeDLDataType(input->dtype).c_str())
        .expecting(dtypeName(type.dtype), describeDLDataType(input->dtype));
  if (rank && !input->shape)
    return Status(MOERT_INVALID_ARGUMENT, "the tensor has no shape");
  std::string wrong = checkShape(type, input->shape, rank);
  if (!wrong.empty())
    return Status(MOERT_INVALID_ARGUMENT, wrong)
        .expecting(type.str(), describeShape(input->shape, rank));
  size_t elementBytes = dtypeBytes(type.dtype);
  std::optional<int64_t> count = countElements(input->shape, rank);
  if (!count || *count > INT64_MAX / int64_t(elementBytes))
    return makeError(MOERT_INVALID_ARGUMENT, "the shape %s is too large",
                     describeShape(input->shape, rank).c_str());
  if (!input->data && *count)
    return Status(MOERT_INVALID_ARGUMENT, "the tensor has no data");

  size_t bytes = size_t(*count) * elementBytes;
  const char *data = dataOf(*input);
  bool isAligned = reinterpret_cast<uintptr_t>(data) % alignmentOf(type) == 0;
  bool isElsewhere = isOnDevice(type) && isHostMemory(input->device);
  if (type.isSymmetric) {
    if (Status s = checkSymmetric(*input, bytes); !s.isOk())
      return s;
    if (site.workspace.isWritten(entry, data, bytes))
      return Status(MOERT_INVALID_ARGUMENT,
                    "it lies where this call writes: a symmetric result of the "
                    "entry itself, or other memory of its artifact's "
                    "workspace; pass a copy in memory of moert_symm_alloc");
    offsets +=
        format(", argument %zu at offset %zu", index, site.heap.offsetOf(data));
  } else if (bytes == 0 || !isDense(*input) || !isAligned || isElsewhere ||
             site.workspace.isWritten(entry, data, bytes)) {
    if (Status s = bring(*input, type, bytes, data); !s.isOk())
      return s;
  }
  fillDescriptor(descriptor(index), data, input->shape, rank);
  return Status::ok();
}
