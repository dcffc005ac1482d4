//===- ArtifactFile.cpp - the file to run, compiled if need be ------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ArtifactFile.h"
#include "Message.h"

#include "RankProcess.h"
#include "moe-runtime/Context.h"
#include "moe-runtime/Deadline.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace moe::rt;
using namespace moe::run;
using Json = nlohmann::json;

/// How much is kept of what the compiler says: errors after the first ones
/// rarely help.
static constexpr size_t mostTextBytes = 16384;

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
    place = parent && *parent ? parent : "/tmp";
    path = place + "/moe-run-XXXXXX";
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
  std::string place, path;
};
} // namespace

/// Waits for a child without a bound, or until `deadline`; signals that ask
/// moe-run to end, and the deadline, kill it. Returns its wait status.
static int waitForChild(pid_t child, const Signals &signals,
                        std::optional<Deadline> deadline, int &interruptedBy,
                        bool &isLate) {
  int status = 0;
  while (waitpid(child, &status, WNOHANG) == 0) {
    int number = signals.waitForNext(50);
    isLate |= deadline && deadline->isOver();
    if (number)
      interruptedBy = number;
    if (number || isLate)
      kill(child, SIGKILL);
  }
  return status;
}

static Status interrupted(int number) {
  return Status(MOERT_IO, "interrupted by " + describeSignal(number));
}

/// Forks. The child is killed with this process and has the signals that
/// moe-run was started with.
static pid_t forkChild(const Signals &signals) {
  pid_t parent = getpid();
  pid_t child = fork();
  if (child != 0)
    return child;
  sigprocmask(SIG_SETMASK, &signals.oldMask(), nullptr);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent)
    _exit(127);
  return 0;
}

/// The text in a memory file, or its beginning.
static std::string readText(int file) {
  std::string text(mostTextBytes, '\0');
  ssize_t bytes = pread(file, text.data(), text.size(), 0);
  text.resize(bytes > 0 ? bytes : 0);
  return text;
}

/// Runs the compiler. What it says becomes `said`, or the end of an error: all
/// processes of a job compile, and one of them speaks. The temporary folder
/// must survive signals, so they are waited for rather than delivered.
static Status runCompiler(const std::string &compiler, const std::string &in,
                          const std::string &target, const std::string &out,
                          const Signals &signals, std::string &said,
                          int &interruptedBy) {
  UniqueFd messages(memfd_create("moe-run-compiler", MFD_CLOEXEC));
  if (!messages.isValid())
    return makeOsError(MOERT_IO, errno, "cannot make a memory file");
  pid_t child = forkChild(signals);
  if (child < 0)
    return makeOsError(MOERT_IO, errno, "cannot start %s", compiler.c_str());
  if (child == 0) {
    (void)dup2(messages.get(), STDERR_FILENO);
    execl(compiler.c_str(), compiler.c_str(), in.c_str(), "--target",
          target.c_str(), "-o", out.c_str(), static_cast<char *>(nullptr));
    _exit(127);
  }
  bool isLate = false;
  int status =
      waitForChild(child, signals, std::nullopt, interruptedBy, isLate);
  if (interruptedBy)
    return interrupted(interruptedBy);
  said = readText(messages.get());
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
    return Status::ok();
  std::string reason = said.empty() ? "" : ":\n" + said;
  while (!reason.empty() && reason.back() == '\n')
    reason.pop_back();
  return makeError(MOERT_INVALID_ARGUMENT, "%s: moe-compile failed (%s %d)%s",
                   in.c_str(), WIFEXITED(status) ? "exit code" : "signal",
                   WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status),
                   reason.c_str());
}

/// What the child that looks into an artifact does: the facts, or what is
/// wrong, as a JSON text.
static void describeArtifact(const std::string &path, const std::string &name,
                             int out) {
  auto artifact = Artifact::open(path, name);
  Json json;
  if (artifact.isOk())
    json = {{"backend", (*artifact)->manifest().backendName()},
            {"ranks", (*artifact)->manifest().ranks}};
  else
    json = {{"error", artifact.status().message()}};
  std::string text = makeMessage(json);
  // Into the buffer of an empty pipe.
  text.resize(std::min<size_t>(text.size(), 60000));
  (void)!write(out, text.data(), text.size());
  // Without destructors, which would run in the ranks as well.
  _exit(0);
}

/// The artifact of rank 0. An error when the file cannot be looked into at
/// all, which no rank could do either.
static Status inspectArtifact(ArtifactFile &file, const Options &options,
                              const Signals &signals, int &interruptedBy) {
  std::string path = forRank(file.path, 0), name = forRank(file.displayName, 0);
  int pipeEnds[2];
  if (pipe2(pipeEnds, O_CLOEXEC) != 0)
    return makeOsError(MOERT_IO, errno, "cannot make a pipe");
  UniqueFd in(pipeEnds[0]), out(pipeEnds[1]);
  pid_t child = forkChild(signals);
  if (child < 0)
    return makeOsError(MOERT_IO, errno, "cannot start a process");
  if (child == 0)
    describeArtifact(path, name, out.get());
  out.reset();
  bool isLate = false;
  int status = waitForChild(child, signals, Deadline(options.timeoutSeconds),
                            interruptedBy, isLate);
  if (interruptedBy)
    return interrupted(interruptedBy);
  if (isLate)
    return makeError(MOERT_TIMEOUT,
                     "%s: opening the artifact did not end within %g s; a "
                     "constructor of it may hang",
                     name.c_str(), options.timeoutSeconds);
  std::string text(1 << 16, '\0');
  ssize_t bytes = read(in.get(), text.data(), text.size());
  text.resize(bytes > 0 ? bytes : 0);
  if (text.empty() || !WIFEXITED(status)) {
    std::string how = WIFSIGNALED(status)
                          ? "by " + describeSignal(WTERMSIG(status))
                          : format("with exit code %d", WEXITSTATUS(status));
    return makeError(MOERT_INVALID_ARGUMENT,
                     "%s: opening the artifact ended the process %s; a "
                     "constructor of it may be at fault",
                     name.c_str(), how.c_str());
  }
  Message message(text);
  if (message.has("backend"))
    file.facts = ArtifactFacts{message.text("backend"),
                               int64_t(message.number("ranks", 0))};
  else
    file.facts = Status(MOERT_INVALID_ARGUMENT,
                        message.has("error") ? message.text("error") : text);
  return Status::ok();
}

/// Settles what is taken from the artifact when the command line says nothing.
static Status settleTarget(ArtifactFile &file, Options &options,
                           const Signals &signals, int &interruptedBy) {
  if (!options.target.empty() && options.ranks)
    return Status::ok();
  Status status = inspectArtifact(file, options, signals, interruptedBy);
  if (status.isOk() && options.target.empty())
    options.target =
        file.facts.isOk() && file.facts->backend == "cuda" ? "cuda" : "host";
  return status;
}

Expected<ArtifactFile> moe::run::prepareArtifact(Options &options,
                                                 const Signals &signals,
                                                 int &interruptedBy) {
  const std::string &file = options.file;
  ArtifactFile artifact;
  artifact.path = artifact.displayName = file;
  const std::string suffix = ".mlir";
  if (file.size() <= suffix.size() ||
      file.compare(file.size() - suffix.size(), suffix.size(), suffix) != 0) {
    if (Status s = settleTarget(artifact, options, signals, interruptedBy);
        !s.isOk())
      return s;
    if (options.target != backendOf(options.target))
      return makeError(MOERT_INVALID_ARGUMENT,
                       "%s: an artifact is for a chip already, and --target "
                       "names another ('%s')",
                       file.c_str(), options.target.c_str());
    return artifact;
  }
  if (file.find("{rank}") != file.npos)
    return makeError(MOERT_INVALID_ARGUMENT,
                     "%s: a .mlir file is compiled once for all ranks, so its "
                     "path cannot have {rank}",
                     file.c_str());
  struct stat info;
  // The compiler would wait for somebody to write to a pipe.
  if (stat(file.c_str(), &info) == 0 && !S_ISREG(info.st_mode))
    return makeError(MOERT_IO, "%s: not a regular file", file.c_str());
  if (options.target.empty())
    options.target = "host";

  std::string compiler = programFolder() + "moe-compile";
  if (access(compiler.c_str(), X_OK) != 0)
    return makeError(MOERT_UNAVAILABLE,
                     "%s: a .mlir file needs moe-compile beside moe-run, at %s",
                     file.c_str(), compiler.c_str());
  TemporaryFolder folder;
  if (!folder.isMade)
    return makeOsError(MOERT_IO, errno,
                       "cannot make a temporary folder in %s (TMPDIR names the "
                       "place for it)",
                       folder.place.c_str());
  if (Status s = runCompiler(compiler, file, options.target, folder.file(),
                             signals, artifact.diagnostics, interruptedBy);
      !s.isOk())
    return s;
  artifact.fd = UniqueFd(open(folder.file().c_str(), O_RDONLY | O_CLOEXEC));
  if (!artifact.fd.isValid())
    return makeOsError(MOERT_IO, errno, "moe-compile wrote no artifact");
  artifact.path = format("/proc/self/fd/%d", artifact.fd.get());
  if (Status s = settleTarget(artifact, options, signals, interruptedBy);
      !s.isOk())
    return s;
  return artifact;
}
