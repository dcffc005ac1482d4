//===- Gil.h - threads with and without the GIL -----------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A thread that asks for the GIL when the interpreter has begun to end does
/// not get it any more. Until Python 3.13 such a thread is ended by unwinding
/// its stack, which terminates the process at the first destructor or other
/// function that may not throw: "terminate called without an active exception".
/// As in later versions, it waits here for the end of the process instead.
/// nanobind's own guards do not, so these take their place.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_PYTHON_GIL_H
#define MOE_PYTHON_GIL_H

#include <cxxabi.h>
#include <nanobind/nanobind.h>
#include <unistd.h>

namespace moe::py {

/// Runs `function`, which asks for the GIL or calls code of Python, which does.
template <typename Function> void orWaitForTheEnd(Function function) {
  try {
    function();
  } catch (abi::__forced_unwind &) {
    for (;;)
      (void)pause();
  }
}

/// Drops the GIL for its lifetime; the thread has it.
class WithoutGil {
public:
  WithoutGil() : state(PyEval_SaveThread()) {}
  ~WithoutGil() {
    orWaitForTheEnd([this] { PyEval_RestoreThread(state); });
  }
  WithoutGil(const WithoutGil &) = delete;

private:
  PyThreadState *state;
};

/// Has the GIL for its lifetime, whether the thread had it before or not.
class WithGil {
public:
  WithGil() {
    orWaitForTheEnd([this] { state = PyGILState_Ensure(); });
  }
  ~WithGil() { PyGILState_Release(state); }
  WithGil(const WithGil &) = delete;

private:
  PyGILState_STATE state;
};

/// Runs `function` with the GIL, for threads that Python may not know. When the
/// interpreter has begun to end it does not run: what it would free stays until
/// the process has ended.
template <typename Function> void withGilUntilTheEnd(Function function) {
  if (!Py_IsInitialized())
    return;
  WithGil locked;
  function();
}

} // namespace moe::py

#endif // MOE_PYTHON_GIL_H
