//===- Outputs.cpp - files that appear together ---------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Outputs.h"

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <map>
#include <sys/random.h>
#include <sys/stat.h>
#include <tuple>
#include <unistd.h>

using namespace moe::rt;
using namespace moe::run;

/// A name that nobody can guess, in the folder of the output: only within one
/// file system can it become the output's.
static std::string randomName() {
  uint64_t bits = 0;
  (void)!getrandom(&bits, sizeof(bits), 0);
  return format(".moe-run-%016llx", (unsigned long long)bits);
}

static std::string procPath(int fd) { return format("/proc/self/fd/%d", fd); }

OutputFile::OutputFile(std::string path, std::string temporary, UniqueFd folder,
                       UniqueFd file)
    : name(std::move(path)), temporary(std::move(temporary)),
      folderFd(std::move(folder)), file(std::move(file)), owner(getpid()) {
  base = name.substr(name.rfind('/') + 1);
}

OutputFile::~OutputFile() {
  // A moved-from object and one of a forked child own nothing.
  if (!folderFd.isValid() || owner != getpid())
    return;
  if (!temporary.empty())
    (void)unlinkat(folder(), temporary.c_str(), 0);
}

Status OutputFile::failed(int error) const {
  return makeOsError(MOERT_IO, error, "cannot write %s", name.c_str());
}

Expected<OutputFile> OutputFile::create(const std::string &path) {
  size_t slash = path.rfind('/');
  std::string parent = slash == path.npos ? "." : path.substr(0, slash + 1);
  OutputFile output(
      path, "",
      UniqueFd(open(parent.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)),
      UniqueFd());
  if (!output.folderFd.isValid())
    return output.failed(errno);
  if (Status s = output.checkTarget(); !s.isOk())
    return s;
  output.file = UniqueFd(
      openat(output.folder(), ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666));
  // Only through /proc can such a file get a name.
  if (output.file.isValid() && access(procPath(output.fd()).c_str(), F_OK) == 0)
    return output;
  if (!output.file.isValid() && errno != EOPNOTSUPP && errno != EISDIR &&
      errno != EINVAL && errno != ENOENT)
    return output.failed(errno);
  std::string drawn = randomName();
  output.file = UniqueFd(
      openat(output.folder(), drawn.c_str(),
             O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY | O_CLOEXEC, 0666));
  if (!output.file.isValid())
    return output.failed(errno);
  output.temporary = drawn;
  return output;
}

/// What is under the name now has to be something that a file can replace.
Status OutputFile::checkTarget() const {
  struct stat info;
  if (fstatat(folder(), base.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
    return errno == ENOENT ? Status::ok() : failed(errno);
  if (!S_ISREG(info.st_mode) && !S_ISLNK(info.st_mode))
    return makeError(MOERT_IO,
                     "cannot write %s: exists and is not a regular file",
                     name.c_str());
  return Status::ok();
}

bool OutputFile::targetExists() const {
  struct stat info;
  return fstatat(folder(), base.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0;
}

Status OutputFile::giveTemporaryName() {
  std::string drawn = randomName();
  if (linkat(AT_FDCWD, procPath(fd()).c_str(), folder(), drawn.c_str(),
             AT_SYMLINK_FOLLOW) != 0)
    return failed(errno);
  temporary = drawn;
  return Status::ok();
}

/// Does what can fail without anything to see. A file without a name cannot
/// take the place of another one, so it gets a temporary name here.
Status OutputFile::stage() {
  if (Status s = checkTarget(); !s.isOk())
    return s;
  return temporary.empty() && targetExists() ? giveTemporaryName()
                                             : Status::ok();
}

Status OutputFile::expose() {
  if (temporary.empty()) {
    if (linkat(AT_FDCWD, procPath(fd()).c_str(), folder(), base.c_str(),
               AT_SYMLINK_FOLLOW) == 0) {
      state = State::Created;
      return Status::ok();
    }
    if (errno != EEXIST)
      return failed(errno);
    // Another program has come between.
    if (Status s = giveTemporaryName(); !s.isOk())
      return s;
  }
  const char *from = temporary.c_str(), *to = base.c_str();
  if (renameat2(folder(), from, folder(), to, RENAME_EXCHANGE) == 0) {
    state = State::Exchanged;
    return Status::ok();
  }
  bool isMissing = errno == ENOENT;
  // Not all file systems exchange names: there the older file is moved away.
  if (!isMissing && errno != EINVAL && errno != ENOSYS)
    return failed(errno);
  if (!isMissing && targetExists()) {
    std::string away = randomName();
    if (renameat(folder(), to, folder(), away.c_str()) != 0)
      return failed(errno);
    spare = away;
  }
  if (renameat(folder(), from, folder(), to) != 0) {
    int error = errno;
    Status status = failed(error);
    if (!spare.empty() && renameat(folder(), spare.c_str(), folder(), to) == 0)
      spare.clear();
    return status;
  }
  temporary.clear();
  state = spare.empty() ? State::Created : State::Replaced;
  return Status::ok();
}

Status OutputFile::conceal() {
  int result = 0;
  switch (state) {
  case State::Hidden:
    return Status::ok();
  case State::Created:
    result = unlinkat(folder(), base.c_str(), 0);
    break;
  case State::Exchanged:
    result = renameat2(folder(), temporary.c_str(), folder(), base.c_str(),
                       RENAME_EXCHANGE);
    break;
  case State::Replaced:
    result = renameat(folder(), spare.c_str(), folder(), base.c_str());
    break;
  }
  if (result == 0) {
    state = State::Hidden;
    return Status::ok();
  }
  Status status = makeOsError(MOERT_IO, errno, "and %s could not be restored",
                              name.c_str());
  if (state == State::Created)
    return status;
  const std::string kept = state == State::Exchanged ? temporary : spare;
  // Now the only name of the older file.
  temporary.clear();
  return Status(status.code(), status.message() + ": its older contents are " +
                                   "in " + kept + " beside it");
}

void OutputFile::settle() {
  for (std::string *old : {&temporary, &spare})
    if (!old->empty())
      (void)unlinkat(folder(), old->c_str(), 0);
  temporary.clear();
  spare.clear();
}

/// Two outputs may be one file under different paths.
static Status checkDistinct(const std::vector<OutputFile> &files) {
  std::map<std::tuple<dev_t, ino_t, std::string>, const OutputFile *> seen;
  for (const OutputFile &file : files) {
    struct stat info{};
    (void)fstat(file.folder(), &info);
    std::string base = file.path().substr(file.path().rfind('/') + 1);
    auto [it, isNew] =
        seen.try_emplace({info.st_dev, info.st_ino, base}, &file);
    if (!isNew)
      return makeError(MOERT_INVALID_ARGUMENT,
                       "--out %s and %s are the same file",
                       it->second->path().c_str(), file.path().c_str());
  }
  return Status::ok();
}

Status moe::run::expose(std::vector<OutputFile> &files) {
  if (Status s = checkDistinct(files); !s.isOk())
    return s;
  for (OutputFile &file : files)
    if (Status s = file.stage(); !s.isOk())
      return s;
  Status status;
  for (OutputFile &file : files)
    if (status.isOk())
      status = file.expose();
  if (status.isOk())
    return status;
  Status undone = conceal(files);
  return undone.isOk() ? status
                       : Status(status.code(),
                                status.message() + "; " + undone.message());
}

void moe::run::settle(std::vector<OutputFile> &files) {
  for (OutputFile &file : files)
    file.settle();
}

Status moe::run::conceal(std::vector<OutputFile> &files) {
  Status status;
  for (auto file = files.rbegin(); file != files.rend(); ++file)
    if (Status s = file->conceal(); !s.isOk())
      status = status.isOk()
                   ? s
                   : Status(s.code(), status.message() + "; " + s.message());
  return status;
}
