//===- Types.cpp - element types of tensors -------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Types.h"

#include "Error.h"

#include <cstring>

using namespace moe::py;

static const ElementType elementTypes[] = {
    {"f64", {kDLFloat, 64, 1}, "d", "float64", false, "float64"},
    {"f32", {kDLFloat, 32, 1}, "f", "float32", false, "float32"},
    {"f16", {kDLFloat, 16, 1}, "e", "float16", false, "float16"},
    {"bf16", {kDLBfloat, 16, 1}, "H", "bfloat16", true, "bfloat16"},
    {"f8E4M3FN",
     {MOERT_DL_FLOAT8_E4M3FN, 8, 1},
     "B",
     "float8_e4m3fn",
     true,
     "float8_e4m3fn"},
    {"f8E5M2",
     {MOERT_DL_FLOAT8_E5M2, 8, 1},
     "B",
     "float8_e5m2",
     true,
     "float8_e5m2"},
    {"i64", {kDLInt, 64, 1}, "q", "int64", false, "int64"},
    {"i32", {kDLInt, 32, 1}, "i", "int32", false, "int32"},
    {"i16", {kDLInt, 16, 1}, "h", "int16", false, "int16"},
    {"i8", {kDLInt, 8, 1}, "b", "int8", false, "int8"},
    {"i1", {MOERT_DL_BOOL, 8, 1}, "?", "bool", false, "bool"},
};

const ElementType *moe::py::findElementType(const std::string &name) {
  for (const ElementType &type : elementTypes)
    if (name == type.name)
      return &type;
  return nullptr;
}

const ElementType *moe::py::findElementType(DLDataType wanted) {
  for (const ElementType &type : elementTypes)
    if (wanted.code == type.type.code && wanted.bits == type.type.bits &&
        wanted.lanes == 1)
      return &type;
  return nullptr;
}

const ElementType *moe::py::findNumpyType(const std::string &name) {
  for (const ElementType &type : elementTypes)
    if (name == type.numpyName)
      return &type;
  return nullptr;
}

bool moe::py::parseFormat(const char *format, size_t itemBytes,
                          DLDataType &out) {
  // Of byte orders, only this machine's.
  if (*format == '@' || *format == '=' || *format == '<')
    ++format;
  if (!*format || format[1])
    return false;
  uint8_t code;
  if (std::strchr("efd", *format))
    code = kDLFloat;
  else if (std::strchr("bhilqn", *format))
    code = kDLInt;
  else if (std::strchr("BHILQN", *format))
    code = kDLUInt;
  else if (*format == '?')
    code = MOERT_DL_BOOL;
  else
    return false;
  out = {code, static_cast<uint8_t>(itemBytes * 8), 1};
  return true;
}

[[noreturn]] static void refuseSize(const DLTensor &tensor) {
  const ElementType *type = findElementType(tensor.dtype);
  std::string seen = std::string(type ? type->name : "?") + "[";
  for (int i = 0; i < tensor.ndim; ++i)
    seen += (i ? ", " : "") + std::to_string(tensor.shape[i]);
  seen += "]";
  refuse("expected a tensor of less than 2^63 bytes, got " + seen, -1,
         "less than 2^63 bytes", seen);
}

size_t moe::py::bytesOf(const DLTensor &tensor) {
  int64_t bytes = (int64_t(tensor.dtype.bits) * tensor.dtype.lanes + 7) / 8;
  bool isEmpty = false, fits = true;
  // Strides are products of extents, so the others have to fit beside a 0, too.
  for (int i = 0; i < tensor.ndim; ++i)
    if (tensor.shape[i] == 0)
      isEmpty = true;
    else
      fits &= !__builtin_mul_overflow(bytes, tensor.shape[i], &bytes);
  if (!fits)
    refuseSize(tensor);
  return isEmpty ? 0 : static_cast<size_t>(bytes);
}

std::vector<int64_t> moe::py::denseStrides(const std::vector<int64_t> &shape) {
  std::vector<int64_t> strides(shape.size());
  int64_t stride = 1;
  for (size_t i = shape.size(); i-- > 0; stride *= shape[i])
    strides[i] = stride;
  return strides;
}
