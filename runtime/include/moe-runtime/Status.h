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
#include "moe-runtime/ErrorDetails.h"

#include <cstdarg>
#include <memory>
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

/// A code, a message for people, and what programs can know of the error.
/// Errors travel as values; nothing in the runtime throws.
class [[nodiscard]] Status {
public:
  Status() = default;
  Status(moert_code code, std::string message)
      : errorCode(code), text(std::move(message)) {}

  static Status ok() { return {}; }

  bool isOk() const { return errorCode == MOERT_OK; }
  moert_code code() const { return errorCode; }
  const std::string &message() const { return text; }

  /// Empty ones when nothing is known.
  const ErrorDetails &details() const;

  /// The same error with `prefix` and ": " before its message.
  Status withPrefix(const std::string &prefix) const;
  /// The same with `what`, which also becomes the detail of this name.
  Status withSubject(const std::string &what) const;
  /// The same error with another message.
  Status withMessage(std::string message) const;
  /// The same error under another code.
  Status withCode(moert_code code) const;
  /// The same error with details that `edit` has changed.
  template <typename Edit> Status detailed(Edit edit) const {
    if (isOk())
      return *this;
    ErrorDetails changed = details();
    edit(changed);
    Status status = *this;
    status.known = std::make_shared<const ErrorDetails>(std::move(changed));
    return status;
  }
  /// The same error, of a value: what was expected, and what was seen.
  Status expecting(const std::string &expected, const std::string &seen) const;
  /// The same error, which concerns the rank `peer`.
  Status aboutPeer(int peer) const;
  /// The same error as `rank` reports it; it was first that of `origin`, -1 for
  /// itself unless an origin is known.
  Status of(int rank, int origin = -1) const;
  /// The same error with the details of `first`, of which it is a consequence.
  Status causedBy(const Status &first) const;

private:
  moert_code errorCode = MOERT_OK;
  std::string text;
  std::shared_ptr<const ErrorDetails> known;
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
