//===- DType.h - element types and tensor types -----------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_DTYPE_H
#define MOE_RUNTIME_DTYPE_H

#include <cstddef>
#include <cstdint>
#include <dlpack/dlpack.h>
#include <optional>
#include <string>
#include <vector>

namespace moe::rt {

/// The element types a manifest can name.
enum class DType : uint8_t {
  F64,
  F32,
  F16,
  BF16,
  F8E4M3FN,
  F8E5M2,
  I64,
  I32,
  I16,
  I8,
  I1
};

const char *dtypeName(DType dtype);
std::optional<DType> parseDType(const std::string &name);
size_t dtypeBytes(DType dtype);

/// How DLPack writes `dtype`. The codes of bool and fp8 are those of
/// DLPack 1.1; older headers lack the names.
DLDataType toDLDataType(DType dtype);

/// Whether a tensor of DLPack type `type` can stand for `dtype`. Besides the
/// exact type, i1 and fp8 accept the 8-bit unsigned integers that older
/// producers export them as.
bool acceptsDLDataType(DType dtype, DLDataType type);

/// For messages: "float16", "bfloat16", "uint8".
std::string describeDLDataType(DLDataType type);

/// Element type and extents, -1 for a dynamic one.
struct TensorType {
  DType dtype = DType::F32;
  std::vector<int64_t> shape;
  /// In the symmetric heap, at the same offset on all ranks.
  bool isSymmetric = false;
  /// In host memory, though the artifact is for GPUs.
  bool isHost = false;

  /// "bf16[?,7168]".
  std::string str() const;
};

/// "[4, 7168]".
std::string describeShape(const int64_t *shape, size_t rank);

/// "" when extents of `shape` fit `type`, else what is wrong with them.
std::string checkShape(const TensorType &type, const int64_t *shape,
                       size_t rank);

/// Product of the extents; none when it overflows or an extent is negative.
std::optional<int64_t> countElements(const int64_t *shape, size_t rank);

} // namespace moe::rt

#endif // MOE_RUNTIME_DTYPE_H
