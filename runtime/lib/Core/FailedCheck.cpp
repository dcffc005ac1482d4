//===- FailedCheck.cpp - what a check of generated code found -------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "FailedCheck.h"

using namespace moe::rt;

moert_code moe::rt::toCode(int64_t number) {
  bool isCode = number >= MOERT_OK && number <= MOERT_LAST_CODE;
  return isCode ? static_cast<moert_code>(number) : MOERT_INTERNAL;
}

static std::string expectedText(const FailedCheck &check) {
  auto least = static_cast<long long>(check.least);
  auto most = static_cast<long long>(check.most);
  if (check.least == check.most)
    return format("%lld", most);
  if (check.least == INT64_MIN)
    return format("at most %lld", most);
  if (check.most == INT64_MAX)
    return format("at least %lld", least);
  return format("%lld to %lld", least, most);
}

Status moe::rt::describeCheck(const std::string &where,
                              const FailedCheck &check) {
  std::string what = check.what;
  if (check.token >= 0)
    what += format(" of token %lld", static_cast<long long>(check.token));
  if (check.slot >= 0)
    what += format(", slot %lld", static_cast<long long>(check.slot));
  std::string text =
      format("%s: %s: %s: expected %s, seen %lld", where.c_str(),
             codeText(check.code).c_str(), what.c_str(),
             expectedText(check).c_str(), static_cast<long long>(check.seen));
  if (check.peer >= 0)
    text += format(", peer rank %lld", static_cast<long long>(check.peer));
  return Status(check.code, text).detailed([&](ErrorDetails &details) {
    details.what = what;
    details.expected = expectedText(check);
    details.seen = format("%lld", static_cast<long long>(check.seen));
    details.peer = static_cast<int>(check.peer);
  });
}
