//===- CApiEntries.cpp - what entries take and return, in C ---------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CApiHandles.h"

using namespace moe::rt;

const char *moert_entry_name(const moert_entry *entry) {
  return entry ? entry->entry->description->name.c_str() : "";
}

size_t moert_entry_num_args(const moert_entry *entry) {
  return entry ? entry->entry->description->args.size() : 0;
}

size_t moert_entry_num_results(const moert_entry *entry) {
  return entry ? entry->entry->description->results.size() : 0;
}

template <typename Out>
static Status checkIndex(const std::vector<TensorType> &types, size_t index,
                         Out *out) {
  if (!out)
    return missing("out");
  if (index >= types.size())
    return makeError(MOERT_INVALID_ARGUMENT, "index %zu of %zu", index,
                     types.size());
  return Status::ok();
}

static Status findDevice(const moert_entry &entry,
                         const std::vector<TensorType> &types, size_t index,
                         DLDevice *out) {
  if (Status s = checkIndex(types, index, out); !s.isOk())
    return s;
  *out = types[index].isHost ? DLDevice{kDLCPU, 0}
                             : entry.context->device().device();
  return Status::ok();
}

static Status describe(const std::vector<TensorType> &types, size_t index,
                       moert_tensor_type *out) {
  if (Status s = checkIndex(types, index, out); !s.isOk())
    return s;
  const TensorType &type = types[index];
  *out = {toDLDataType(type.dtype), dtypeName(type.dtype),
          static_cast<int32_t>(type.shape.size()), type.isSymmetric ? 1 : 0,
          type.shape.data()};
  return Status::ok();
}

moert_code moert_entry_arg(const moert_entry *entry, size_t index,
                           moert_tensor_type *out) {
  return guarded([&] {
    return entry ? describe(entry->entry->description->args, index, out)
                 : missing("entry");
  });
}

moert_code moert_entry_result(const moert_entry *entry, size_t index,
                              moert_tensor_type *out) {
  return guarded([&] {
    return entry ? describe(entry->entry->description->results, index, out)
                 : missing("entry");
  });
}

moert_code moert_entry_arg_device(const moert_entry *entry, size_t index,
                                  DLDevice *out) {
  return guarded([&] {
    return entry
               ? findDevice(*entry, entry->entry->description->args, index, out)
               : missing("entry");
  });
}

moert_code moert_entry_result_device(const moert_entry *entry, size_t index,
                                     DLDevice *out) {
  return guarded([&] {
    return entry ? findDevice(*entry, entry->entry->description->results, index,
                              out)
                 : missing("entry");
  });
}
