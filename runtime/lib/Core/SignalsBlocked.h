//===- SignalsBlocked.h - threads that get no signals -----------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LIB_CORE_SIGNALSBLOCKED_H
#define MOE_RUNTIME_LIB_CORE_SIGNALSBLOCKED_H

#include <csignal>

namespace moe::rt {

/// While one is there, threads that this one starts are born without signals:
/// those of the program are for its own threads.
class SignalsBlocked {
public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before, nullptr); }
  SignalsBlocked(const SignalsBlocked &) = delete;

private:
  sigset_t before;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_LIB_CORE_SIGNALSBLOCKED_H
