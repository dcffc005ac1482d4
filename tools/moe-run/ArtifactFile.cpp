//===- ArtifactFile.cpp - the file to run, compiled if need be ------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ArtifactFile.h"

#include "moe-runtime/Context.h"

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <string>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace moe::rt;
using namespace moe::run;

std::string moe::run::programFolder() {
  char buffer[4096];
  ssize_t length = readlink("/proc/self/exe", buffer, sizeof(buffer));
  std::string path(buffer, length > 0 ? length : 0);
  return path.substr(0, path.rfind('/') + 1);
}

namespace {
/// A folder that is gone, with the one file in it, when this object is.
class TemporaryFolder {
public:
  TemporaryFolder() {
    const char *parent = std::getenv("TMPDIR");
    path = std::string(parent && *parent ? parent : "/tmp") + "/moe-run-XXXXXX";
    isMade = mkdtemp(path.data()) != nullptr;
  }
  ~TemporaryFolder() {
    if (!isMade)
      return;
    (void)unlink(file().c_str());
    (void)rmdir(path.c_str());
  }
  std::string file() const { return path + "/artifact.so"; }
  bool isMade = false;
  std::string path;
};
} // namespace

/// Runs the compiler; the temporary folder must survive signals, so they are
/// waited for rather than delivered.
static Status runCompiler(const std::string &compiler, const std::string &in,
                          const std::string &target, const std::string &out) {
  pid_t parent = getpid();
  pid_t child = fork();
  if (child < 0)
    return makeOsError(MOERT_IO, errno, "cannot start %s", compiler.c_str());
  if (child == 0) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent)
      execl(compiler.c_str(), compiler.c_str(), in.c_str(), "--target",
            target.c_str(), "-o", out.c_str(), static_cast<char *>(nullptr));
    _exit(127);
  }
  int interruptedBy = 0, status = 0;
  while (waitpid(child, &status, WNOHANG) == 0) {
    sigset_t awaited;
    sigemptyset(&awaited);
    for (int signal : {SIGCHLD, SIGINT, SIGTERM, SIGHUP})
      sigaddset(&awaited, signal);
    // A bounded wait, in case SIGCHLD is not blocked and thus not kept.
    timespec slice{0, 50000000};
    int signal = sigtimedwait(&awaited, nullptr, &slice);
    if (signal == SIGINT || signal == SIGTERM || signal == SIGHUP) {
      interruptedBy = signal;
      kill(child, SIGKILL);
    }
  }
  if (interruptedBy)
    return makeError(MOERT_IO, "interrupted by signal %d", interruptedBy);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
    return Status::ok();
  return makeError(MOERT_INVALID_ARGUMENT, "%s: moe-compile failed (%s %d)",
                   in.c_str(), WIFEXITED(status) ? "exit code" : "signal",
                   WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

/// What the artifact of rank 0 is for. What is wrong with a file that does not
/// open will be said where it is loaded.
static std::string targetOf(const std::string &file) {
  auto artifact = Artifact::open(forRank(file, 0), forRank(file, 0));
  std::string backend =
      artifact.isOk() ? (*artifact)->manifest().backendName() : "host";
  return backend == "cuda" ? backend : "host";
}

Expected<ArtifactFile> moe::run::prepareArtifact(Options &options) {
  const std::string &file = options.file;
  ArtifactFile artifact;
  artifact.path = artifact.displayName = file;
  const std::string suffix = ".mlir";
  if (file.size() <= suffix.size() ||
      file.compare(file.size() - suffix.size(), suffix.size(), suffix) != 0) {
    if (options.target.empty())
      options.target = targetOf(file);
    if (options.target != backendOf(options.target))
      return makeError(MOERT_INVALID_ARGUMENT,
                       "%s: an artifact is for a chip already, and --target "
                       "names another ('%s')",
                       file.c_str(), options.target.c_str());
    return artifact;
  }
  if (options.target.empty())
    options.target = "host";

  std::string compiler = programFolder() + "moe-compile";
  if (access(compiler.c_str(), X_OK) != 0)
    return makeError(MOERT_UNAVAILABLE,
                     "%s: a .mlir file needs moe-compile beside moe-run, at %s",
                     file.c_str(), compiler.c_str());
  TemporaryFolder folder;
  if (!folder.isMade)
    return makeOsError(MOERT_IO, errno, "cannot make a temporary folder");
  if (Status s = runCompiler(compiler, file, options.target, folder.file());
      !s.isOk())
    return s;
  artifact.fd = UniqueFd(open(folder.file().c_str(), O_RDONLY | O_CLOEXEC));
  if (!artifact.fd.isValid())
    return makeOsError(MOERT_IO, errno, "moe-compile wrote no artifact");
  artifact.path = format("/proc/self/fd/%d", artifact.fd.get());
  return artifact;
}
