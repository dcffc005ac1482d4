//===- Status.h - error values of the runtime -------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_STATUS_H
#define MOE_RUNTIME_STATUS_H

#include "moe-runtime/ArtifactABI.h"

#include <cstdarg>
#include <optional>
#include <string>
#include <utility>

namespace moe::rt {

/// Name of a code as it stands in ArtifactABI.h, without the prefix.
const char *codeName(moert_code code);
/// The same as words in a message: "capacity exceeded".
std::string codeText(moert_code code);

/// printf into a string.
std::string format(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/// A code and a message for people. Errors travel as values; nothing in the
/// runtime throws.
class [[nodiscard]] Status {
public:
  Status() = default;
  Status(moert_code code, std::string message)
      : errorCode(code), text(std::move(message)) {}

  static Status ok() { return {}; }

  bool isOk() const { return errorCode == MOERT_OK; }
  moert_code code() const { return errorCode; }
  const std::string &message() const { return text; }

  /// The same error with `prefix` and ": " before its message.
  Status withPrefix(const std::string &prefix) const;

private:
  moert_code errorCode = MOERT_OK;
  std::string text;
};

/// An error with a printf-style message.
Status makeError(moert_code code, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/// An error that ends in the text of `errno`.
Status makeOsError(moert_code code, int error, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/// A value, or the error that kept it from being made.
template <typename T> class [[nodiscard]] Expected {
public:
  Expected(T value) : held(std::move(value)) {}
  Expected(Status status) : error(std::move(status)) {}

  bool isOk() const { return held.has_value(); }
  const Status &status() const { return error; }
  T &operator*() { return *held; }
  const T &operator*() const { return *held; }
  T *operator->() { return &*held; }
  const T *operator->() const { return &*held; }
  T take() { return std::move(*held); }

private:
  std::optional<T> held;
  Status error;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_STATUS_H
