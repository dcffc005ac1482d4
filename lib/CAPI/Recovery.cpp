//===- Recovery.cpp - Surviving crashes of the compiler -------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Recovery.h"

#include "moe-mlir-c/Recovery.h"

#include "mlir/CAPI/Support.h"
#include "llvm/Support/CrashRecoveryContext.h"
#include "llvm/Support/ErrorHandling.h"

#include <csignal>
#include <cstring>
#include <memory>
#include <mutex>
#include <pthread.h>

using namespace mlir;

using llvm::CrashRecoveryContext;

//===----------------------------------------------------------------------===//
// Handlers
//===----------------------------------------------------------------------===//

/// Those that LLVM's recovery handles.
static constexpr int kSignals[] = {SIGABRT, SIGBUS,  SIGFPE,
                                   SIGILL,  SIGSEGV, SIGTRAP};

/// Exit status of what ended by a fatal error, as sysexits.h has it.
static constexpr int kFatalErrorStatus = 70;

/// Why the body that runs on this thread ended. Not on its stack, which is gone
/// when it is read.
static thread_local std::string fatalErrorReason;

/// Without this handler LLVM ends the process for a fatal error, and for one
/// that it takes for a mistake of its user.
static void handleFatalError(void *, const char *reason, bool) {
  if (CrashRecoveryContext *context = CrashRecoveryContext::GetCurrent()) {
    fatalErrorReason = reason;
    context->HandleExit(kFatalErrorStatus);
  }
  // Outside of a body LLVM does as it does without a handler, but leaves it to
  // the handler to say why.
  fprintf(stderr, "LLVM ERROR: %s\n", reason);
}

namespace {

/// Installs LLVM's handlers of signals while it lives. They are those of the
/// whole process, so that the first to come puts them in, and the last to leave
/// takes them out.
class SignalHandlers {
public:
  SignalHandlers() {
    std::lock_guard<std::mutex> lock(mutex);
    if (numUsers++ > 0)
      return;
    static const bool once = [] {
      llvm::install_fatal_error_handler(handleFatalError);
      return true;
    }();
    (void)once;
    CrashRecoveryContext::Enable();
    // LLVM's run on the stack of the thread, where there is no room left when
    // that is what has overflowed.
    for (int signal : kSignals) {
      struct sigaction action;
      if (sigaction(signal, nullptr, &action) == 0) {
        action.sa_flags |= SA_ONSTACK;
        sigaction(signal, &action, nullptr);
      }
    }
  }

  ~SignalHandlers() {
    std::lock_guard<std::mutex> lock(mutex);
    if (--numUsers == 0)
      CrashRecoveryContext::Disable();
  }

private:
  static std::mutex mutex;
  static unsigned numUsers;
};

std::mutex SignalHandlers::mutex;
unsigned SignalHandlers::numUsers = 0;

/// A stack for handlers of signals while it lives, for this thread.
class SignalStack {
public:
  SignalStack() : memory(new char[kBytes]) {
    stack_t stack = {};
    stack.ss_sp = memory.get();
    stack.ss_size = kBytes;
    sigaltstack(&stack, nullptr);
  }
  ~SignalStack() {
    stack_t stack = {};
    stack.ss_flags = SS_DISABLE;
    sigaltstack(&stack, nullptr);
  }

private:
  /// Well above what saving the registers of any CPU takes.
  static constexpr size_t kBytes = 128 << 10;
  std::unique_ptr<char[]> memory;
};

//===----------------------------------------------------------------------===//
// Threads
//===----------------------------------------------------------------------===//

/// A body, on its way to its thread and back.
struct Task {
  llvm::function_ref<void()> body;
  std::optional<std::string> failure;

  void run();
};

} // namespace

/// What ended a body.
static std::string describeEnd(int status) {
  if (status == kFatalErrorStatus && !fatalErrorReason.empty())
    return "the compiler came to a fatal error: " + fatalErrorReason;
  if (!CrashRecoveryContext::isCrash(status))
    return "the compiler tried to end the process with status " +
           std::to_string(status);
  int signal = status - 128;
  const char *name = sigabbrev_np(signal);
  const char *what = sigdescr_np(signal);
  return std::string("the compiler crashed: SIG") + (name ? name : "?") + " (" +
         (what ? what : "unknown") + ")";
}

void Task::run() {
  SignalStack stack;
  fatalErrorReason.clear();
  CrashRecoveryContext context;
  if (!context.RunSafely(body))
    failure = describeEnd(context.RetCode);
}

/// Runs `task` on a thread of its own, with room for deeply nested modules and
/// without whatever a crash left in the storage of the thread. Returns an error
/// number.
static int runOnThread(Task &task) {
  constexpr size_t kStackBytes = 64 << 20;
  pthread_attr_t attributes;
  if (int error = pthread_attr_init(&attributes))
    return error;
  int error = pthread_attr_setstacksize(&attributes, kStackBytes);
  // Signals from outside are for the threads of the application.
  sigset_t blocked, before;
  sigfillset(&blocked);
  for (int signal : kSignals)
    sigdelset(&blocked, signal);
  pthread_sigmask(SIG_SETMASK, &blocked, &before);
  pthread_t thread;
  auto run = [](void *task) -> void * {
    static_cast<Task *>(task)->run();
    return nullptr;
  };
  if (!error)
    error = pthread_create(&thread, &attributes, run, &task);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
  return error ? error : pthread_join(thread, nullptr);
}

std::optional<std::string>
moe::runRecoverably(llvm::function_ref<void()> body) {
  SignalHandlers handlers;
  Task task{body, std::nullopt};
  if (int error = runOnThread(task))
    return "cannot start a thread to compile on: " +
           std::generic_category().message(error);
  return task.failure;
}

MlirLogicalResult moeRunRecoverably(void (*body)(void *), void *bodyData,
                                    MlirStringCallback onFailure,
                                    void *onFailureData) {
  std::optional<std::string> reason =
      moe::runRecoverably([&] { body(bodyData); });
  if (!reason)
    return mlirLogicalResultSuccess();
  if (onFailure)
    onFailure(wrap(StringRef(*reason)), onFailureData);
  return mlirLogicalResultFailure();
}
