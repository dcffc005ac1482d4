//===- call_cost.cpp - what a call through the C API costs ----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// moe-call-cost ARTIFACT CALLS
///
/// Calls the only entry of an artifact for the host, whose shapes are static,
/// on one rank: by moert_entry_launch, whose results are freed, and by
/// moert_entry_launch_into. Prints the median nanoseconds of either, of 15
/// rounds of CALLS calls. It is what python_overhead.py compares with.
///
//===----------------------------------------------------------------------===//

#include "moe-runtime/Runtime.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

static void check(moert_code code) {
  if (code == MOERT_OK)
    return;
  fprintf(stderr, "moe-call-cost: error: %s\n", moert_last_error());
  exit(1);
}

namespace {
/// A zeroed tensor in host memory.
struct Buffer {
  explicit Buffer(const moert_tensor_type &type)
      : shape(type.shape, type.shape + type.ndim) {
    size_t bytes = type.dtype.bits / 8;
    for (int64_t extent : shape)
      bytes *= size_t(extent);
    data.resize(bytes / 8 + 1);
    tensor.data = data.data();
    tensor.device = {kDLCPU, 0};
    tensor.dtype = type.dtype;
    tensor.ndim = type.ndim;
    tensor.shape = shape.data();
  }
  Buffer(Buffer &&) = default;
  std::vector<int64_t> shape;
  std::vector<double> data;
  DLTensor tensor{};
};
} // namespace

/// Median nanoseconds of a call.
static double measure(int calls, const std::function<void()> &call) {
  std::vector<double> rounds;
  for (int round = 0; round < 15; ++round) {
    auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < calls; ++i)
      call();
    std::chrono::duration<double, std::nano> passed =
        std::chrono::steady_clock::now() - begin;
    rounds.push_back(passed.count() / calls);
  }
  std::nth_element(rounds.begin(), rounds.begin() + 7, rounds.end());
  return rounds[7];
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: moe-call-cost ARTIFACT CALLS\n");
    return 2;
  }
  moert_context *context = nullptr;
  moert_artifact *artifact = nullptr;
  moert_entry *entry = nullptr;
  check(moert_context_create(nullptr, nullptr, &context));
  check(moert_artifact_load(context, argv[1], &artifact));
  check(moert_artifact_entry(artifact, nullptr, &entry));
  std::vector<Buffer> buffers;
  std::vector<const DLTensor *> inputs, outputs;
  size_t numInputs = moert_entry_num_args(entry);
  size_t numResults = moert_entry_num_results(entry);
  moert_tensor_type type;
  for (size_t i = 0; i < numInputs; ++i) {
    check(moert_entry_arg(entry, i, &type));
    buffers.emplace_back(type);
  }
  for (size_t i = 0; i < numResults; ++i) {
    check(moert_entry_result(entry, i, &type));
    buffers.emplace_back(type);
  }
  for (size_t i = 0; i < buffers.size(); ++i)
    (i < numInputs ? inputs : outputs).push_back(&buffers[i].tensor);
  int calls = atoi(argv[2]);
  std::vector<DLManagedTensor *> results(numResults);
  double launch = measure(calls, [&] {
    check(moert_entry_launch(entry, inputs.data(), numInputs, results.data(),
                             numResults, nullptr));
    for (DLManagedTensor *result : results)
      result->deleter(result);
  });
  double into = measure(calls, [&] {
    check(moert_entry_launch_into(entry, inputs.data(), numInputs,
                                  outputs.data(), numResults, nullptr));
  });
  printf("%.0f %.0f\n", launch, into);
  moert_context_destroy(context);
  return 0;
}
