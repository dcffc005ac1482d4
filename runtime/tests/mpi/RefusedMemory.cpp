//===- RefusedMemory.cpp - memory that runs out when a test wants ---------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RefusedMemory.h"

#include <cstdlib>
#include <new>

static thread_local size_t refusedBytes = 0; ///< 0: all is granted
static thread_local int granted = 0;

moe::rt::test::RefusedMemory::RefusedMemory(size_t bytes, int pieces) {
  refusedBytes = bytes;
  granted = pieces;
}

moe::rt::test::RefusedMemory::~RefusedMemory() { refusedBytes = 0; }

void *operator new(size_t bytes) {
  if (refusedBytes && bytes >= refusedBytes && --granted < 0)
    throw std::bad_alloc();
  if (void *made = std::malloc(bytes ? bytes : 1))
    return made;
  throw std::bad_alloc();
}

void operator delete(void *memory) noexcept { std::free(memory); }
void operator delete(void *memory, size_t) noexcept { std::free(memory); }
