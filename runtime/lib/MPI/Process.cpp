//===- Process.cpp - this process as one of MPI ---------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Process.h"

#include "Core/BoundedCall.h"

#include <atomic>
#include <cstdlib>
#include <dlfcn.h>
#include <memory>
#include <mutex>
#include <unistd.h>

using namespace moe::rt;
using namespace moe::rt::mpi;

/// How long the exit of a process waits for the others to exit.
static constexpr double finalizeSeconds = 10;

//===----------------------------------------------------------------------===//
// The end
//===----------------------------------------------------------------------===//

/// The process that has called MPI_Init for the runtime; forks of it have no
/// MPI. 0 when nobody has.
static std::atomic<pid_t> beganIn{0};
static std::atomic<bool> isAbandoned{false};

void moe::rt::mpi::abandon() { isAbandoned = true; }

static void endAtExit() {
  if (beganIn != getpid() || isAbandoned)
    return;
  auto library = Library::get();
  int isFinalized = 1;
  if (!library.isOk() || (*library)->finalized(&isFinalized) != success ||
      isFinalized)
    return;
  // One that has died, or ends otherwise, would be waited for in vain.
  auto call =
      BoundedCall::begin([finalize = (*library)->finalize] { finalize(); });
  if (call.isOk())
    (void)call->wait(finalizeSeconds);
}

//===----------------------------------------------------------------------===//
// The beginning
//===----------------------------------------------------------------------===//

/// MPI is called by one thread at a time, whichever that is.
static Status checkThreads(const Library &library) {
  int provided = Single, isMain = 0;
  if (Status s =
          library.check(library.queryThread(&provided), "MPI_Query_thread");
      !s.isOk())
    return s;
  if (provided >= Serialized)
    return Status::ok();
  if (Status s =
          library.check(library.isThreadMain(&isMain), "MPI_Is_thread_main");
      !s.isOk())
    return s;
  if (isMain)
    return Status::ok();
  return makeError(MOERT_INVALID_ARGUMENT,
                   "MPI was initialized with %s, so only the thread that did "
                   "so may use it; initialize it with MPI_THREAD_SERIALIZED or "
                   "MPI_THREAD_MULTIPLE, or make the group on that thread",
                   provided == Funneled ? "MPI_THREAD_FUNNELED"
                                        : "MPI_THREAD_SINGLE")
      .expecting("MPI_THREAD_SERIALIZED", provided == Funneled
                                              ? "MPI_THREAD_FUNNELED"
                                              : "MPI_THREAD_SINGLE");
}

static Status begin(const Library &library, double timeoutSeconds) {
  struct Begun {
    int result = 0, provided = 0;
  };
  auto begun = std::make_shared<Begun>();
  auto call = BoundedCall::begin([begun, init = library.initThread] {
    begun->result = init(nullptr, nullptr, Serialized, &begun->provided);
  });
  if (!call.isOk())
    return call.status();
  if (!call->wait(timeoutSeconds))
    return makeError(MOERT_TIMEOUT,
                     "MPI_Init (%s) did not end within %g s: it waits for all "
                     "processes of the job, and one may have died, be stopped, "
                     "or run a program without MPI; or their hosts do not "
                     "reach each other",
                     library.version.c_str(), timeoutSeconds);
  if (Status s = library.check(begun->result, "MPI_Init_thread"); !s.isOk())
    return s;
  beganIn = getpid();
  std::atexit(endAtExit);
  // Nobody else has set it, and an error is not to end the process.
  return library.check(
      library.commSetErrhandler(library.commWorld, library.errorsReturn),
      "MPI_Comm_set_errhandler");
}

/// Whether it has begun and not ended. An error when it has.
static Expected<bool> hasBegun(const Library &library) {
  int isInitialized = 0, isFinalized = 0;
  if (Status s =
          library.check(library.initialized(&isInitialized), "MPI_Initialized");
      !s.isOk())
    return s;
  if (Status s =
          library.check(library.finalized(&isFinalized), "MPI_Finalized");
      !s.isOk())
    return s;
  if (isFinalized)
    return Status(MOERT_INVALID_ARGUMENT,
                  "MPI was finalized in this process, and cannot be begun "
                  "again; make groups before MPI_Finalize");
  if (isInitialized && beganIn && beganIn != getpid())
    return makeError(MOERT_INVALID_ARGUMENT,
                     "this process (%d) is a fork of one that uses MPI (%d); "
                     "only that one can",
                     int(getpid()), int(beganIn.load()));
  return isInitialized != 0;
}

Expected<const Library *> moe::rt::mpi::join(double timeoutSeconds) {
  static std::mutex mutex;
  static Status failed;
  std::lock_guard<std::mutex> lock(mutex);
  if (!failed.isOk())
    return failed;
  auto library = Library::get();
  if (!library.isOk())
    return library;
  auto begun = hasBegun(**library);
  if (!begun.isOk())
    return begun.status();
  if (!*begun) {
    // It may be half-way for ever.
    failed = begin(**library, timeoutSeconds);
    if (!failed.isOk()) {
      abandon();
      return failed;
    }
  }
  if (Status s = checkThreads(**library); !s.isOk())
    return s;
  return library;
}

bool moe::rt::mpi::isRunning() {
  // Not to load a library that nobody uses.
  void *loaded = dlopen("libmpi.so.40", RTLD_LAZY | RTLD_NOLOAD);
  if (!loaded)
    return false;
  dlclose(loaded);
  auto library = Library::get();
  if (!library.isOk())
    return false;
  auto begun = hasBegun(**library);
  return begun.isOk() && *begun;
}

Expected<const Library *> moe::rt::mpi::joinRunning() {
  auto library = Library::get();
  if (!library.isOk())
    return library;
  auto begun = hasBegun(**library);
  if (!begun.isOk())
    return begun.status();
  if (!*begun)
    return Status(MOERT_INVALID_ARGUMENT,
                  "MPI is not initialized in this process; call MPI_Init "
                  "first, or start the process by mpirun");
  if (Status s = checkThreads(**library); !s.isOk())
    return s;
  return library;
}
