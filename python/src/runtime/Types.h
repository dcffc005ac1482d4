//===- Types.h - element types of tensors -----------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_PYTHON_RUNTIME_TYPES_H
#define MOE_PYTHON_RUNTIME_TYPES_H

#include "moe-runtime/Runtime.h"

#include <string>
#include <vector>

namespace moe::py {

/// An element type under the names that it has.
struct ElementType {
  const char *name; ///< in manifests: "bf16"
  DLDataType type;
  const char *format;    ///< of the buffer protocol; for types that it does
                         ///< not have, the one of equal size
  const char *numpyName; ///< "bfloat16"
  bool isMlDtype;        ///< numpy has it by the package ml_dtypes
  const char *torchName; ///< "bfloat16"
};

/// By its name in manifests, or null.
const ElementType *findElementType(const std::string &name);
/// By DLPack's code and bits, or null.
const ElementType *findElementType(DLDataType type);
/// By numpy's name, or null.
const ElementType *findNumpyType(const std::string &name);

/// The type of a format of the buffer protocol, with `itemBytes` bytes. False
/// for one that is no tensor element's.
bool parseFormat(const char *format, size_t itemBytes, DLDataType &out);

/// Raises MoEError where 63 bits do not hold it.
size_t bytesOf(const DLTensor &tensor);

/// Row-major strides, in elements.
std::vector<int64_t> denseStrides(const std::vector<int64_t> &shape);

} // namespace moe::py

#endif // MOE_PYTHON_RUNTIME_TYPES_H
