//===- RecoveryTest.cpp - Failures planted in a compilation ---------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CompileHook.h"

#include "moe-mlir-c/Compiler.h"
#include "moe-mlir-c/Recovery.h"

#include "mlir/CAPI/Support.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/ErrorHandling.h"
#include "llvm/Support/Process.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <new>

using namespace mlir;

static constexpr StringRef kModule = R"mlir(
shard.grid @ep(shape = 2)
func.func @exchange(%send: tensor<6x4xf32>, %counts: tensor<2xi32>)
    -> tensor<12x4xf32> {
  %recv, %n = moe.alltoallv %send, %counts on @ep
      : (tensor<6x4xf32>, tensor<2xi32>) -> (tensor<12x4xf32>, tensor<2xi32>)
  return %recv : tensor<12x4xf32>
}
)mlir";

namespace {
struct Outcome {
  bool isSuccess, isCrash;
  std::string error, output;
};
} // namespace

static Outcome compile() {
  MoeCompileResult result =
      moeCompile(wrap(kModule), wrap(StringRef("m.mlir")), 0, nullptr);
  llvm::scope_exit destroy([&] { moeCompileResultDestroy(result); });
  Outcome outcome{moeCompileResultIsSuccess(result),
                  moeCompileResultIsCrash(result), "",
                  unwrap(moeCompileResultGetOutput(result)).str()};
  if (moeCompileResultGetNumDiagnostics(result) > 0)
    outcome.error = unwrap(moeDiagnosticRecordGetMessage(
                               moeCompileResultGetDiagnostic(result, 0)))
                        .str();
  return outcome;
}

/// Compiles with `hook`, which fails at some pass, and again without.
static std::string failOnce(void (*hook)(StringRef)) {
  Outcome before = compile();
  EXPECT_TRUE(before.isSuccess) << before.error;
  moe::compileHook = hook;
  Outcome failed = compile();
  moe::compileHook = nullptr;
  EXPECT_FALSE(failed.isSuccess);
  EXPECT_TRUE(failed.isCrash);
  EXPECT_TRUE(failed.output.empty());
  Outcome after = compile();
  EXPECT_TRUE(after.isSuccess) << after.error;
  EXPECT_EQ(after.output, before.output);
  return failed.error;
}

TEST(RecoveryTest, FatalErrorIsReported) {
  EXPECT_EQ(failOnce([](StringRef pass) {
              if (pass == "moe-plan")
                llvm::report_fatal_error("no registers left");
            }),
            "the compiler came to a fatal error: no registers left, in pass "
            "'moe-plan'");
}

TEST(RecoveryTest, UsageErrorIsReported) {
  EXPECT_EQ(failOnce([](StringRef pass) {
              if (pass == "convert-moe-to-symm")
                llvm::reportFatalUsageError("no such register");
            }),
            "the compiler came to a fatal error: no such register, in pass "
            "'convert-moe-to-symm'");
}

TEST(RecoveryTest, SegmentationFaultIsReported) {
  EXPECT_EQ(failOnce([](StringRef pass) {
              int *volatile nowhere = nullptr;
              if (pass == "symm-assign-offsets")
                *nowhere = 1;
            }),
            "the compiler crashed: SIGSEGV (Segmentation fault), in pass "
            "'symm-assign-offsets'");
}

TEST(RecoveryTest, AbortIsReported) {
  EXPECT_EQ(failOnce([](StringRef pass) {
              if (pass == "moe-plan")
                std::abort();
            }),
            "the compiler crashed: SIGABRT (Aborted), in pass 'moe-plan'");
}

TEST(RecoveryTest, LackOfMemoryIsReported) {
  // What operator new throws is caught by nobody, and ends in an abort.
  EXPECT_EQ(failOnce([](StringRef pass) {
              volatile size_t size = size_t(1) << 60;
              if (pass == "moe-plan")
                ::operator delete(::operator new(size));
            }),
            "the compiler crashed: SIGABRT (Aborted), in pass 'moe-plan'");
}

TEST(RecoveryTest, ExitOfLLVMIsReported) {
  EXPECT_EQ(failOnce([](StringRef pass) {
              if (pass == "moe-plan")
                llvm::sys::Process::Exit(3);
            }),
            "the compiler tried to end the process with status 3, in pass "
            "'moe-plan'");
}

TEST(RecoveryTest, FatalErrorsOfManyCompilationsAreSurvived) {
  moe::compileHook = [](StringRef pass) {
    if (pass == "moe-plan")
      llvm::report_fatal_error("again");
  };
  for (int i = 0; i < 100; ++i)
    EXPECT_TRUE(compile().isCrash);
  moe::compileHook = nullptr;
  EXPECT_TRUE(compile().isSuccess);
}
