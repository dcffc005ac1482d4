//===- MemoryFile.h - nameless files of shared memory -----------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_MEMORYFILE_H
#define MOE_RUNTIME_MEMORYFILE_H

#include "moe-runtime/Status.h"
#include "moe-runtime/UniqueFd.h"

namespace moe::rt {

/// A file of `bytes` zeros that has no name, so nothing is left of it when
/// the last process that holds it ends. Its memory is reserved, so that it is
/// missing here or never, and its size is sealed.
Expected<UniqueFd> createMemoryFile(size_t bytes);

} // namespace moe::rt

#endif // MOE_RUNTIME_MEMORYFILE_H
