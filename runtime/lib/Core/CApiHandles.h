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

/// The calling thread's, for moert_last_error and moert_last_error_info.
Status &lastError();

/// Keeps the error for them.
moert_code report(const Status &status);

/// Runs `body` and keeps exceptions, which mean that memory ran out, inside.
template <typename Body> moert_code guarded(Body body) {
  try {
    return report(body());
  } catch (const std::bad_alloc &) {
    // Short enough for a string to hold without memory of its own.
    return report(Status(MOERT_OUT_OF_MEMORY, "out of memory"));
  } catch (...) {
    return report(Status(MOERT_INTERNAL, "C++ exception"));
  }
}

/// "out is NULL".
Status missing(const char *what);

/// Reads what a caller gave; NULL stands for the defaults.
Status readOptions(const moert_options *given, ContextOptions &out);

/// Makes the context of a rank, and its handle.
Status createContext(std::unique_ptr<Bootstrap> bootstrap,
                     const moert_options *options, moert_context **out);

} // namespace moe::rt

#endif // MOE_RUNTIME_LIB_CORE_CAPIHANDLES_H
