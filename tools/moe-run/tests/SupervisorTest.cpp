//===- SupervisorTest.cpp - tests of who sees to it that all ranks end ----===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Supervisor.h"
#include "Message.h"
#include "moe-runtime/LaunchedJob.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <thread>

using namespace moe::rt;
using namespace moe::run;
using Json = nlohmann::json;

namespace {
/// A moe-run of another host, as far as the one of rank 0 sees it.
class Guest {
public:
  Guest(const std::string &invitation, int rank)
      : visit(JobVisit::create(invitation, rank, 30).take()) {
    Deadline deadline(30);
    UniqueFd socket;
    while (!(socket = visit->step()).isValid() && !deadline.isOver())
      (void)poll(nullptr, 0, 1);
    EXPECT_TRUE(socket.isValid()) << visit->error();
    member = Member(std::move(socket), 30);
    say({{"hello", "a guest"}});
  }

  void say(const Json &json) { (void)member.send(makeMessage(json)); }

  /// What is said up to a message that has `last`, or the end.
  std::vector<std::string> hearUntil(const char *last) {
    std::vector<std::string> heard;
    std::string text;
    std::deque<UniqueFd> fds;
    for (Deadline deadline(30); !deadline.isOver();) {
      member.beat();
      MessageSocket::Received received = member.receive(text, fds);
      if (received == MessageSocket::Nothing) {
        pollfd entry{member.fd(), POLLIN, 0};
        (void)poll(&entry, 1, deadline.sliceMs());
        continue;
      }
      if (received == MessageSocket::Closed) {
        heard.push_back("closed");
        return heard;
      }
      heard.push_back(text);
      if (Message(text).has(last))
        return heard;
    }
    heard.push_back("silence");
    return heard;
  }
  void leave() { member.close(); }

private:
  std::unique_ptr<JobVisit> visit;
  Member member;
};

/// A job whose ranks are all elsewhere.
class SupervisorTest : public testing::Test {
protected:
  void SetUp() override {
    setenv("MOE_HOST_INTERFACE", "lo", 1);
    ASSERT_TRUE(signals.block().isOk());
  }

  /// Supervises while `guests` runs.
  int supervise(int ranks,
                const std::function<void(const std::string &)> &guests) {
    auto listener = JobListener::create(ranks).take();
    LaunchedJob job;
    HostsSetup hosts{job, listener->invitation(), {}};
    Supervisor supervisor(options, signals, ranks);
    supervisor.hosts = &hosts;
    supervisor.speak = [&](const std::string &text) { said.push_back(text); };
    supervisor.awaitMembers(*listener);
    std::thread others([&] { guests(hosts.invitation); });
    std::vector<OutputFile> outputs;
    int exitCode = supervisor.superviseAll(outputs, -1);
    others.join();
    return exitCode;
  }

  Options options;
  Signals signals;
  std::vector<std::string> said;
};
} // namespace

using Heard = std::vector<std::string>;

TEST_F(SupervisorTest, WhoComesLateHearsWhatHasBecomeOfTheJob) {
  int exitCode = supervise(4, [](const std::string &invitation) {
    Guest first(invitation, 1);
    first.say(
        {{"report",
          {{"origin", true}, {"error", "rank 1: too hot"}, {"code", 3}}}});
    EXPECT_EQ(first.hearUntil("kill").back(), R"({"kill": true})");
    // The others are given up by now, but rank 1 has not ended yet.
    Guest second(invitation, 2);
    EXPECT_EQ(second.hearUntil("kill"), Heard{R"({"kill": true})"});
    first.say({{"ended", ""}, {"signal", 9}});
    EXPECT_EQ(first.hearUntil("end").back(), R"({"end":3})");
    EXPECT_EQ(second.hearUntil("end").back(), R"({"end":3})");
    // The verdict is there, but not all members have gone.
    Guest third(invitation, 3);
    EXPECT_EQ(
        third.hearUntil("end"),
        (Heard{R"({"spoken": true})", R"({"kill": true})", R"({"end":3})"}));
  });
  EXPECT_EQ(exitCode, 3);
  EXPECT_EQ(said, Heard{"rank 1: too hot"});
}

/// The error may name the rank that waits for one that is stopped.
TEST_F(SupervisorTest, RanksThatAreStoppedAreNamed) {
  supervise(5, [](const std::string &invitation) {
    std::vector<std::unique_ptr<Guest>> guests;
    for (int rank = 1; rank < 5; ++rank)
      guests.push_back(std::make_unique<Guest>(invitation, rank));
    for (int rank : {2, 3, 4})
      guests[rank - 1]->say({{"stopped", 19}});
    guests[3]->say({{"continued", true}});
    guests[0]->say(
        {{"report", {{"origin", true}, {"error", "rank 1: no answer"}}}});
    for (auto &guest : guests) {
      EXPECT_EQ(guest->hearUntil("kill").back(), R"({"kill": true})");
      guest->say({{"ended", ""}, {"signal", 9}});
    }
    for (auto &guest : guests)
      EXPECT_EQ(guest->hearUntil("end").back(), R"({"end":1})");
  });
  EXPECT_EQ(said, Heard{"rank 1: no answer; ranks 2 and 3 have been stopped by "
                        "signal 19 (Stopped (signal))"});
}
