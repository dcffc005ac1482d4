//===- SharedObject.cpp - code loaded from bytes --------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/SharedObject.h"

#include "moe-runtime/ArtifactABI.h"
#include "moe-runtime/FileSizeLimit.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <map>
#include <mutex>
#include <sys/mman.h>
#include <sys/stat.h>

using namespace moe::rt;

//===----------------------------------------------------------------------===//
// Bytes
//===----------------------------------------------------------------------===//

static bool isSameState(const struct stat &a, const struct stat &b) {
  auto isSame = [](const timespec &x, const timespec &y) {
    return x.tv_sec == y.tv_sec && x.tv_nsec == y.tv_nsec;
  };
  return a.st_size == b.st_size && isSame(a.st_mtim, b.st_mtim);
}

Expected<std::string> moe::rt::readWholeFile(const std::string &path) {
  // A pipe without a writer would be waited for.
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat before, after;
  if (!fd.isValid() || fstat(fd.get(), &before) != 0)
    return makeOsError(MOERT_IO, errno, "cannot open the artifact");
  if (!S_ISREG(before.st_mode))
    return Status(MOERT_IO, "not a regular file");
  std::string bytes(size_t(before.st_size), '\0');
  size_t have = 0;
  while (have < bytes.size()) {
    ssize_t got = ::read(fd.get(), &bytes[have],
                         std::min(bytes.size() - have, size_t(1) << 30));
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return makeOsError(MOERT_IO, errno, "cannot read the artifact");
    if (got == 0)
      break;
    have += size_t(got);
  }
  if (have < bytes.size() || fstat(fd.get(), &after) != 0 ||
      !isSameState(before, after))
    return Status(MOERT_IO, "the artifact changed while it was read; write it "
                            "under another name and rename it");
  return bytes;
}

/// Whether all of the file is there: the loader maps what its headers name, and
/// a page past the end of the file would end the process when it is read.
static Status checkExtent(std::string_view bytes) {
  Status damaged(MOERT_INVALID_ARGUMENT,
                 "not an artifact, or only a part of one");
  ElfW(Ehdr) header;
  if (bytes.size() < sizeof(header))
    return damaged;
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
      header.e_ident[EI_CLASS] != ELFCLASS64 ||
      header.e_phentsize != sizeof(ElfW(Phdr)))
    return damaged;
  auto fits = [&](uint64_t offset, uint64_t size) {
    return offset <= bytes.size() && size <= bytes.size() - offset;
  };
  // Sections are not loaded, but their table comes last.
  if (!fits(header.e_shoff, uint64_t(header.e_shnum) * header.e_shentsize) ||
      !fits(header.e_phoff, uint64_t(header.e_phnum) * sizeof(ElfW(Phdr))))
    return damaged;
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    ElfW(Phdr) segment;
    std::memcpy(&segment, &bytes[header.e_phoff + i * sizeof(segment)],
                sizeof(segment));
    if (!fits(segment.p_offset, segment.p_filesz))
      return damaged;
  }
  return Status::ok();
}

/// Whether the bytes are those that the compiler wrote: code or tables that a
/// disk or a copy has damaged would end the process, or compute something else.
static Status checkSeal(std::string_view bytes) {
  constexpr std::string_view text = MOERT_ARTIFACT_SEAL;
  constexpr size_t size = sizeof(Digest) + text.size();
  if (bytes.size() < size || bytes.substr(bytes.size() - text.size()) != text)
    return Status::ok();
  Digest expected, seen = sha256(bytes.substr(0, bytes.size() - size));
  std::memcpy(expected.data(), &bytes[bytes.size() - size], expected.size());
  if (seen == expected)
    return Status::ok();
  return makeError(MOERT_INVALID_ARGUMENT,
                   "the artifact is damaged: expected bytes with the SHA-256 "
                   "%s, got %s; compile it again, or copy it again",
                   toHex(expected).c_str(), toHex(seen).c_str());
}

//===----------------------------------------------------------------------===//
// Memory files
//===----------------------------------------------------------------------===//

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

static const char forbidden[] =
    "the machine's policy (SELinux, a seccomp filter, or the sysctl "
    "vm.memfd_noexec) keeps this process from running code that is in memory "
    "files; allow it for this program";

/// A sealed copy of the bytes that can be mapped as code.
static Expected<UniqueFd> copyToMemory(std::string_view bytes,
                                       const std::string &name) {
  // Kernels before 6.3 do not know the flag, and need none.
  constexpr unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  std::string shown = name.substr(name.rfind('/') + 1).substr(0, 200);
  UniqueFd fd(memfd_create(shown.c_str(), flags | MFD_EXEC));
  if (!fd.isValid() && errno == EINVAL)
    fd = UniqueFd(memfd_create(shown.c_str(), flags));
  if (!fd.isValid())
    return errno == EACCES || errno == EPERM
               ? makeOsError(MOERT_IO, errno, "%s", forbidden)
               : makeOsError(MOERT_OUT_OF_MEMORY, errno,
                             "cannot make a memory file of the artifact");
  FileSizeSignalBlock block;
  for (size_t at = 0; at < bytes.size();) {
    ssize_t put = ::write(fd.get(), &bytes[at],
                          std::min(bytes.size() - at, size_t(1) << 30));
    if (put > 0)
      at += size_t(put);
    else if (put == 0 || errno != EINTR)
      return makeFileError(
          MOERT_OUT_OF_MEMORY, put ? errno : ENOSPC,
          format("cannot copy the %zu bytes of the artifact to memory",
                 bytes.size()));
  }
  if (fcntl(fd.get(), F_ADD_SEALS,
            F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return makeOsError(MOERT_IO, errno, "cannot seal a memory file");
  void *code = mmap(nullptr, bytes.size(), PROT_READ | PROT_EXEC, MAP_PRIVATE,
                    fd.get(), 0);
  if (code == MAP_FAILED)
    return errno == EACCES || errno == EPERM
               ? makeOsError(MOERT_IO, errno, "%s", forbidden)
               : makeOsError(MOERT_OUT_OF_MEMORY, errno,
                             "cannot map the %zu bytes of the artifact",
                             bytes.size());
  munmap(code, bytes.size());
  return fd;
}

/// The path of a descriptor, as debuggers can follow it, too: to them
/// /proc/self is their own.
static Expected<std::string> pathOf(int fd) {
  struct stat wanted, seen;
  if (fstat(fd, &wanted) != 0)
    return makeOsError(MOERT_IO, errno, "cannot look at a memory file");
  for (const std::string &process :
       {std::to_string(getpid()), std::string("self")}) {
    std::string path = "/proc/" + process + "/fd/" + std::to_string(fd);
    if (stat(path.c_str(), &seen) == 0 && seen.st_dev == wanted.st_dev &&
        seen.st_ino == wanted.st_ino)
      return path;
  }
  return Status(MOERT_IO, "artifacts are loaded through /proc, which this "
                          "process does not see; mount it");
}

//===----------------------------------------------------------------------===//
// The loader
//===----------------------------------------------------------------------===//

/// Artifacts look their imports up in the global scope. A program may have
/// opened the runtime with RTLD_LOCAL, as Python does: make it global.
static void exportRuntimeSymbols() {
  static std::once_flag once;
  std::call_once(once, [] {
    void *self = reinterpret_cast<void *>(&moert_wait);
    Dl_info info;
    if (dladdr(self, &info))
      (void)dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_GLOBAL);
    // Generated code calls expf and the like.
    (void)dlopen("libm.so.6", RTLD_LAZY | RTLD_GLOBAL);
  });
}

/// One thread at a time opens and closes: an error text belongs to the call
/// before it, and race detectors do not know the loader's own locks.
static std::mutex &loaderMutex() {
  static std::mutex mutex;
  return mutex;
}

static std::map<Digest, std::weak_ptr<SharedObject>> &loadedObjects() {
  // Never destroyed: threads may run until the process has ended.
  static auto *objects = new std::map<Digest, std::weak_ptr<SharedObject>>;
  return *objects;
}

Status SharedObject::open(int flags) {
  handle = dlopen(path.c_str(), flags | RTLD_LOCAL);
  if (handle)
    return Status::ok();
  const char *error = dlerror();
  std::string text = error ? error : "unknown error";
  // It is called otherwise where it came from.
  if (text.rfind(path + ": ", 0) == 0)
    text.erase(0, path.size() + 2);
  return Status(flags & RTLD_NOW ? MOERT_ABI_MISMATCH : MOERT_INVALID_ARGUMENT,
                "cannot load the artifact: " + text);
}

void SharedObject::close() {
  if (handle)
    dlclose(std::exchange(handle, nullptr));
}

SharedObject::~SharedObject() {
  std::lock_guard<std::mutex> lock(loaderMutex());
  close();
}

Expected<std::shared_ptr<SharedObject>>
SharedObject::load(std::string_view bytes, const std::string &name,
                   const Check &check) {
  if (Status s = checkExtent(bytes); !s.isOk())
    return s;
  if (Status s = checkSeal(bytes); !s.isOk())
    return s;
  exportRuntimeSymbols();
  // Before the lock, since their destructor takes the lock, too.
  std::shared_ptr<SharedObject> object(new SharedObject(sha256(bytes)));
  std::shared_ptr<SharedObject> loaded;
  std::lock_guard<std::mutex> lock(loaderMutex());
  auto &objects = loadedObjects();
  for (auto it = objects.begin(); it != objects.end();)
    it = it->second.expired() ? objects.erase(it) : std::next(it);
  if (auto it = objects.find(object->bytesDigest); it != objects.end())
    loaded = it->second.lock();
  if (loaded) {
    if (Status s = check(*loaded); !s.isOk())
      return s;
    return loaded;
  }
  auto file = copyToMemory(bytes, name);
  if (!file.isOk())
    return file.status();
  object->file = file.take();
  auto path = pathOf(object->file.get());
  if (!path.isOk())
    return path.status();
  object->path = path.take();
  // Lazily first: an artifact of another version may import functions this
  // runtime does not have, and should be told so by its version.
  if (Status s = object->open(RTLD_LAZY); !s.isOk())
    return s;
  Status status = check(*object);
  object->close();
  // Now resolve everything, or a missing function would end the process when
  // it is first called.
  if (status.isOk())
    status = object->open(RTLD_NOW);
  if (!status.isOk())
    return status;
  objects[object->bytesDigest] = object;
  return object;
}

void *SharedObject::find(const char *symbol) const {
  return dlsym(handle, symbol);
}

std::string_view SharedObject::contents(const char *symbol) const {
  auto *start = static_cast<const char *>(find(symbol));
  Dl_info info;
  void *extra = nullptr;
  if (!start || !dladdr1(start, &info, &extra, RTLD_DL_SYMENT) || !extra)
    return {};
  return {start, static_cast<const ElfW(Sym) *>(extra)->st_size};
}
