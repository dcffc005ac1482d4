//===- HostCalls.cpp - what libraries on top of the driver call -----------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "StandIn.h"

using namespace moe::standin;

Result cuLaunchHostFunc(StreamHandle stream, void (*function)(void *),
                        void *user) {
  if (Result r = checkContext())
    return r;
  return enqueue(stream, [=] { function(user); });
}

/// What is not the driver's is not known to it.
Result cuPointerGetAttribute(void *out, int attribute, DevicePtr address) {
  constexpr int memoryType = 2;
  if (Result r = checkContext())
    return r;
  if (attribute != memoryType || kindOf(address, 1) != MemoryKind::Mapped)
    return errorInvalidValue;
  constexpr int device = 2;
  *static_cast<int *>(out) = device;
  return success;
}
