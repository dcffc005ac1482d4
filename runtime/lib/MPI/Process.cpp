//===- Process.cpp - this process as one of MPI ---------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Process.h"

#include "moe-runtime/Deadline.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <dlfcn.h>
#include <functional>
#include <system_error>
#include <thread>
#include <unistd.h>

using namespace moe::rt;
using namespace moe::rt::mpi;

/// How long the exit of a process waits for the others to exit.
static constexpr double finalizeSeconds = 10;

namespace {
/// A call on a thread of its own. The thread keeps this alive when nobody waits
/// for it any more.
struct BoundedCall {
  std::mutex mutex;
  std::condition_variable ended;
  bool hasEnded = false;
  int result = 0;
  int provided = 0;
};
} // namespace

/// Whether `body` has ended within `seconds`; an error when it could not begin.
static Expected<bool>
runBounded(const std::shared_ptr<BoundedCall> &call, double seconds,
           const std::function<int(BoundedCall &)> &body) {
  // Signals of the program are for its own threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  Status status;
  try {
    std::thread([call, body] {
      int result = body(*call);
      std::lock_guard<std::mutex> lock(call->mutex);
      call->result = result;
      call->hasEnded = true;
      call->ended.notify_all();
    }).detach();
  } catch (const std::system_error &error) {
    status = makeOsError(MOERT_IO, error.code().value(),
                         "cannot start a thread for MPI");
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (!status.isOk())
    return status;
  std::unique_lock<std::mutex> lock(call->mutex);
  for (Deadline deadline(seconds); !call->hasEnded && !deadline.isOver();)
    call->ended.wait_for(lock, std::chrono::milliseconds(deadline.sliceMs()));
  return call->hasEnded;
}

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
  (void)runBounded(
      std::make_shared<BoundedCall>(), finalizeSeconds,
      [finalize = (*library)->finalize](BoundedCall &) { return finalize(); });
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
  auto call = std::make_shared<BoundedCall>();
  auto ended = runBounded(
      call, timeoutSeconds, [init = library.initThread](BoundedCall &call) {
        return init(nullptr, nullptr, Serialized, &call.provided);
      });
  if (!ended.isOk())
    return ended.status();
  if (!*ended)
    return makeError(MOERT_TIMEOUT,
                     "MPI_Init (%s) did not end within %g s: it waits for all "
                     "processes of the job, and one may have died, be stopped, "
                     "or run a program without MPI; or their hosts do not "
                     "reach each other",
                     library.version.c_str(), timeoutSeconds);
  if (Status s = library.check(call->result, "MPI_Init_thread"); !s.isOk())
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
