//===- MainInterpreter.h - extensions of one interpreter --------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_PYTHON_MAININTERPRETER_H
#define MOE_PYTHON_MAININTERPRETER_H

#include <nanobind/nanobind.h>
#include <string>

namespace moe::py {

/// Refuses to make `module` in a sub-interpreter. Threads that come back from
/// the runtime or the compiler ask for the GIL by PyGILState_Ensure, which
/// knows the main interpreter alone, and would wait forever. Python 3.12 and
/// later refuse by themselves only where a sub-interpreter asks them to.
inline void requireMainInterpreter(const char *module) {
  // nanobind has just replaced the extension's pointer to its state by that of
  // the interpreter that imports; what the main one has made needs its own.
  static decltype(nanobind::detail::internals) ofMain = nullptr;
  if (PyInterpreterState_GetID(PyInterpreterState_Get()) == 0) {
    ofMain = nanobind::detail::internals;
    return;
  }
  nanobind::detail::internals = ofMain;
  std::string message = std::string(module) +
                        ": expected the main interpreter of the process, "
                        "got a sub-interpreter, which cannot have it";
  throw nanobind::import_error(message.c_str());
}

} // namespace moe::py

#endif // MOE_PYTHON_MAININTERPRETER_H
