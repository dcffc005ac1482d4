//===- CApiOutputs.cpp - outputs of the caller's in C ---------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CApiHandles.h"

#include <algorithm>

using namespace moe::rt;

/// What a call and a launch have in common.
template <typename Run>
static moert_code runInto(moert_entry *entry, const DLTensor *const *inputs,
                          size_t num_inputs, const DLTensor *const *outputs,
                          size_t num_outputs, Run run) {
  return guarded([&]() -> Status {
    if (!entry || (num_inputs && !inputs) || (num_outputs && !outputs))
      return missing(!entry                  ? "entry"
                     : num_inputs && !inputs ? "inputs"
                                             : "outputs");
    return run(*entry->context, *entry->entry,
               std::vector<const DLTensor *>(inputs, inputs + num_inputs),
               std::vector<const DLTensor *>(outputs, outputs + num_outputs));
  });
}

using TensorPointers = std::vector<const DLTensor *>;

moert_code moert_entry_call_into(moert_entry *entry,
                                 const DLTensor *const *inputs,
                                 size_t num_inputs,
                                 const DLTensor *const *outputs,
                                 size_t num_outputs) {
  return runInto(entry, inputs, num_inputs, outputs, num_outputs,
                 [](Context &context, Entry &callee, const TensorPointers &in,
                    const TensorPointers &out) {
                   return context.callInto(callee, in, out);
                 });
}

moert_code moert_entry_launch_into(moert_entry *entry,
                                   const DLTensor *const *inputs,
                                   size_t num_inputs,
                                   const DLTensor *const *outputs,
                                   size_t num_outputs, void *stream) {
  return runInto(entry, inputs, num_inputs, outputs, num_outputs,
                 [stream](Context &context, Entry &callee,
                          const TensorPointers &in, const TensorPointers &out) {
                   return context.launchInto(callee, in, out, stream);
                 });
}

moert_code moert_entry_result_shape(const moert_entry *entry,
                                    const DLTensor *const *inputs,
                                    size_t num_inputs, size_t index,
                                    int64_t *shape) {
  return guarded([&]() -> Status {
    if (!entry || (num_inputs && !inputs) || !shape)
      return missing(!entry ? "entry" : !shape ? "shape" : "inputs");
    const Manifest::Entry &description = *entry->entry->description;
    if (index >= description.results.size())
      return makeError(MOERT_INVALID_ARGUMENT, "index %zu of %zu", index,
                       description.results.size());
    if (num_inputs != description.args.size())
      return makeError(MOERT_INVALID_ARGUMENT,
                       "entry '%s' has %zu arguments, but %zu were given",
                       description.name.c_str(), description.args.size(),
                       num_inputs);
    std::vector<int64_t> found;
    Status status = findResultShape(
        description, std::vector<const DLTensor *>(inputs, inputs + num_inputs),
        index, found);
    if (status.isOk())
      std::copy(found.begin(), found.end(), shape);
    return status;
  });
}
