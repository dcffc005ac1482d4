//===- PtxTokens.cpp - the words of PTX text ------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PtxTokens.h"

#include <algorithm>
#include <cctype>
#include <cstring>

using namespace moe::standin;

static bool isWord(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) ||
         std::strchr("_$%.:", c) != nullptr;
}

PtxTokens::PtxTokens(const std::string &text) {
  int line = 1;
  for (size_t i = 0; i < text.size();) {
    char c = text[i];
    if (c == '\n')
      ++line;
    size_t end = i + 1;
    if (text.compare(i, 2, "//") == 0) {
      i = std::min(text.find('\n', i), text.size());
      continue;
    }
    if (c == '"') {
      end = std::min(text.find('"', end), text.size() - 1) + 1;
    } else if (isWord(c)) {
      while (end < text.size() && isWord(text[end]))
        ++end;
    }
    if (!std::isspace(static_cast<unsigned char>(c)))
      tokens.push_back({text.substr(i, end - i), line});
    i = end;
  }
}

int PtxTokens::line() const {
  return tokens.empty() ? 0 : tokens[std::min(at, tokens.size() - 1)].line;
}

void PtxTokens::fail(const std::string &what) const {
  throw PtxError("line " + std::to_string(line()) + ": " + what);
}

const std::string &PtxTokens::peek() const {
  static const std::string end;
  return isAtEnd() ? end : tokens[at].text;
}

std::string PtxTokens::take() {
  if (isAtEnd())
    fail("the text ends early");
  return tokens[at++].text;
}

bool PtxTokens::accept(const char *text) {
  if (peek() != text)
    return false;
  ++at;
  return true;
}

void PtxTokens::expect(const char *text) {
  if (!accept(text))
    fail(std::string("expected '") + text + "', found '" + peek() + "'");
}

void PtxTokens::skipTo(const char *text) {
  while (take() != text)
    ;
}
