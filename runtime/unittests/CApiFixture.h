//===- CApiFixture.h - a context with local.so for tests of the C API -----===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// For programs that are linked against libmoe_runtime.so alone: no C++ of the
/// runtime is visible here, as in any program that embeds it.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_UNITTESTS_CAPIFIXTURE_H
#define MOE_RUNTIME_UNITTESTS_CAPIFIXTURE_H

#include "TestSupport.h"
#include "moe-runtime/Runtime.h"

#include <gtest/gtest.h>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#define ASSERT_MOERT(expr) ASSERT_EQ((expr), MOERT_OK) << moert_last_error()

/// A matrix of f32 in host memory: 0, 1, 2, ...
struct Matrix {
  Matrix(int64_t rows, int64_t cols) : shape{rows, cols} {
    values.resize(rows * cols);
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = float(i);
    tensor.device = {kDLCPU, 0};
    tensor.dtype = {kDLFloat, 32, 1};
    tensor.ndim = 2;
    tensor.shape = shape;
    tensor.data = values.data();
  }
  int64_t shape[2];
  std::vector<float> values;
  DLTensor tensor{};
};

/// The elements of a strided matrix.
inline std::vector<float> valuesOf(const DLTensor &tensor) {
  auto *data = reinterpret_cast<const float *>(
      static_cast<const char *>(tensor.data) + tensor.byte_offset);
  std::vector<float> values;
  for (int64_t i = 0; i < tensor.shape[0]; ++i)
    for (int64_t j = 0; j < tensor.shape[1]; ++j)
      values.push_back(data[i * tensor.strides[0] + j * tensor.strides[1]]);
  return values;
}

/// A group of one, with local.so.
class LocalArtifactTest : public ::testing::Test {
protected:
  void SetUp() override {
    ASSERT_MOERT(moert_context_create(nullptr, nullptr, &context));
    ASSERT_MOERT(
        moert_artifact_load(context, artifact("local").c_str(), &local));
  }
  void TearDown() override { moert_context_destroy(context); }
  moert_entry *entry(const char *name) {
    moert_entry *found = nullptr;
    EXPECT_EQ(moert_artifact_entry(local, name, &found), MOERT_OK);
    return found;
  }
  moert_context *context = nullptr;
  moert_artifact *local = nullptr;
};

/// Runs `body` in a child, which is to end by itself; what it returns says
/// whether all was well.
template <typename Body> void expectInChild(Body body) {
  pid_t child = fork();
  if (child == 0)
    _exit(body() ? 0 : 1);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

#endif // MOE_RUNTIME_UNITTESTS_CAPIFIXTURE_H
