//===- NpyHeader.h - headers of .npy files ----------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_CORE_NPYHEADER_H
#define MOE_RUNTIME_CORE_NPYHEADER_H

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace moe::rt {

/// Reads the Python literal numpy writes as a header:
///   {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }
class NpyHeaderParser {
public:
  /// `text` has to outlive this object.
  explicit NpyHeaderParser(const std::string &text) : text(text) {}

  bool parse();
  std::string descr;
  bool isStructured = false; ///< an element has fields; parse() is false then
  bool fortranOrder = false;
  std::vector<int64_t> shape;

private:
  void skipSpaces();
  bool eat(const char *token);
  bool parseString(std::string &out);
  bool parseShape();

  const std::string &text;
  size_t at = 0;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_CORE_NPYHEADER_H
