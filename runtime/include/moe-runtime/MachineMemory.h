//===- MachineMemory.h - how much memory is to be had -----------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_MACHINEMEMORY_H
#define MOE_RUNTIME_MACHINEMEMORY_H

#include <cstddef>
#include <string>

namespace moe::rt {

/// Bytes of memory this process could get now without anything being killed:
/// what the machine has available, swap included, or less where a control group
/// (a container) has a limit. SIZE_MAX when the kernel does not say. `root` is
/// where /proc and /sys are looked for.
size_t availableMemoryBytes(const std::string &root = "");

} // namespace moe::rt

#endif // MOE_RUNTIME_MACHINEMEMORY_H
