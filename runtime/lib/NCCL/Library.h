//===- Library.h - the functions of NCCL ------------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The part of NCCL's interface that the runtime uses, declared here so that
/// nothing of NCCL is needed to build it. The library is opened when it is
/// first asked for.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LIB_NCCL_LIBRARY_H
#define MOE_RUNTIME_LIB_NCCL_LIBRARY_H

#include "CUDA/Driver.h"

#include <climits>
#include <cstddef>
#include <string>
#include <type_traits>
#include <vector>

namespace moe::rt::nccl {

using Result = int;
using CommHandle = struct OpaqueComm *;
using cuda::StreamHandle;

enum : Result {
  success = 0,
  unhandledCudaError = 1,
  systemError = 2,
  internalError = 3,
  invalidArgument = 4,
  invalidUsage = 5,
  remoteError = 6,
  inProgress = 7,
};

/// An element type of one byte: the runtime moves bytes.
enum DataType : int { typeInt8 = 0 };

struct UniqueId {
  char bytes[128];
};
static_assert(sizeof(UniqueId) == 128);

/// The configuration as NCCL 2.17 has it. Later versions have more fields; they
/// copy no more than `size` bytes, and take their defaults for what is newer
/// than `version`. NCCL 2.14, the first with one, knows the first 24 bytes.
struct Config {
  size_t size;
  unsigned magic = 0xcafebeef;
  unsigned version;
  int blocking = INT_MIN;
  int cgaClusterSize = INT_MIN;
  int minCTAs = INT_MIN;
  int maxCTAs = INT_MIN;
  const char *netName = nullptr;
  int splitShare = INT_MIN;
  int padding = INT_MIN;

  explicit Config(int library)
      : size(library < 21700 ? 24 : sizeof(Config)),
        version(library < 21700 ? 21400 : 21700) {}
};
static_assert(sizeof(Config) == 48 && offsetof(Config, minCTAs) == 24);

/// name in the table, symbol of the library, type.
#define MOERT_NCCL_FUNCTIONS(X)                                                \
  X(getErrorString, ncclGetErrorString, const char *(Result))                  \
  X(getUniqueId, ncclGetUniqueId, Result(UniqueId *))                          \
  X(commDestroy, ncclCommDestroy, Result(CommHandle))                          \
  X(commAbort, ncclCommAbort, Result(CommHandle))                              \
  X(commGetAsyncError, ncclCommGetAsyncError, Result(CommHandle, Result *))    \
  X(commCount, ncclCommCount, Result(CommHandle, int *))                       \
  X(commCuDevice, ncclCommCuDevice, Result(CommHandle, int *))                 \
  X(commUserRank, ncclCommUserRank, Result(CommHandle, int *))                 \
  X(groupStart, ncclGroupStart, Result())                                      \
  X(groupEnd, ncclGroupEnd, Result())                                          \
  X(send, ncclSend,                                                            \
    Result(const void *, size_t, int, int, CommHandle, StreamHandle))          \
  X(recv, ncclRecv, Result(void *, size_t, int, int, CommHandle, StreamHandle))

/// The same of functions that the oldest version that works does not have; they
/// may be null.
#define MOERT_NCCL_LATER_FUNCTIONS(X)                                          \
  X(getLastError, ncclGetLastError, const char *(CommHandle))                  \
  X(commInitRankConfig, ncclCommInitRankConfig,                                \
    Result(CommHandle *, int, UniqueId, int, Config *))                        \
  X(commFinalize, ncclCommFinalize, Result(CommHandle))                        \
  X(commSplit, ncclCommSplit,                                                  \
    Result(CommHandle, int, int, CommHandle *, Config *))

/// The NCCL of this process.
struct Library {
#define MOERT_NCCL_MEMBER(name, symbol, ...)                                   \
  std::add_pointer_t<__VA_ARGS__> name = nullptr;
  MOERT_NCCL_FUNCTIONS(MOERT_NCCL_MEMBER)
  MOERT_NCCL_LATER_FUNCTIONS(MOERT_NCCL_MEMBER)
#undef MOERT_NCCL_MEMBER

  int version = 0;     ///< 22809 for 2.28.9
  std::string path;    ///< of the file
  bool isOurs = false; ///< the runtime has brought it into the process

  /// From 2.9 on, sends and receives can be captured into CUDA graphs.
  static constexpr int oldestVersion = 20900;
  /// The first that makes communicators whose set-up can be given up.
  static constexpr int oldestOwnVersion = 21400;
  /// The first whose communicators can be split and share what they have.
  static constexpr int oldestSplitVersion = 21800;
  bool canSplit() const {
    return commSplit && commFinalize && version >= oldestSplitVersion;
  }

  /// Opens NCCL, once: the copy that is loaded already, such as that of torch;
  /// else the file that MOE_NCCL_LIBRARY names; else libnccl.so.2.
  /// MOERT_UNAVAILABLE, with the reason, when there is none, it is too old, or
  /// the process has two.
  static Expected<const Library *> get();

  /// "NCCL 2.28.9 (/usr/lib/libnccl.so.2)".
  std::string str() const;
  /// "ncclRemoteError (remote process exited ...)", and what NCCL says of
  /// `comm`, which may be null.
  std::string describe(Result result, CommHandle comm) const;
};

/// "2.28.9".
std::string versionText(int version);

/// Files of the copies of NCCL that are loaded, by any path.
std::vector<std::string> loadedCopies();

/// Opens NCCL; what get() does. `file` stands for MOE_NCCL_LIBRARY, and may be
/// null.
Status openLibrary(const char *file, Library &out);

} // namespace moe::rt::nccl

#endif // MOE_RUNTIME_LIB_NCCL_LIBRARY_H
