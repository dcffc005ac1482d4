//===- ErrorDetails.cpp - what is known of an error -----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/ErrorDetails.h"

#include <algorithm>
#include <cstdlib>
#include <vector>

using namespace moe::rt;

/// ASCII's unit separator, which stands in no name and no text.
static constexpr char separator = '\x1f';

std::string moe::rt::encodeDetails(const ErrorDetails &details, size_t most) {
  std::string line;
  for (int number :
       {details.rank, details.origin, int(details.cause), details.peer})
    line += std::to_string(number) + separator;
  // The long ones last, so that a cut takes the end of one text only.
  for (const std::string *text :
       {&details.op, &details.phase, &details.location, &details.what,
        &details.expected, &details.seen}) {
    std::string plain = *text;
    std::replace(plain.begin(), plain.end(), separator, '?');
    line += plain + separator;
  }
  return line.substr(0, most);
}

ErrorDetails moe::rt::decodeDetails(const std::string &line) {
  std::vector<std::string> fields(1);
  for (char c : line) {
    if (c == separator)
      fields.emplace_back();
    else
      fields.back() += c;
  }
  fields.resize(10);
  auto number = [&](size_t index) {
    return fields[index].empty() ? -1 : std::atoi(fields[index].c_str());
  };
  ErrorDetails details;
  details.rank = number(0);
  details.origin = number(1);
  int cause = number(2);
  if (cause > MOERT_OK && cause <= MOERT_LAST_CODE)
    details.cause = static_cast<moert_code>(cause);
  details.peer = number(3);
  details.op = fields[4];
  details.phase = fields[5];
  details.location = fields[6];
  details.what = fields[7];
  details.expected = fields[8];
  details.seen = fields[9];
  return details;
}
