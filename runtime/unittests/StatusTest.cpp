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

TEST(StatusTest, ExpectedHoldsValuesThatOnlyMove) {
  Expected<std::unique_ptr<int>> value(std::make_unique<int>(3));
  ASSERT_TRUE(value.isOk());
  std::unique_ptr<int> taken = value.take();
  EXPECT_EQ(*taken, 3);
  Expected<int> error(Status(MOERT_IO, "x"));
  EXPECT_FALSE(error.isOk());
  EXPECT_EQ(error.status().code(), MOERT_IO);
}
