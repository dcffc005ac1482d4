//===- CallGuardTest.cpp - tests of why a call's exchange ends ------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "../lib/Core/CallGuard.h"

#include <functional>
#include <gtest/gtest.h>
#include <thread>

using namespace moe::rt;

namespace {
/// A transport that moves nothing and reports `broken`.
class SilentExchanger : public Exchanger {
public:
  const char *name() const override { return "nothing"; }
  Status allGather(const std::vector<MessageBuffers> &, const StreamRef &,
                   ExchangeGuard &) override {
    return Status::ok();
  }
  Status allToAll(const std::vector<MessageBuffers> &, const StreamRef &,
                  ExchangeGuard &) override {
    return Status::ok();
  }
  Status exchange(const std::vector<RowExchange> &, const StreamRef &,
                  ExchangeGuard &) override {
    return Status::ok();
  }
  Status reset(Bootstrap &) override { return Status::ok(); }
  Status poll() override { return broken; }

  Status broken;
};
} // namespace

/// Runs `body` on rank 0 of two, which are threads and in one collective. Rank
/// 1 has ended it and left before, or stays until `body` has returned.
static void
runRank0(bool hasOtherLeft,
         const std::function<void(GroupControl &, SilentExchanger &)> &body) {
  std::vector<std::unique_ptr<Bootstrap>> ranks = createThreadBootstraps(2);
  std::vector<std::thread> threads;
  for (std::unique_ptr<Bootstrap> &rank : ranks)
    threads.emplace_back([&] {
      auto group = GroupControl::create(*rank);
      ASSERT_TRUE(group.isOk()) << group.status().message();
      (*group)->beginGroupOp({GroupOp::Call, 1, "a call", Status::ok()});
      (*group)->beginCollective("test.exchange", "guard.c:1:1", 0, 1);
      if (rank->rank() == 1 && hasOtherLeft) {
        (*group)->endCollective();
        (*group)->endCollectives(/*isQueued=*/false);
        (*group)->endGroupOp();
        (*group)->leave();
      }
      EXPECT_TRUE(rank->barrier().isOk());
      SilentExchanger exchanger;
      if (rank->rank() == 0)
        body(**group, exchanger);
      EXPECT_TRUE(rank->barrier().isOk());
    });
  for (std::thread &thread : threads)
    thread.join();
}

/// The last bytes of a rank that has left may show that it sent too few. That
/// error has no place yet, though the guard has just given one that has.
TEST(CallGuard, ErrorOfTheTransportAfterOneOfTheGuard) {
  runRank0(true, [](GroupControl &group, SilentExchanger &exchanger) {
    CallGuard guard(exchanger, group, 60);
    Status gone = guard.check(1);
    EXPECT_EQ(gone.code(), MOERT_PEER_FAILED) << gone.message();
    EXPECT_NE(gone.message().find("test.exchange at guard.c:1:1"),
              std::string::npos)
        << gone.message();
    EXPECT_TRUE(guard.gave(gone));
    EXPECT_FALSE(guard.gave(Status(MOERT_INVALID_COUNT, "rank 1 sends less")));
    EXPECT_FALSE(guard.gave(Status::ok()));
  });
}

TEST(CallGuard, ErrorThatTheTransportReports) {
  runRank0(false, [](GroupControl &group, SilentExchanger &exchanger) {
    CallGuard guard(exchanger, group, 60);
    EXPECT_TRUE(guard.check(1).isOk());
    exchanger.broken = Status(MOERT_INTERNAL, "an asynchronous error");
    Status broken = guard.check(1);
    EXPECT_EQ(broken.message(), "an asynchronous error");
    EXPECT_FALSE(guard.gave(broken));
  });
}

TEST(CallGuard, TimedOutWait) {
  runRank0(false, [](GroupControl &group, SilentExchanger &exchanger) {
    CallGuard guard(exchanger, group, 0.001);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    Status late = guard.check(1);
    EXPECT_EQ(late.code(), MOERT_TIMEOUT) << late.message();
    EXPECT_EQ(late.details().peer, 1);
    EXPECT_TRUE(guard.gave(late));
  });
}
