//===- GivenOutputs.h - results in memory of moe-run's own ------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TOOLS_MOERUN_GIVENOUTPUTS_H
#define MOE_TOOLS_MOERUN_GIVENOUTPUTS_H

#include "moe-runtime/Context.h"

#include <vector>

namespace moe::run {

/// Memory for all results of an entry, as a caller gives it. It stays until the
/// process ends.
class GivenOutputs {
public:
  /// What the memory holds before the first call, in every byte.
  static constexpr unsigned char untouched = 0xa5;

  /// Makes it for a call with these inputs. Collective. Where the artifact does
  /// not say a shape, a call without outputs tells it.
  rt::Status create(rt::Context &context, rt::Entry &entry,
                    const std::vector<const DLTensor *> &inputs);

  const std::vector<DLTensor> &tensors() const { return views; }
  std::vector<const DLTensor *> pointers() const;

private:
  rt::Status findShapes(rt::Context &context, rt::Entry &entry,
                        const std::vector<const DLTensor *> &inputs);

  std::vector<std::vector<int64_t>> shapes;
  std::vector<DLTensor> views;
};

} // namespace moe::run

#endif // MOE_TOOLS_MOERUN_GIVENOUTPUTS_H
