//===- Message.h - fields of messages between processes ---------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TOOLS_MOERUN_MESSAGE_H
#define MOE_TOOLS_MOERUN_MESSAGE_H

#include "moe-runtime/MessageSocket.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

namespace moe::run {

/// A JSON object that another process has sent. Whatever it has sent instead,
/// reading it throws nothing: fields are missing then.
class Message {
public:
  explicit Message(const std::string &text)
      : json(nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false)) {
  }

  bool has(const char *key) const {
    return json.is_object() && json.contains(key);
  }
  std::string text(const char *key) const {
    return has(key) && json[key].is_string() ? json[key].get<std::string>()
                                             : "";
  }
  double number(const char *key, double otherwise) const {
    return has(key) && json[key].is_number() ? json[key].get<double>()
                                             : otherwise;
  }
  int integer(const char *key, int otherwise) const {
    double value = number(key, otherwise);
    return std::abs(value) < 1e9 ? static_cast<int>(value) : otherwise;
  }
  /// An object within this one, as text.
  std::string part(const char *key) const;
  bool flag(const char *key) const {
    return has(key) && json[key].is_boolean() && json[key].get<bool>();
  }

private:
  nlohmann::json json;
};

/// A JSON text; bytes that are no UTF-8 are replaced.
inline std::string makeMessage(const nlohmann::json &json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// The same for connections whose messages have at most `mostBytes`: where
/// there is more, the ends of its longest texts are left out.
std::string makeShortMessage(nlohmann::json json,
                             size_t mostBytes = rt::MessageSocket::mostBytes);

} // namespace moe::run

#endif // MOE_TOOLS_MOERUN_MESSAGE_H
