//===- Message.cpp - fields of messages between processes -----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Message.h"

using namespace moe::run;
using Json = nlohmann::json;

std::string Message::part(const char *key) const {
  return has(key) ? makeMessage(json[key]) : "";
}

/// The longest text in `json`, or null.
static std::string *findLongest(Json &json) {
  if (json.is_string())
    return json.get_ptr<std::string *>();
  if (!json.is_structured())
    return nullptr;
  std::string *longest = nullptr;
  for (Json &element : json)
    if (std::string *text = findLongest(element);
        text && (!longest || text->size() > longest->size()))
      longest = text;
  return longest;
}

std::string moe::run::makeShortMessage(Json json, size_t mostBytes) {
  static const std::string mark = " [...]";
  for (;;) {
    std::string message = makeMessage(json);
    std::string *longest = findLongest(json);
    if (message.size() <= mostBytes || !longest ||
        longest->size() <= 2 * mark.size())
      return message;
    longest->replace(longest->size() / 2, std::string::npos, mark);
  }
}
