//===- Library.h - an MPI library opened at run time ------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// As much of MPI as two-sided messages need, from Open MPI's library. Nothing
/// links against it: a program that never uses MPI never loads it, and one that
/// has an MPI already shares it.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LIB_MPI_LIBRARY_H
#define MOE_RUNTIME_LIB_MPI_LIBRARY_H

#include "moe-runtime/Status.h"

#include <mutex>
#include <string>

namespace moe::rt::mpi {

/// Handles of Open MPI are addresses of its objects.
using Comm = void *;
using Request = void *;
using Datatype = void *;
using Errhandler = void *;

/// As Open MPI lays it out since its version 2.
struct MessageStatus {
  int source, tag, error, cancelled;
  size_t bytes;
};

/// MPI_THREAD_SINGLE and so on; the same in all MPIs.
enum ThreadLevel { Single = 0, Funneled, Serialized, Multiple };

constexpr int success = 0;
/// MPI_UNDEFINED of Open MPI.
constexpr int undefined = -32766;

// Name of the member, of the function, and its parameters.
#define MOERT_MPI_FUNCTIONS(X)                                                 \
  X(initialized, MPI_Initialized, int *flag)                                   \
  X(finalized, MPI_Finalized, int *flag)                                       \
  X(initThread, MPI_Init_thread, int *argc, char ***argv, int required,        \
    int *provided)                                                             \
  X(queryThread, MPI_Query_thread, int *provided)                              \
  X(isThreadMain, MPI_Is_thread_main, int *flag)                               \
  X(finalize, MPI_Finalize, void)                                              \
  X(commRank, MPI_Comm_rank, Comm comm, int *rank)                             \
  X(commSize, MPI_Comm_size, Comm comm, int *size)                             \
  X(commTestInter, MPI_Comm_test_inter, Comm comm, int *flag)                  \
  X(commIdup, MPI_Comm_idup, Comm comm, Comm *copy, Request *request)          \
  X(commFree, MPI_Comm_free, Comm *comm)                                       \
  X(commGetErrhandler, MPI_Comm_get_errhandler, Comm comm,                     \
    Errhandler *handler)                                                       \
  X(commSetErrhandler, MPI_Comm_set_errhandler, Comm comm, Errhandler handler) \
  X(errhandlerFree, MPI_Errhandler_free, Errhandler *handler)                  \
  X(errorString, MPI_Error_string, int code, char *text, int *length)          \
  X(isend, MPI_Isend, const void *data, int count, Datatype type, int to,      \
    int tag, Comm comm, Request *request)                                      \
  X(issend, MPI_Issend, const void *data, int count, Datatype type, int to,    \
    int tag, Comm comm, Request *request)                                      \
  X(irecv, MPI_Irecv, void *data, int count, Datatype type, int from, int tag, \
    Comm comm, Request *request)                                               \
  X(iprobe, MPI_Iprobe, int from, int tag, Comm comm, int *flag,               \
    MessageStatus *status)                                                     \
  X(test, MPI_Test, Request *request, int *flag, MessageStatus *status)        \
  X(testsome, MPI_Testsome, int count, Request *requests, int *done,           \
    int *indices, MessageStatus *statuses)                                     \
  X(cancel, MPI_Cancel, Request *request)

/// The library's functions and predefined handles. Its own mutex is held around
/// every call where the library allows one thread at a time.
class Library {
public:
  /// The library of this process: the one that is loaded already, or else the
  /// machine's Open MPI. Opened once; says what to install when it is missing.
  static Expected<const Library *> get();

#define MOERT_MPI_MEMBER(name, symbol, ...) int (*name)(__VA_ARGS__) = nullptr;
  MOERT_MPI_FUNCTIONS(MOERT_MPI_MEMBER)
#undef MOERT_MPI_MEMBER

  int (*getVersion)(int *version, int *subversion) = nullptr;
  int (*getLibraryVersion)(char *text, int *length) = nullptr;

  Comm commWorld = nullptr;
  Comm commNull = nullptr;
  Datatype byte = nullptr;
  Request requestNull = nullptr;
  Errhandler errorsReturn = nullptr;

  /// "Open MPI v4.1.4".
  std::string version;

  /// Ok, or an error that says what call failed and why.
  Status check(int result, const char *call) const;

  /// Of all groups of the process, which may be on several threads.
  std::mutex &mutex() const;
};

/// Opens the library at `path`, checks its version, and looks everything else
/// up. With `mode` RTLD_NOLOAD only one that is loaded.
Status openLibrary(const char *path, int mode, Library &out);

} // namespace moe::rt::mpi

#endif // MOE_RUNTIME_LIB_MPI_LIBRARY_H
