//===- TestSupport.h - what several tests of the runtime use ----*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_UNITTESTS_TESTSUPPORT_H
#define MOE_RUNTIME_UNITTESTS_TESTSUPPORT_H

#include <gtest/gtest.h>
#include <string>

/// Path of a test artifact.
inline std::string artifact(const char *name) {
  return std::string(MOE_TEST_ARTIFACT_DIR) + "/" + name + ".so";
}

/// Expects a text to contain another one.
inline void expectPart(const std::string &text, const std::string &part) {
  EXPECT_NE(text.find(part), std::string::npos) << text;
}

#endif // MOE_RUNTIME_UNITTESTS_TESTSUPPORT_H
