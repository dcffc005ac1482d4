//===- Library.cpp - the functions of NCCL --------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Library.h"

#include <algorithm>
#include <cstdlib>
#include <dlfcn.h>
#include <iterator>
#include <link.h>
#include <mutex>

using namespace moe::rt;
using namespace moe::rt::nccl;

static const char usualName[] = "libnccl.so.2";
static const char howToInstall[] =
    "install the package libnccl2, or nvidia-nccl-cu13 from PyPI and set "
    "MOE_NCCL_LIBRARY to its libnccl.so.2";

std::string moe::rt::nccl::versionText(int version) {
  // Up to 2.8 there was one digit for the minor number.
  int unit = version >= 10000 ? 10000 : 1000;
  return format("%d.%d.%d", version / unit, version % unit / 100,
                version % 100);
}

//===----------------------------------------------------------------------===//
// Copies in the process
//===----------------------------------------------------------------------===//

/// Whether the file is NCCL by its name; libnccl-net.so is a plugin of it.
static bool isNccl(const std::string &path) {
  std::string name = path.substr(path.rfind('/') + 1);
  return name == "libnccl.so" || name.rfind("libnccl.so.", 0) == 0;
}

static int addCopy(dl_phdr_info *info, size_t, void *user) {
  std::string path = info->dlpi_name ? info->dlpi_name : "";
  if (isNccl(path))
    static_cast<std::vector<std::string> *>(user)->push_back(path);
  return 0;
}

std::vector<std::string> moe::rt::nccl::loadedCopies() {
  std::vector<std::string> paths;
  dl_iterate_phdr(addCopy, &paths);
  return paths;
}

/// A communicator of one copy means nothing to another one, and both would
/// share sockets, threads and shared memory by the same names.
static Status checkOneCopy() {
  std::vector<std::string> paths = loadedCopies();
  if (paths.size() < 2)
    return Status::ok();
  return makeError(MOERT_UNAVAILABLE,
                   "this process has loaded two copies of NCCL, %s and %s: "
                   "make all users of NCCL load one file, or unset "
                   "MOE_NCCL_LIBRARY",
                   paths[0].c_str(), paths[1].c_str());
}

//===----------------------------------------------------------------------===//
// Opening
//===----------------------------------------------------------------------===//

namespace {
/// What dlopen returned, until `keep`.
class Handle {
public:
  explicit Handle(void *handle) : handle(handle) {}
  ~Handle() {
    if (handle)
      dlclose(handle);
  }
  Handle(const Handle &) = delete;
  void *get() const { return handle; }
  void keep() { handle = nullptr; }

private:
  void *handle;
};
} // namespace

/// Brings NCCL into the process, or finds it there.
static void *findLibrary(const char *file, bool &isOurs, std::string &error) {
  isOurs = false;
  // By its soname, so from wherever torch has loaded it.
  if (void *loaded = dlopen(usualName, RTLD_NOW | RTLD_NOLOAD))
    return loaded;
  // It may have been loaded under a name without the version.
  for (const std::string &path : loadedCopies())
    if (void *loaded = dlopen(path.c_str(), RTLD_NOW | RTLD_NOLOAD))
      return loaded;
  isOurs = true;
  bool isNamed = file && *file;
  void *opened = dlopen(isNamed ? file : usualName, RTLD_NOW | RTLD_LOCAL);
  if (opened)
    return opened;
  const char *text = dlerror();
  error = text ? text : usualName;
  if (isNamed)
    error += " (MOE_NCCL_LIBRARY)";
  return nullptr;
}

static std::string pathOf(void *address) {
  Dl_info info;
  return dladdr(address, &info) && info.dli_fname ? info.dli_fname : usualName;
}

Status moe::rt::nccl::openLibrary(const char *file, Library &out) {
  std::string error;
  Handle library(findLibrary(file, out.isOurs, error));
  if (!library.get())
    return makeError(MOERT_UNAVAILABLE, "there is no NCCL: %s; %s",
                     error.c_str(), howToInstall);
  if (Status s = checkOneCopy(); !s.isOk())
    return s;
  // The version first, since an old library lacks functions.
  using GetVersion = Result(int *);
  void *symbol = dlsym(library.get(), "ncclGetVersion");
  auto *getVersion = reinterpret_cast<GetVersion *>(symbol);
  if (!getVersion || getVersion(&out.version) != success)
    return makeError(MOERT_UNAVAILABLE,
                     "%s does not tell the version of NCCL; %s",
                     file && *file ? file : usualName, howToInstall);
  out.path = pathOf(symbol);
  if (out.version < Library::oldestVersion)
    return makeError(MOERT_UNAVAILABLE,
                     "%s is too old: %s is the oldest that works, since "
                     "sends and receives can be captured into CUDA graphs "
                     "from there on; %s",
                     out.str().c_str(),
                     versionText(Library::oldestVersion).c_str(), howToInstall)
        .expecting(versionText(Library::oldestVersion),
                   versionText(out.version));
#define MOERT_NCCL_LATER_LOOKUP(name, symbol, ...)                             \
  out.name = reinterpret_cast<std::add_pointer_t<__VA_ARGS__>>(                \
      dlsym(library.get(), #symbol));
#define MOERT_NCCL_LOOKUP(name, symbol, ...)                                   \
  MOERT_NCCL_LATER_LOOKUP(name, symbol, __VA_ARGS__)                           \
  if (!out.name)                                                               \
    return makeError(MOERT_UNAVAILABLE, "%s lacks %s; %s", out.str().c_str(),  \
                     #symbol, howToInstall);
  MOERT_NCCL_FUNCTIONS(MOERT_NCCL_LOOKUP)
  MOERT_NCCL_LATER_FUNCTIONS(MOERT_NCCL_LATER_LOOKUP)
#undef MOERT_NCCL_LOOKUP
#undef MOERT_NCCL_LATER_LOOKUP
  // Its threads run as long as the process does.
  library.keep();
  return Status::ok();
}

Expected<const Library *> Library::get() {
  static std::mutex mutex;
  static Library library;
  std::lock_guard<std::mutex> lock(mutex);
  if (library.version) {
    // Another one may have come since.
    if (Status s = checkOneCopy(); !s.isOk())
      return s;
    return &library;
  }
  Library opened;
  if (Status s = openLibrary(std::getenv("MOE_NCCL_LIBRARY"), opened);
      !s.isOk())
    return s;
  library = opened;
  return &library;
}

//===----------------------------------------------------------------------===//
// Texts
//===----------------------------------------------------------------------===//

std::string Library::str() const {
  return format("NCCL %s (%s)", versionText(version).c_str(), path.c_str());
}

std::string Library::describe(Result result, CommHandle comm) const {
  static const char *const names[] = {
      "ncclSuccess",       "ncclUnhandledCudaError", "ncclSystemError",
      "ncclInternalError", "ncclInvalidArgument",    "ncclInvalidUsage",
      "ncclRemoteError",   "ncclInProgress",         "ncclTimeout"};
  bool isKnown = result >= 0 && size_t(result) < std::size(names);
  const char *text = getErrorString(result);
  std::string name = isKnown ? names[result] : format("error %d", result);
  std::string whole = format("%s (%s)", name.c_str(), text ? text : "no text");
  const char *last = getLastError ? getLastError(comm) : nullptr;
  if (!last || !*last)
    return whole;
  std::string detail = last;
  std::replace(detail.begin(), detail.end(), '\n', ' ');
  while (!detail.empty() && detail.back() == ' ')
    detail.pop_back();
  // Of any communicator of the process, maybe long ago.
  return whole + "; the last warning of NCCL: " + detail;
}
