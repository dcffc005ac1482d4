//===- GivenOutputs.cpp - results in memory of moe-run's own --------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "GivenOutputs.h"

#include <algorithm>

using namespace moe::rt;
using namespace moe::run;

Status GivenOutputs::findShapes(Context &context, Entry &entry,
                                const std::vector<const DLTensor *> &inputs) {
  const Manifest::Entry &description = *entry.description;
  shapes.resize(description.results.size());
  bool isKnown = true;
  for (size_t i = 0; i < shapes.size(); ++i) {
    if (Status s = findResultShape(description, inputs, i, shapes[i]);
        !s.isOk())
      return s;
    for (int64_t extent : shapes[i])
      isKnown &= extent >= 0;
  }
  if (isKnown)
    return Status::ok();
  std::vector<DLManagedTensor *> results;
  if (Status s = context.call(entry, inputs, results); !s.isOk())
    return s;
  for (size_t i = 0; i < results.size(); ++i) {
    const DLTensor &result = results[i]->dl_tensor;
    shapes[i].assign(result.shape, result.shape + result.ndim);
    results[i]->deleter(results[i]);
  }
  return Status::ok();
}

Status GivenOutputs::create(Context &context, Entry &entry,
                            const std::vector<const DLTensor *> &inputs) {
  if (Status s = findShapes(context, entry, inputs); !s.isOk())
    return s;
  for (size_t i = 0; i < shapes.size(); ++i) {
    const TensorType &type = entry.description->results[i];
    DLTensor view{};
    view.device = type.isHost ? DLDevice{kDLCPU, 0} : context.device().device();
    view.dtype = toDLDataType(type.dtype);
    view.ndim = static_cast<int32_t>(shapes[i].size());
    view.shape = shapes[i].data();
    size_t bytes =
        size_t(countElements(view.shape, shapes[i].size()).value_or(0)) *
        dtypeBytes(type.dtype);
    if (type.isSymmetric) {
      auto block = context.symmAlloc(bytes);
      if (!block.isOk())
        return block.status();
      view.data = *block;
    } else {
      Memory &memory = type.isHost ? context.hostMemory() : context.memory();
      view.data = memory.allocate(int64_t(bytes), 64);
      if (!view.data)
        return makeError(MOERT_OUT_OF_MEMORY,
                         "rank %d: output %zu: no room for %zu bytes",
                         context.rank(), i, bytes);
      memory.keep(view.data);
    }
    std::vector<unsigned char> bits(bytes, untouched);
    if (Status s = context.copyFromHost(view, bits.data(), bytes); !s.isOk())
      return s;
    views.push_back(view);
  }
  return Status::ok();
}

std::vector<const DLTensor *> GivenOutputs::pointers() const {
  std::vector<const DLTensor *> all;
  for (const DLTensor &view : views)
    all.push_back(&view);
  return all;
}
