//===- LaunchedJob.cpp - ranks that a launcher started --------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/LaunchedJob.h"

#include "moe-runtime/GroupControl.h"
#include "moe-runtime/Status.h"

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <unistd.h>
#include <vector>

using namespace moe::rt;

namespace {
/// How a kind of launcher describes a process.
struct LauncherKind {
  const char *name;
  const char *rank;
  std::vector<const char *> sizes;      ///< the first that is set counts
  std::vector<const char *> localSizes; ///< processes on this host
  std::vector<const char *> ids;
  /// Without it the other variables are not of this launcher; may be null.
  const char *mark = nullptr;
};
} // namespace

/// The innermost first: torchrun may run inside of mpirun, that inside of srun,
/// and MPIs set PMI's variables besides their own.
static const std::vector<LauncherKind> &launcherKinds() {
  static const std::vector<LauncherKind> kinds = {
      {"torchrun",
       "RANK",
       {"WORLD_SIZE"},
       {"LOCAL_WORLD_SIZE"},
       {"TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT"},
       "TORCHELASTIC_RUN_ID"},
      {"Open MPI",
       "OMPI_COMM_WORLD_RANK",
       {"OMPI_COMM_WORLD_SIZE"},
       {"OMPI_COMM_WORLD_LOCAL_SIZE"},
       {"PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid"}},
      {"MVAPICH",
       "MV2_COMM_WORLD_RANK",
       {"MV2_COMM_WORLD_SIZE"},
       {"MV2_COMM_WORLD_LOCAL_SIZE"},
       {}},
      {"PMI", "PMI_RANK", {"PMI_SIZE"}, {"MPI_LOCALNRANKS"}, {"PMI_JOBID"}},
      {"Slurm",
       "SLURM_PROCID",
       {"SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "SLURM_NPROCS"},
       {},
       {"SLURM_JOB_ID", "SLURM_STEP_ID"}},
      {"PMIx", "PMIX_RANK", {}, {}, {"PMIX_NAMESPACE"}},
  };
  return kinds;
}

static bool parseCount(const char *text, int &out) {
  char *end = nullptr;
  errno = 0;
  long value = std::strtol(text, &end, 10);
  if (!*text || *end || errno || value < 0 || value > 1000000)
    return false;
  out = static_cast<int>(value);
  return true;
}

static const char *firstSet(const Environment &environment,
                            const std::vector<const char *> &names) {
  for (const char *name : names)
    if (environment(name))
      return name;
  return nullptr;
}

/// The script of sbatch has the variables of a task, but is alone: srun inside
/// of it starts the tasks, and numbers the step.
static bool isBatchScript(const Environment &environment) {
  const char *kind = environment("ENVIRONMENT");
  return !environment("SLURM_STEP_ID") && kind && std::string(kind) == "BATCH";
}

/// Whether some processes are on other hosts. Returns why they cannot be the
/// ranks, or "".
static std::string checkHosts(const Environment &environment,
                              const LauncherKind &kind, LaunchedJob &job) {
  const char *name = firstSet(environment, kind.localSizes);
  int local = job.size, nodes = 1;
  if (name && !parseCount(environment(name), local))
    return format("%s is '%s', not a number", name, environment(name));
  bool isSlurm = std::string(kind.name) == "Slurm";
  const char *text = isSlurm ? environment("SLURM_STEP_NUM_NODES") : nullptr;
  if (text && !parseCount(text, nodes))
    return format("SLURM_STEP_NUM_NODES is '%s', not a number", text);
  job.isOnSeveralHosts = local < job.size || nodes > 1;
  // Its processes have no MPI.
  if (job.isOnSeveralHosts && job.launcher == "torchrun")
    return format("the torchrun job has %d processes, but only %d on this host "
                  "(%s); make the group from torch's process group "
                  "(Group.from_torch in Python), or start the processes by "
                  "mpirun or srun",
                  job.size, local, name);
  return "";
}

/// The variables by which torch.distributed makes a group may be set by hand.
/// They do not tell which processes are on this host, nor need those have been
/// started by one process, so there is no place at which they would meet. To
/// start alone in spite of them would give each process a group of its own.
/// Returns what is wrong, or "".
static std::string checkTorchByHand(const Environment &environment) {
  for (const char *name : {"RANK", "MASTER_ADDR", "MASTER_PORT"})
    if (!environment(name))
      return "";
  const char *text = environment("WORLD_SIZE");
  int size = 0;
  if (!text || !parseCount(text, size) || size <= 1 ||
      environment("TORCHELASTIC_RUN_ID"))
    return "";
  return format("RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT make this "
                "process one of %d of torch.distributed, but were not set by "
                "torchrun, which sets TORCHELASTIC_RUN_ID, too; start the "
                "processes by torchrun, or make the group from torch's process "
                "group (Group.from_torch in Python)",
                size);
}

bool moe::rt::detectJob(const Environment &environment,
                        std::optional<LaunchedJob> &job, std::string &error) {
  job.reset();
  for (const LauncherKind &kind : launcherKinds()) {
    const char *rankText = environment(kind.rank);
    const char *sizeName = firstSet(environment, kind.sizes);
    LaunchedJob found;
    found.launcher = kind.name;
    found.rankVariable = kind.rank;
    bool isSlurm = found.launcher == "Slurm";
    if (isSlurm && (!rankText || isBatchScript(environment)))
      continue; // an allocation, but no task
    if ((!rankText && !sizeName) || (kind.mark && !environment(kind.mark)))
      continue;
    if (sizeName && !parseCount(environment(sizeName), found.size)) {
      error = format("%s is '%s', not a number of processes", sizeName,
                     environment(sizeName));
      return false;
    }
    if (!rankText) {
      if (found.size == 1)
        continue;
      error = format("%s is set, but %s is not, so this process cannot tell "
                     "which rank it is",
                     sizeName, kind.rank);
      return false;
    }
    if (!parseCount(rankText, found.rank)) {
      error = format("%s is '%s', not a rank", kind.rank, rankText);
      return false;
    }
    // One process is no job: it starts the ranks.
    if (found.size == 1 && found.rank == 0)
      return true;
    if (sizeName && found.rank >= found.size) {
      error = format("%s is %d, but %s is %d", kind.rank, found.rank, sizeName,
                     found.size);
      return false;
    }
    if (!sizeName && !kind.sizes.empty()) {
      if (isSlurm)
        continue;
      error = format("%s is set, but %s is not, so this process cannot tell "
                     "how many ranks there are",
                     kind.rank, kind.sizes.front());
      return false;
    }
    error = checkHosts(environment, kind, found);
    if (!error.empty())
      return false;
    for (const char *id : kind.ids)
      if (const char *value = environment(id))
        found.id += std::string(value) + "/";
    job = std::move(found);
    return true;
  }
  for (const char *name : {"PMI_FD", "PMI_PORT", "PMI_ID"})
    if (environment(name)) {
      error = format("%s is set, but PMI_RANK and PMI_SIZE are not: this "
                     "launcher does not say which of its processes is which "
                     "rank",
                     name);
      return false;
    }
  std::string wrong = checkTorchByHand(environment);
  if (!wrong.empty())
    error = wrong;
  return wrong.empty();
}

//===----------------------------------------------------------------------===//
// Where the processes of a job meet
//===----------------------------------------------------------------------===//

static std::string readFile(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

/// Fields of /proc/PID/stat from the state on; what comes before may contain
/// spaces.
static std::vector<std::string> processFields(pid_t pid) {
  std::string text = readFile("/proc/" + std::to_string(pid) + "/stat");
  size_t end = text.rfind(')');
  std::istringstream fields(end == text.npos ? "" : text.substr(end + 1));
  std::vector<std::string> found;
  for (std::string field; fields >> field;)
    found.push_back(field);
  return found;
}

pid_t moe::rt::findLauncher(const LaunchedJob &job) {
  std::string variable = job.rankVariable + "=";
  for (pid_t pid = getppid(); pid > 1;) {
    std::string entries = readFile("/proc/" + std::to_string(pid) + "/environ");
    // That of another user's process, such as slurmstepd, cannot be read.
    bool isRank = entries.rfind(variable, 0) == 0 ||
                  entries.find('\0' + variable) != entries.npos;
    if (!isRank)
      return pid;
    std::vector<std::string> fields = processFields(pid);
    pid = fields.size() > 1 ? std::atoi(fields[1].c_str()) : 0;
  }
  return 0;
}

std::string moe::rt::placeOf(const LaunchedJob &job, pid_t launcher) {
  std::string text = job.launcher + "\n" + job.id + "\n";
  if (launcher > 0) {
    std::vector<std::string> fields = processFields(launcher);
    text += format("%d\n%s\n", int(launcher),
                   fields.size() > 19 ? fields[19].c_str() : "");
    // Addresses that were drawn by lot when the launcher was started. Only its
    // user can read them, so nobody else can be at the place first.
    text += readFile("/proc/" + std::to_string(launcher) + "/auxv");
  }
  return format("moe-run/%u/%016llx%016llx", unsigned(geteuid()),
                (unsigned long long)hashText(text),
                (unsigned long long)hashText(text, 1));
}
