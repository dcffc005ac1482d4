//===- PtxTokens.h - the words of PTX text ----------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_TESTS_DRIVER_PTXTOKENS_H
#define MOE_RUNTIME_TESTS_DRIVER_PTXTOKENS_H

#include <stdexcept>
#include <string>
#include <vector>

namespace moe::standin {

/// What is wrong with a text, and where.
struct PtxError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The words and signs of a text, without its comments, one after another.
class PtxTokens {
public:
  explicit PtxTokens(const std::string &text);

  bool isAtEnd() const { return at >= tokens.size(); }
  int line() const;
  /// The next one; empty at the end.
  const std::string &peek() const;
  std::string take();
  /// Takes the next one if it is `text`.
  bool accept(const char *text);
  void expect(const char *text);
  /// Past the next `text`.
  void skipTo(const char *text);
  [[noreturn]] void fail(const std::string &what) const;

private:
  struct Token {
    std::string text;
    int line;
  };
  std::vector<Token> tokens;
  size_t at = 0;
};

} // namespace moe::standin

#endif // MOE_RUNTIME_TESTS_DRIVER_PTXTOKENS_H
