//===- DType.cpp - element types and tensor types -------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/DType.h"

#include "moe-runtime/Runtime.h"
#include "moe-runtime/Status.h"

using namespace moe::rt;

namespace {
struct DTypeInfo {
  DType dtype;
  const char *name;
  uint8_t bytes;
  uint8_t code;
  uint8_t bits;
};
} // namespace

static constexpr DTypeInfo infos[] = {
    {DType::F64, "f64", 8, kDLFloat, 64},
    {DType::F32, "f32", 4, kDLFloat, 32},
    {DType::F16, "f16", 2, kDLFloat, 16},
    {DType::BF16, "bf16", 2, kDLBfloat, 16},
    {DType::F8E4M3FN, "f8E4M3FN", 1, MOERT_DL_FLOAT8_E4M3FN, 8},
    {DType::F8E5M2, "f8E5M2", 1, MOERT_DL_FLOAT8_E5M2, 8},
    {DType::I64, "i64", 8, kDLInt, 64},
    {DType::I32, "i32", 4, kDLInt, 32},
    {DType::I16, "i16", 2, kDLInt, 16},
    {DType::I8, "i8", 1, kDLInt, 8},
    {DType::I1, "i1", 1, MOERT_DL_BOOL, 8},
};

static const DTypeInfo &info(DType dtype) {
  return infos[static_cast<size_t>(dtype)];
}

const char *moe::rt::dtypeName(DType dtype) { return info(dtype).name; }

size_t moe::rt::dtypeBytes(DType dtype) { return info(dtype).bytes; }

std::optional<DType> moe::rt::parseDType(const std::string &name) {
  for (const DTypeInfo &candidate : infos)
    if (name == candidate.name)
      return candidate.dtype;
  return std::nullopt;
}

DLDataType moe::rt::toDLDataType(DType dtype) {
  return {info(dtype).code, info(dtype).bits, 1};
}

bool moe::rt::acceptsDLDataType(DType dtype, DLDataType type) {
  if (type.lanes != 1 || type.bits != info(dtype).bits)
    return false;
  if (type.code == info(dtype).code)
    return true;
  bool isOpaqueByte =
      dtype == DType::I1 || dtype == DType::F8E4M3FN || dtype == DType::F8E5M2;
  return isOpaqueByte && type.code == kDLUInt;
}

std::string moe::rt::describeDLDataType(DLDataType type) {
  for (const DTypeInfo &candidate : infos)
    if (type.code == candidate.code && type.bits == candidate.bits &&
        type.lanes == 1)
      return candidate.name;
  if (type.code == kDLUInt && type.lanes == 1)
    return format("uint%d", type.bits);
  return format("DLPack type (code %d, bits %d, lanes %d)", type.code,
                type.bits, type.lanes);
}

std::string moe::rt::describeShape(const int64_t *shape, size_t rank) {
  std::string text = "[";
  for (size_t i = 0; i < rank; ++i) {
    if (i)
      text += ", ";
    text += shape[i] < 0 ? "?" : std::to_string(shape[i]);
  }
  return text + "]";
}

std::string TensorType::str() const {
  return dtypeName(dtype) + describeShape(shape.data(), shape.size());
}

std::string moe::rt::checkShape(const TensorType &type, const int64_t *shape,
                                size_t rank) {
  if (rank != type.shape.size())
    return format("expected rank %zu %s, got rank %zu %s", type.shape.size(),
                  type.str().c_str(), rank, describeShape(shape, rank).c_str());
  for (size_t i = 0; i < rank; ++i) {
    if (shape[i] < 0)
      return format("extent %zu is negative: %lld", i, (long long)shape[i]);
    if (type.shape[i] >= 0 && type.shape[i] != shape[i])
      return format("expected extent %lld in dimension %zu of %s, got %s",
                    (long long)type.shape[i], i, type.str().c_str(),
                    describeShape(shape, rank).c_str());
  }
  return "";
}

std::optional<int64_t> moe::rt::countElements(const int64_t *shape,
                                              size_t rank) {
  int64_t count = 1;
  for (size_t i = 0; i < rank; ++i)
    if (shape[i] < 0 || __builtin_mul_overflow(count, shape[i], &count))
      return std::nullopt;
  return count;
}
