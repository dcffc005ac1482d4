//===- StatusTest.cpp - tests of error values -----------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/Status.h"

#include <cerrno>
#include <gtest/gtest.h>
#include <memory>

using namespace moe::rt;

TEST(StatusTest, EveryCodeHasAName) {
  for (int code = MOERT_OK; code <= MOERT_LAST_CODE; ++code)
    EXPECT_STRNE(codeName(static_cast<moert_code>(code)), "UNKNOWN") << code;
  EXPECT_STREQ(codeName(MOERT_TIMEOUT), "TIMEOUT");
  EXPECT_STREQ(codeName(static_cast<moert_code>(1000)), "UNKNOWN");
}

TEST(StatusTest, MessagesOfAnyLength) {
  std::string longText(5000, 'x');
  EXPECT_EQ(makeError(MOERT_IO, "%s!", longText.c_str()).message(),
            longText + "!");
  EXPECT_EQ(format("%s", ""), "");
}

TEST(StatusTest, PrefixesGoOnErrorsOnly) {
  EXPECT_EQ(Status(MOERT_IO, "b").withPrefix("a").message(), "a: b");
  EXPECT_TRUE(Status::ok().withPrefix("a").isOk());
  EXPECT_EQ(Status::ok().withPrefix("a").message(), "");
}

TEST(StatusTest, SystemErrorsEndInTheirText) {
  EXPECT_EQ(makeOsError(MOERT_IO, ENOENT, "f%d", 1).message(),
            "f1: No such file or directory");
}

TEST(StatusTest, DetailsStayWithAnErrorThatGetsAnotherMessage) {
  Status status =
      Status(MOERT_TIMEOUT, "late").aboutPeer(3).expecting("5", "4");
  for (const Status &same : {status.withPrefix("here"), status.withMessage("x"),
                             status.withCode(MOERT_PEER_FAILED)}) {
    EXPECT_EQ(same.details().peer, 3);
    EXPECT_EQ(same.details().expected, "5");
    EXPECT_EQ(same.details().seen, "4");
  }
  EXPECT_EQ(status.details().rank, -1);
  EXPECT_EQ(status.of(1).details().origin, 1);
  EXPECT_EQ(status.of(1).of(2).details().origin, 1);
  Status later = Status(MOERT_PEER_FAILED, "y").causedBy(status).of(0, 2);
  EXPECT_EQ(later.details().cause, MOERT_TIMEOUT);
  EXPECT_EQ(later.details().origin, 2);
  EXPECT_EQ(later.details().rank, 0);
  EXPECT_EQ(later.details().seen, "4");
  EXPECT_TRUE(Status::ok().expecting("a", "b").details().seen.empty());
}

TEST(StatusTest, DetailsAsOneLine) {
  ErrorDetails details{1,
                       2,
                       MOERT_IO,
                       3,
                       "op",
                       "a.mlir:1",
                       "route",
                       "id",
                       "-1 to 7",
                       "1\x1f"
                       "2"};
  ErrorDetails read = decodeDetails(encodeDetails(details, 500));
  EXPECT_EQ(read.rank, 1);
  EXPECT_EQ(read.origin, 2);
  EXPECT_EQ(read.cause, MOERT_IO);
  EXPECT_EQ(read.peer, 3);
  EXPECT_EQ(read.op, "op");
  EXPECT_EQ(read.location, "a.mlir:1");
  EXPECT_EQ(read.phase, "route");
  EXPECT_EQ(read.what, "id");
  EXPECT_EQ(read.expected, "-1 to 7");
  EXPECT_EQ(read.seen, "1?2");
  // What is cut is not known, and nonsense tells nothing.
  EXPECT_EQ(decodeDetails(encodeDetails(details, 9)).op, "o");
  ErrorDetails none = decodeDetails("");
  EXPECT_EQ(none.rank, -1);
  EXPECT_EQ(none.peer, -1);
  EXPECT_EQ(none.cause, MOERT_OK);
  EXPECT_EQ(none.op, "");
}

TEST(StatusTest, ExpectedHoldsValuesThatOnlyMove) {
  Expected<std::unique_ptr<int>> value(std::make_unique<int>(3));
  ASSERT_TRUE(value.isOk());
  std::unique_ptr<int> taken = value.take();
  EXPECT_EQ(*taken, 3);
  Expected<int> error(Status(MOERT_IO, "x"));
  EXPECT_FALSE(error.isOk());
  EXPECT_EQ(error.status().code(), MOERT_IO);
}
