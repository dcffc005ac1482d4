//===- Status.cpp - error values of the runtime ---------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/Status.h"

#include <cctype>
#include <cstdio>
#include <cstring>

using namespace moe::rt;

const char *moe::rt::codeName(moert_code code) {
  switch (code) {
  case MOERT_OK:
    return "OK";
  case MOERT_INVALID_ARGUMENT:
    return "INVALID_ARGUMENT";
  case MOERT_IO:
    return "IO";
  case MOERT_ABI_MISMATCH:
    return "ABI_MISMATCH";
  case MOERT_UNAVAILABLE:
    return "UNAVAILABLE";
  case MOERT_OUT_OF_MEMORY:
    return "OUT_OF_MEMORY";
  case MOERT_TIMEOUT:
    return "TIMEOUT";
  case MOERT_PEER_FAILED:
    return "PEER_FAILED";
  case MOERT_COLLECTIVE_MISMATCH:
    return "COLLECTIVE_MISMATCH";
  case MOERT_INVALID_EXPERT:
    return "INVALID_EXPERT";
  case MOERT_CAPACITY_EXCEEDED:
    return "CAPACITY_EXCEEDED";
  case MOERT_INVALID_COUNT:
    return "INVALID_COUNT";
  case MOERT_INTERNAL:
    return "INTERNAL";
  case MOERT_ASSERTION_FAILED:
    return "ASSERTION_FAILED";
  }
  return "UNKNOWN";
}

std::string moe::rt::codeText(moert_code code) {
  std::string text = codeName(code);
  for (char &c : text)
    c = c == '_' ? ' ' : static_cast<char>(std::tolower(c));
  return text;
}

static std::string formatArgs(const char *fmt, va_list args) {
  va_list again;
  va_copy(again, args);
  int length = std::vsnprintf(nullptr, 0, fmt, args);
  std::string text(length > 0 ? length : 0, '\0');
  if (length > 0)
    std::vsnprintf(text.data(), text.size() + 1, fmt, again);
  va_end(again);
  return text;
}

std::string moe::rt::format(const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  std::string text = formatArgs(fmt, args);
  va_end(args);
  return text;
}

const ErrorDetails &Status::details() const {
  static const ErrorDetails none;
  return known ? *known : none;
}

Status Status::withPrefix(const std::string &prefix) const {
  return isOk() ? *this : withMessage(prefix + ": " + text);
}

Status Status::withSubject(const std::string &what) const {
  return withPrefix(what).detailed(
      [&](ErrorDetails &details) { details.what = what; });
}

Status Status::withMessage(std::string message) const {
  Status status = *this;
  status.text = std::move(message);
  return status;
}

Status Status::withCode(moert_code code) const {
  Status status = *this;
  status.errorCode = code;
  return status;
}

Status Status::expecting(const std::string &expected,
                         const std::string &seen) const {
  return detailed([&](ErrorDetails &details) {
    details.expected = expected;
    details.seen = seen;
  });
}

Status Status::of(int rank, int origin) const {
  return detailed([&](ErrorDetails &details) {
    details.rank = rank;
    if (origin >= 0)
      details.origin = origin;
    else if (details.origin < 0)
      details.origin = rank;
  });
}

Status Status::causedBy(const Status &first) const {
  return detailed([&](ErrorDetails &details) {
    details = first.details();
    if (details.cause == MOERT_OK)
      details.cause = first.code();
  });
}

Status Status::aboutPeer(int peer) const {
  return detailed([&](ErrorDetails &details) { details.peer = peer; });
}

Status moe::rt::makeError(moert_code code, const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  std::string text = formatArgs(fmt, args);
  va_end(args);
  return Status(code, std::move(text));
}

Status moe::rt::makeOsError(moert_code code, int error, const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  std::string text = formatArgs(fmt, args);
  va_end(args);
  // The GNU strerror_r, which is thread-safe.
  char buffer[128];
  return Status(code, text + ": " + strerror_r(error, buffer, sizeof(buffer)));
}
