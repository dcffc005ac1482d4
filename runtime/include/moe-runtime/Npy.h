//===- Npy.h - reading and writing .npy files -------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_NPY_H
#define MOE_RUNTIME_NPY_H

#include "moe-runtime/DType.h"
#include "moe-runtime/Status.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace moe::rt {

/// A dense row-major array in memory.
struct NpyArray {
  DType dtype = DType::F32;
  std::vector<int64_t> shape;
  std::vector<char> data;

  /// A view of the array, valid as long as the array.
  DLTensor view();
};

/// Reads a file of format version 1.0, 2.0 or 3.0 that holds a little-endian
/// C-order array of type `expected`. numpy has no names for the types of
/// ml_dtypes: it saves bfloat16 as '<V2', float8_e4m3fn as '<V1' and
/// float8_e5m2 as '<f1', so the expected type decides what bytes mean.
/// `checkShape` says what is wrong with a shape, or "": it is asked before the
/// data is read, which may take long or not fit the memory.
using ShapeCheck =
    std::function<std::string(const std::vector<int64_t> &shape)>;
Expected<NpyArray> readNpy(const std::string &path, DType expected,
                           const ShapeCheck &checkShape = nullptr);

/// The header numpy.save writes for such an array, to the byte.
std::string npyHeader(DType dtype, const std::vector<int64_t> &shape);

/// Writes what numpy.save would. Strided tensors are packed. The file is
/// created anew; a partial file is removed on failure.
Status writeNpy(const std::string &path, const DLTensor &tensor, DType dtype);
/// The same to a file that is open and empty. `name` is for messages.
Status writeNpy(int fd, const std::string &name, const DLTensor &tensor,
                DType dtype);

} // namespace moe::rt

#endif // MOE_RUNTIME_NPY_H
