//===- LaunchedJob.h - ranks that a launcher started ------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// mpirun, mpiexec, srun and torchrun start one process per rank and say in its
/// environment which one it is. Rank and size are taken from there; no library
/// of theirs is needed as long as all processes are on one host.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LAUNCHEDJOB_H
#define MOE_RUNTIME_LAUNCHEDJOB_H

#include "moe-runtime/Bootstrap.h"

#include <functional>
#include <optional>
#include <string>
#include <sys/types.h>

namespace moe::rt {

/// A job of several processes, of which this is one.
struct LaunchedJob {
  std::string launcher;     ///< "Open MPI"
  std::string rankVariable; ///< "OMPI_COMM_WORLD_RANK"
  int rank = 0;
  int size = 0;   ///< 0 when the environment does not tell
  std::string id; ///< what the launcher calls the job; may be empty
  /// Some of its processes are on another host than this one.
  bool isOnSeveralHosts = false;
};

/// Value of a variable, or null.
using Environment = std::function<const char *(const char *name)>;

/// The job that this process belongs to; none when it was started alone, also
/// as the only process of a job. False after filling `error` when the
/// environment contradicts itself or the job cannot be joined.
bool detectJob(const Environment &environment, std::optional<LaunchedJob> &job,
               std::string &error);

/// Process that started those of the job on this host: the nearest one above
/// this process that is no rank itself. 0 when it cannot be told.
pid_t findLauncher(const LaunchedJob &job);

/// A name that all processes of the job on this host find, and no other
/// process. Other users cannot know it where the launcher is not theirs.
std::string placeOf(const LaunchedJob &job, pid_t launcher);

/// Collective among the processes of the job: meets them within the time-out,
/// by MPI where they are on several hosts. Every process makes its n-th group
/// with the others' n-th.
Expected<std::unique_ptr<Bootstrap>> createJobBootstrap(const LaunchedJob &job,
                                                        double timeoutSeconds);

} // namespace moe::rt

#endif // MOE_RUNTIME_LAUNCHEDJOB_H
