//===- CApiHandles.h - handles and errors of the C API ----------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LIB_CORE_CAPIHANDLES_H
#define MOE_RUNTIME_LIB_CORE_CAPIHANDLES_H

#include "moe-runtime/Context.h"
#include "moe-runtime/Runtime.h"

#include <new>

/// Handles are the C++ objects; those of artifacts and entries also know their
/// context, which owns them.
struct moert_entry {
  moe::rt::Context *context;
  moe::rt::Entry *entry;
};
struct moert_artifact {
  moert_context *owner;
  moe::rt::Artifact *artifact;
  std::vector<moert_entry> entries;
};
struct moert_context {
  std::unique_ptr<moe::rt::Context> context;
  std::vector<std::unique_ptr<moert_artifact>> artifacts;
};

namespace moe::rt {

/// The calling thread's.
std::string &lastError();

/// Keeps the message for moert_last_error.
moert_code report(const Status &status);

/// Runs `body` and keeps exceptions, which mean that memory ran out, inside.
template <typename Body> moert_code guarded(Body body) {
  try {
    return report(body());
  } catch (const std::bad_alloc &) {
    lastError().assign("out of memory", 13);
    return MOERT_OUT_OF_MEMORY;
  } catch (...) {
    lastError().assign("C++ exception", 13);
    return MOERT_INTERNAL;
  }
}

/// "out is NULL".
Status missing(const char *what);

} // namespace moe::rt

#endif // MOE_RUNTIME_LIB_CORE_CAPIHANDLES_H
