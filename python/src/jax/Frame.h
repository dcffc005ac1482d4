//===- Frame.h - reads a call of XLA's --------------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_PYTHON_JAX_FRAME_H
#define MOE_PYTHON_JAX_FRAME_H

#include "XlaFfi.h"

#include "moe-runtime/Runtime.h"

#include <string>
#include <utility>
#include <vector>

namespace moe::py {

/// What is said in a program of the call: the same on all devices.
struct XlaSite {
  int64_t exchange = 0;
  std::string entry, fingerprint;
};

/// Tensors in the buffers of a call. It does not need the frame any more.
class XlaTensors {
public:
  /// Leaves out the first `numSkipped` arguments. False when XLA's type of a
  /// buffer is none of ours.
  bool read(const xla::CallFrame &frame, DLDevice device, int64_t numSkipped);
  const std::vector<const DLTensor *> &inputs() const { return ins; }
  const std::vector<const DLTensor *> &outputs() const { return outs; }

private:
  bool read(const xla::Arguments &list, int64_t begin, DLDevice device,
            std::vector<DLTensor> &tensors, std::vector<const DLTensor *> &out);

  std::vector<std::vector<int64_t>> shapes;
  std::vector<DLTensor> inputTensors, outputTensors;
  std::vector<const DLTensor *> ins, outs;
};

/// False when attributes are missing.
bool readSite(const xla::Attributes &attributes, XlaSite &site);

/// An error with a message, for XLA.
xla::Error *makeXlaError(const xla::Api *api, xla::ErrorCode code,
                         const std::string &message);
/// XLA's code for an error of the runtime.
xla::ErrorCode xlaCodeOf(moert_code code);

/// A struct of arguments for a function of XLA's.
template <typename Args> Args argumentsFor(size_t size = sizeof(Args)) {
  Args args{};
  args.header.size = size;
  return args;
}

/// Whether a call only asks about the handler, and answers it. `stateType` is
/// of what the handler makes, or null.
bool answersMetadata(const xla::CallFrame &frame,
                     const xla::TypeId *stateType = nullptr);

} // namespace moe::py

#endif // MOE_PYTHON_JAX_FRAME_H
