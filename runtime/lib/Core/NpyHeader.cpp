//===- NpyHeader.cpp - headers of .npy files ------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "NpyHeader.h"

#include <cstring>

using namespace moe::rt;

void NpyHeaderParser::skipSpaces() {
  while (at < text.size() && (text[at] == ' ' || text[at] == '\n'))
    ++at;
}

bool NpyHeaderParser::eat(const char *token) {
  skipSpaces();
  size_t length = std::strlen(token);
  if (text.compare(at, length, token) != 0)
    return false;
  at += length;
  return true;
}

bool NpyHeaderParser::parseString(std::string &out) {
  skipSpaces();
  if (at == text.size() || (text[at] != '\'' && text[at] != '"'))
    return false;
  size_t end = text.find(text[at], at + 1);
  if (end == std::string::npos)
    return false;
  out = text.substr(at + 1, end - at - 1);
  at = end + 1;
  return true;
}

bool NpyHeaderParser::parseShape() {
  if (!eat("("))
    return false;
  while (!eat(")")) {
    skipSpaces();
    size_t digits = 0;
    int64_t value = 0;
    for (; at < text.size() && text[at] >= '0' && text[at] <= '9';
         ++at, ++digits)
      if (__builtin_mul_overflow(value, int64_t(10), &value) ||
          __builtin_add_overflow(value, int64_t(text[at] - '0'), &value))
        return false;
    if (!digits || shape.size() == 64)
      return false;
    shape.push_back(value);
    (void)eat("L"); // integers of Python 2
    if (!eat(",")) {
      // A tuple of one has a comma.
      if (shape.size() == 1 || !eat(")"))
        return false;
      return true;
    }
  }
  return true;
}

bool NpyHeaderParser::parse() {
  bool hasDescr = false, hasOrder = false, hasShape = false;
  if (!eat("{"))
    return false;
  while (!eat("}")) {
    std::string key;
    if (!parseString(key) || !eat(":"))
      return false;
    if (key == "descr" && !hasDescr) {
      isStructured = eat("[") || eat("(");
      hasDescr = parseString(descr);
      if (!hasDescr)
        return false;
    } else if (key == "fortran_order" && !hasOrder) {
      hasOrder = true;
      if (eat("True"))
        fortranOrder = true;
      else if (!eat("False"))
        return false;
    } else if (key == "shape" && !hasShape) {
      hasShape = parseShape();
      if (!hasShape)
        return false;
    } else {
      return false;
    }
    if (!eat(",")) {
      if (!eat("}"))
        return false;
      break;
    }
  }
  skipSpaces();
  return at == text.size() && hasDescr && hasOrder && hasShape;
}
