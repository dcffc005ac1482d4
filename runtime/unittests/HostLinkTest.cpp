//===- HostLinkTest.cpp - tests of links between hosts --------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "HostGroup.h"
#include "Hosts/LinkMeeting.h"
#include "TestSupport.h"

#include <arpa/inet.h>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <poll.h>

using namespace moe::rt;
using namespace moe::rt::tests;

//===----------------------------------------------------------------------===//
// A link that the test has in its hands
//===----------------------------------------------------------------------===//

namespace {
/// Stands between the leader of a host and rank 0.
class Proxy {
public:
  Proxy() {
    listener = UniqueFd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t bytes = sizeof(address);
    auto *any = reinterpret_cast<sockaddr *>(&address);
    EXPECT_EQ(bind(listener.get(), any, bytes), 0);
    EXPECT_EQ(listen(listener.get(), 8), 0);
    EXPECT_EQ(getsockname(listener.get(), any, &bytes), 0);
    port = ntohs(address.sin_port);
    server = std::thread([this] { serve(); });
  }
  ~Proxy() {
    isOver = true;
    server.join();
  }

  /// What the leader is told instead of rank 0's place.
  void redirect(LinkInvitation &invitation) {
    target = invitation.port;
    invitation.port = port;
    invitation.numAddresses = 1;
    invitation.addresses[0] = findLinkAddresses("127.0.0.1")->front();
  }
  /// From now on nothing passes, and nobody is told.
  void hold() { isHeld = true; }
  /// Closes both connections.
  void cut() { isCut = true; }
  /// Something to the leader that no rank has sent.
  void speakNonsense() { hasNonsense = true; }

private:
  void serve() {
    UniqueFd ends[2];
    char buffer[4096];
    while (!isOver) {
      if (isCut)
        for (UniqueFd &end : ends)
          end.reset();
      pollfd entries[3] = {{listener.get(), POLLIN, 0},
                           {isHeld ? -1 : ends[0].get(), POLLIN, 0},
                           {isHeld ? -1 : ends[1].get(), POLLIN, 0}};
      (void)poll(entries, 3, 5);
      if (entries[0].revents & POLLIN) {
        ends[0] = UniqueFd(accept(listener.get(), nullptr, nullptr));
        ends[1] = UniqueFd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(uint16_t(target.load()));
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        EXPECT_EQ(connect(ends[1].get(), reinterpret_cast<sockaddr *>(&address),
                          sizeof(address)),
                  0);
      }
      if (hasNonsense.exchange(false)) {
        EXPECT_EQ(send(ends[0].get(), "nonsense, and more of it", 24, 0), 24);
      }
      for (int i : {0, 1}) {
        if (!(entries[1 + i].revents & (POLLIN | POLLHUP)))
          continue;
        ssize_t got = read(ends[i].get(), buffer, sizeof(buffer));
        if (got <= 0) {
          (void)shutdown(ends[1 - i].get(), SHUT_WR);
          ends[i] = UniqueFd();
        } else {
          (void)!send(ends[1 - i].get(), buffer, size_t(got), MSG_NOSIGNAL);
        }
      }
    }
  }

  UniqueFd listener;
  uint32_t port = 0;
  std::atomic<uint32_t> target{0};
  std::atomic<bool> isOver{false}, isHeld{false}, isCut{false};
  std::atomic<bool> hasNonsense{false};
  std::thread server;
};

/// A rank whose link goes through a proxy.
class Redirected : public Bootstrap {
public:
  Redirected(std::unique_ptr<Bootstrap> inner, Proxy &proxy)
      : inner(std::move(inner)), proxy(proxy) {}
  int rank() const override { return inner->rank(); }
  int size() const override { return inner->size(); }
  LocalGroup *localGroup() override { return inner->localGroup(); }
  Status allGather(const void *in, size_t bytes, void *out) override {
    inner->setTimeout(timeout);
    Status status = inner->allGather(in, bytes, out);
    // Nothing else is as large.
    if (bytes == sizeof(LinkInvitation))
      proxy.redirect(*static_cast<LinkInvitation *>(out));
    return status;
  }
  Status exchangeFds(int fd, std::vector<UniqueFd> &out) override {
    return inner->exchangeFds(fd, out);
  }

private:
  std::unique_ptr<Bootstrap> inner;
  Proxy &proxy;
};
} // namespace

/// Ranks of these hosts, of which the host of rank 1 has a proxy.
static void runBehindProxy(const Hosts &hosts,
                           const std::function<void(Context &, Proxy &)> &body,
                           double timeoutSeconds = 20) {
  Proxy proxy;
  int size = static_cast<int>(hosts.size());
  auto bootstraps = createThreadBootstraps(size);
  std::vector<std::thread> threads;
  for (int r = 0; r < size; ++r)
    threads.emplace_back([&, r] {
      std::unique_ptr<Bootstrap> mine = std::move(bootstraps[r]);
      if (r == 1)
        mine = std::make_unique<Redirected>(std::move(mine), proxy);
      auto context =
          Context::create(std::move(mine), optionsOf(hosts, r, timeoutSeconds));
      ASSERT_TRUE(context.isOk()) << context.status().message();
      body(**context, proxy);
    });
  for (std::thread &thread : threads)
    thread.join();
}

/// The error that the group ends with.
static Status awaitError(Context &context) {
  waitUntil("the error", [&] { return !context.check().isOk(); });
  return context.check();
}

/// All hosts hear of host-b; host-b itself has lost rank 0.
static void expectLostLink(Context &context, const std::string &why) {
  Status status = awaitError(context);
  EXPECT_EQ(status.code(), MOERT_PEER_FAILED);
  expectPart(status.message(), format("rank %d: ", context.rank()));
  bool isCutOff = context.rank() == 1;
  expectPart(status.message(), isCutOff ? "lost host host-a (rank 0)"
                                        : "lost host host-b (rank 1)");
  expectPart(status.message(), why);
  expectPart(status.message(), isCutOff ? "rank 0 was last seen not in a call"
                                        : "rank 1 was last seen not in a call");
  EXPECT_EQ(context.originRank(), isCutOff ? 0 : 1);
  EXPECT_EQ(status.details().peer, isCutOff ? 0 : 1);
  Status reset = context.reset();
  EXPECT_EQ(reset.code(), MOERT_PEER_FAILED);
  expectPart(reset.message(), "the group cannot be reset: lost host");
}

TEST(HostLinkTest, ALinkThatIsCut) {
  runBehindProxy("abc", [](Context &context, Proxy &proxy) {
    EXPECT_OK(context.boot().barrier());
    if (context.rank() == 1)
      proxy.cut();
    expectLostLink(context, "");
    EXPECT_OK(context.boot().barrier());
  });
}

TEST(HostLinkTest, ALinkThatBringsNothing) {
  runBehindProxy(
      "abc",
      [](Context &context, Proxy &proxy) {
        EXPECT_OK(context.boot().barrier());
        if (context.rank() == 1)
          proxy.hold();
        expectLostLink(context, "has brought nothing for 5 s");
        EXPECT_OK(context.boot().barrier());
      },
      /*timeoutSeconds=*/20);
}

TEST(HostLinkTest, NonsenseIsABrokenLink) {
  runBehindProxy("abc", [](Context &context, Proxy &proxy) {
    EXPECT_OK(context.boot().barrier());
    if (context.rank() == 1)
      proxy.speakNonsense();
    expectLostLink(context, context.rank() == 1 ? "carries nonsense" : "");
    EXPECT_OK(context.boot().barrier());
  });
}

/// Nothing is wrong with a connection that ends because the group does.
TEST(HostLinkTest, GoodbyesAreNoErrors) {
  for (int round = 0; round < 20; ++round)
    runBehindProxy("abcb", [&](Context &context, Proxy &) {
      // By turns, one of them is the first to leave.
      if (context.rank() == round % 4)
        return;
      waitUntil("it leaves",
                [&] { return context.control().hasLeft(round % 4); });
      EXPECT_OK(context.check());
    });
}

TEST(HostLinkTest, SilenceIsBounded) {
  EXPECT_EQ(HostLink::silenceSeconds(1), 2);
  EXPECT_EQ(HostLink::silenceSeconds(20), 5);
}

//===----------------------------------------------------------------------===//
// Threads
//===----------------------------------------------------------------------===//

static size_t countThreads() {
  size_t count = 0;
  for (const auto &entry :
       std::filesystem::directory_iterator("/proc/self/task")) {
    (void)entry;
    ++count;
  }
  return count;
}

/// Threads that a group has besides its ranks, while it is there.
static void expectThreads(const Hosts &hosts, size_t expected) {
  size_t before = countThreads();
  runOnHosts(hosts, [&](Context &context) {
    EXPECT_OK(context.boot().barrier());
    if (context.rank() == 0) {
      EXPECT_EQ(countThreads(), before + hosts.size() + expected);
    }
    EXPECT_OK(context.boot().barrier());
  });
  EXPECT_EQ(countThreads(), before);
}

TEST(HostLinkTest, ThreadsEndWithTheContext) {
  expectThreads("aaa", 0);
  expectThreads("aabbc", 3);
}
