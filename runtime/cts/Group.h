//===- Group.h - groups of ranks for the conformance suite ------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The suite is written against Context and Backend and knows no backend by
/// name. A backend's test program defines `backendUnderTest` and links the
/// suite. When the backend says MOERT_UNAVAILABLE, the tests are skipped with
/// its reason; any other error fails them.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_CTS_GROUP_H
#define MOE_RUNTIME_CTS_GROUP_H

#include "moe-runtime/Context.h"

#include <functional>
#include <gtest/gtest.h>

namespace moe::rt::cts {

/// What the backend's test program says of it.
struct BackendUnderTest {
  const char *name;
  /// Where its test artifacts are, below the folder of all.
  const char *artifactFolder;
  /// A number of ranks that is large for it.
  int manyRanks;
  /// Whether a process that has used it may fork ranks that use it.
  bool survivesFork;
  /// Keeps what is expensive about a context's device for the rest of the
  /// process, which has more groups to come; null when nothing is. Called by
  /// ranks in threads at the same time.
  void (*keepAlive)(Context &context);
  /// Whether the machine may have no transport for messages, which skips their
  /// tests.
  bool mayLackTransport;
};
extern const BackendUnderTest backendUnderTest;

enum class RankKind { Threads, Processes };

/// How the ranks of a group ended.
struct GroupResult {
  std::vector<int> exitCodes; ///< per rank, 128 + signal for a killed process
  std::vector<std::string> texts; ///< per rank, why; may be empty
  /// A rank has called `lackForTest`, so the test is skipped.
  bool isSkipped = false;
};

/// A rank says that its group lacks what the test needs. It prints `reason` and
/// goes on; when the group has ended, the test is skipped.
void lackForTest(const std::string &reason);

/// Runs `body` on `size` ranks of a new group. Test failures inside `body`
/// count, in processes too. Processes may be those of earlier groups (see
/// RankPool.h), unless some may die: such tests are in the suite ProcessTest,
/// which a pool leaves out.
GroupResult runGroup(RankKind kind, int size,
                     const std::function<void(Context &)> &body,
                     double timeoutSeconds = 20.0,
                     std::vector<int> mayDie = {});

/// A socket for each rank, and the other end of it; false when there is none.
bool makeSocketPairs(int size, std::vector<UniqueFd> &ours,
                     std::vector<UniqueFd> &theirs);

/// Whether there is a backend. Tries it once, in a child process.
const Status &backendStatus();

/// Skips or fails the test when there is no backend.
class BackendTest : public ::testing::Test {
protected:
  void SetUp() override;
};

/// For tests whose processes may die or are forked anew, which a pool leaves
/// out.
class ProcessTest : public BackendTest {};

/// For tests that run with threads and with processes.
class GroupTest : public BackendTest,
                  public ::testing::WithParamInterface<RankKind> {};

std::string kindName(const ::testing::TestParamInfo<RankKind> &info);

/// Path of a test artifact.
std::string artifactPath(const std::string &name);

/// Gives up after a while.
class TimeLimit : public WaitGuard {
public:
  explicit TimeLimit(double seconds)
      : deadline(nowNs() + int64_t(seconds * 1e9)) {}
  Status check(uint64_t seen) override {
    if (nowNs() < deadline)
      return Status::ok();
    return makeError(MOERT_TIMEOUT, "saw %llu", (unsigned long long)seen);
  }

private:
  int64_t deadline;
};

#define ASSERT_OK(expr)                                                        \
  do {                                                                         \
    ::moe::rt::Status okStatus = (expr);                                       \
    ASSERT_TRUE(okStatus.isOk())                                               \
        << ::moe::rt::codeName(okStatus.code()) << ": " << okStatus.message(); \
  } while (false)

} // namespace moe::rt::cts

#endif // MOE_RUNTIME_CTS_GROUP_H
