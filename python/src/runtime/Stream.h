//===- Stream.h - CUDA streams that Python passes in ------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_PYTHON_RUNTIME_STREAM_H
#define MOE_PYTHON_RUNTIME_STREAM_H

#include <cstdint>
#include <nanobind/nanobind.h>

namespace moe::py {

/// The handle of a CUDA stream, given as an integer or as a stream of torch or
/// CuPy. Raises TypeError, or ValueError for a number that is none and less
/// than `smallest`; DLPack has -1 for a purpose of its own.
intptr_t streamNumber(nanobind::handle stream, int smallest = 0);

/// The same as a pointer; null, the legacy stream, for None.
void *streamOf(nanobind::handle stream);

} // namespace moe::py

#endif // MOE_PYTHON_RUNTIME_STREAM_H
