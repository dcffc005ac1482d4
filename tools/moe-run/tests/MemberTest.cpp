//===- MemberTest.cpp - tests of messages between processes of a job ------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Member.h"
#include "Message.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

using namespace moe::rt;
using namespace moe::run;
using Json = nlohmann::json;

/// What the other end gets, on one host or from another one.
static std::string transfer(bool isRemote, const std::string &message) {
  int pair[2];
  int type = isRemote ? SOCK_STREAM : SOCK_SEQPACKET;
  EXPECT_EQ(socketpair(AF_UNIX, type | SOCK_NONBLOCK, 0, pair), 0);
  Member ends[2];
  for (int i = 0; i < 2; ++i)
    ends[i] = isRemote ? Member(UniqueFd(pair[i]), 60)
                       : Member(MessageSocket(UniqueFd(pair[i])));
  EXPECT_TRUE(ends[0].send(message));
  std::string text;
  std::deque<UniqueFd> fds;
  for (Deadline deadline(30); !deadline.isOver();) {
    ends[0].beat();
    if (ends[1].receive(text, fds) == MessageSocket::Message)
      return text;
    (void)poll(nullptr, 0, 1);
  }
  ADD_FAILURE() << "nothing has come";
  return "";
}

TEST(MemberTest, LongErrorsComeShortenedAndReadable) {
  for (const std::string &piece : {std::string("x"), std::string("\""),
                                   std::string("\1"), std::string("\xff")}) {
    std::string error = "rank 3: too long: ";
    while (error.size() < 200000)
      error += piece;
    Json report = {
        {"report", {{"origin", true}, {"error", error}, {"code", 7}}}};
    for (bool isRemote : {false, true}) {
      Message outer(transfer(isRemote, makeShortMessage(report)));
      ASSERT_TRUE(outer.has("report"));
      Message inner(outer.part("report"));
      EXPECT_EQ(inner.integer("code", 0), 7);
      EXPECT_TRUE(inner.flag("origin"));
      std::string text = inner.text("error");
      EXPECT_EQ(text.substr(0, 18), "rank 3: too long: ");
      EXPECT_EQ(text.substr(text.size() - 6), " [...]");
      EXPECT_GT(text.size(), 5000u);
    }
  }
}

TEST(MemberTest, WhatFitsStaysAsItIs) {
  Json json = {{"error", std::string(60000, 'x')}, {"rank", 1}};
  for (bool isRemote : {false, true})
    EXPECT_EQ(transfer(isRemote, makeShortMessage(json)), makeMessage(json));
}
