//===- RefusedMemory.h - memory that runs out when a test wants --*- C++
//-*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_TESTS_MPI_REFUSEDMEMORY_H
#define MOE_RUNTIME_TESTS_MPI_REFUSEDMEMORY_H

#include <cstddef>

namespace moe::rt::test {

/// While one is there, this thread gets `granted` pieces of memory of `bytes`
/// or more by `new`, and no further ones.
class RefusedMemory {
public:
  RefusedMemory(size_t bytes, int granted);
  ~RefusedMemory();
  RefusedMemory(const RefusedMemory &) = delete;
};

} // namespace moe::rt::test

#endif // MOE_RUNTIME_TESTS_MPI_REFUSEDMEMORY_H
