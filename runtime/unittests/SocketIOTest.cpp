//===- SocketIOTest.cpp - bounded reads and writes of Unix sockets --------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Bootstrap/SocketIO.h"

#include "moe-runtime/Deadline.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <sys/socket.h>
#include <thread>

using namespace moe::rt;

static std::array<UniqueFd, 2> makePair(int type) {
  int pair[2] = {-1, -1};
  EXPECT_EQ(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair), 0);
  return {UniqueFd(pair[0]), UniqueFd(pair[1])};
}

/// The reader polls while the writer sends and leaves. With a single recvmsg
/// about one of a few thousand packets was lost on two CPUs.
TEST(SocketIO, PacketSentJustBeforeTheEndIsReceived) {
  // As many as come in some seconds: threads that yield to each other are slow
  // where others want the processors.
  constexpr int mostPairs = 200000;
  Deadline enough(10);
  std::atomic<bool> isOver{false};
  UniqueFd writersEnd;
  std::atomic<int> given{0}, taken{0};
  std::thread writer([&] {
    std::array<char, 1000> packet{};
    for (int i = 1;; ++i) {
      while (given.load() < i && !isOver)
        std::this_thread::yield();
      if (given.load() < i)
        return;
      UniqueFd socket = std::move(writersEnd);
      taken = i;
      // At another moment of the reader's loop each time.
      for (volatile int wait = i % 256; wait > 0;)
        wait = wait - 1;
      EXPECT_EQ(
          sendSome(socket.get(), packet.data(), packet.size(), nullptr, 0),
          ssize_t(packet.size()));
    }
  });
  int lost = 0;
  for (int i = 1; i <= mostPairs && !enough.isOver(); ++i) {
    auto [ours, theirs] = makePair(SOCK_SEQPACKET);
    writersEnd = std::move(theirs);
    given = i;
    while (taken.load() < i)
      std::this_thread::yield();
    std::array<char, 1000> packet;
    std::deque<UniqueFd> fds;
    ssize_t bytes;
    do
      bytes = receiveSome(ours.get(), packet.data(), packet.size(), fds);
    while (bytes < 0 && errno == EAGAIN);
    lost += bytes != ssize_t(packet.size());
  }
  isOver = true;
  writer.join();
  EXPECT_EQ(lost, 0);
}

TEST(SocketIO, EndIsReportedOnceAllIsReceived) {
  for (int type : {SOCK_SEQPACKET, SOCK_STREAM}) {
    auto [ours, theirs] = makePair(type);
    std::array<char, 3> packet{'a', 'b', 'c'};
    std::deque<UniqueFd> fds;
    ASSERT_EQ(sendSome(theirs.get(), packet.data(), 3, nullptr, 0), 3);
    theirs.reset();
    std::array<char, 3> seen{};
    EXPECT_EQ(receiveSome(ours.get(), seen.data(), 3, fds), 3);
    EXPECT_EQ(seen, packet);
    EXPECT_EQ(receiveSome(ours.get(), seen.data(), 3, fds), 0);
  }
}

TEST(SocketIO, LastPacketOfOneThatHasNotReadAllIsReceived) {
  auto [ours, theirs] = makePair(SOCK_SEQPACKET);
  ASSERT_EQ(sendSome(ours.get(), "a", 1, nullptr, 0), 1);
  ASSERT_EQ(sendSome(theirs.get(), "b", 1, nullptr, 0), 1);
  theirs.reset();
  char letter = 0;
  std::deque<UniqueFd> fds;
  EXPECT_EQ(receiveSome(ours.get(), &letter, 1, fds), 1);
  EXPECT_EQ(letter, 'b');
  EXPECT_EQ(receiveSome(ours.get(), &letter, 1, fds), 0);
}

TEST(SocketIO, DescriptorsComeAlong) {
  auto [ours, theirs] = makePair(SOCK_SEQPACKET);
  auto [first, second] = makePair(SOCK_STREAM);
  int sent = first.get();
  ASSERT_EQ(sendSome(theirs.get(), "x", 1, &sent, 1), 1);
  theirs.reset();
  char letter = 0;
  std::deque<UniqueFd> fds;
  EXPECT_EQ(receiveSome(ours.get(), &letter, 1, fds), 1);
  ASSERT_EQ(fds.size(), 1u);
  // It is the same socket.
  ASSERT_EQ(sendSome(fds.front().get(), "y", 1, nullptr, 0), 1);
  EXPECT_EQ(receiveSome(second.get(), &letter, 1, fds), 1);
  EXPECT_EQ(letter, 'y');
}
