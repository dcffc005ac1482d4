//===- Library.cpp - an MPI library opened at run time --------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Library.h"

#include <algorithm>
#include <dlfcn.h>
#include <vector>

using namespace moe::rt;
using namespace moe::rt::mpi;

/// What Open MPI has been called since its version 2.
static constexpr char openMpi[] = "libmpi.so.40";
/// MPICH and what has its ABI, as it is called by itself and on Debian.
static constexpr const char *mpichs[] = {"libmpi.so.12", "libmpich.so.12"};

static constexpr char remedy[] =
    "install Open MPI (on Debian and Ubuntu the package libopenmpi3) on every "
    "host, and start the job with its mpirun";

template <typename Symbol>
static Status lookUp(void *library, const char *symbol,
                     const std::string &version, Symbol &out) {
  out = reinterpret_cast<Symbol>(dlsym(library, symbol));
  if (out)
    return Status::ok();
  return makeError(MOERT_UNAVAILABLE,
                   "the MPI library (%s) cannot be used: it lacks %s",
                   version.c_str(), symbol);
}

/// The first line, up to the comma: "Open MPI v4.1.4".
static std::string shorten(const char *text) {
  std::string line(text);
  return line.substr(0, line.find_first_of(",\r\n"));
}

Status moe::rt::mpi::openLibrary(const char *path, int mode, Library &out) {
  // Its components look symbols of the library up in the global scope.
  void *library = dlopen(path, RTLD_NOW | RTLD_GLOBAL | mode);
  if (!library) {
    const char *text = dlerror();
    return makeError(MOERT_UNAVAILABLE, "there is no MPI library: %s; %s",
                     text ? text : path, remedy);
  }
  // The version first, since the rest depends on it.
  if (Status s = lookUp(library, "MPI_Get_version", path, out.getVersion);
      !s.isOk())
    return s;
  if (Status s = lookUp(library, "MPI_Get_library_version", path,
                        out.getLibraryVersion);
      !s.isOk())
    return s;
  int version = 0, subversion = 0, length = 0;
  // MPICH writes up to 8192 characters.
  std::vector<char> text(16384);
  if (out.getVersion(&version, &subversion) != success ||
      out.getLibraryVersion(text.data(), &length) != success)
    return makeError(MOERT_UNAVAILABLE,
                     "the MPI library %s does not tell its version; %s", path,
                     remedy);
  out.version = shorten(text.data());
  if (out.version.rfind("Open MPI", 0) != 0)
    return makeError(MOERT_UNAVAILABLE,
                     "the MPI library %s is %s, whose interface the runtime "
                     "does not know; %s",
                     path, out.version.c_str(), remedy)
        .expecting("Open MPI", out.version);
  if (version < 3)
    return makeError(MOERT_UNAVAILABLE,
                     "%s is too old: it has MPI %d.%d, and MPI 3.0 is the "
                     "oldest that works; %s",
                     out.version.c_str(), version, subversion, remedy)
        .expecting("MPI 3.0", format("MPI %d.%d", version, subversion));
#define MOERT_MPI_LOOKUP(name, symbol, ...)                                    \
  if (Status s = lookUp(library, #symbol, out.version, out.name); !s.isOk())   \
    return s;
  MOERT_MPI_FUNCTIONS(MOERT_MPI_LOOKUP)
#undef MOERT_MPI_LOOKUP
  for (auto [handle, symbol] :
       {std::pair<void **, const char *>{&out.commWorld, "ompi_mpi_comm_world"},
        {&out.commNull, "ompi_mpi_comm_null"},
        {&out.byte, "ompi_mpi_byte"},
        {&out.requestNull, "ompi_request_null"},
        {&out.errorsReturn, "ompi_mpi_errors_return"}})
    if (Status s = lookUp(library, symbol, out.version, *handle); !s.isOk())
      return s;
  return Status::ok();
}

/// A library that is loaded goes before any that could be: a process cannot
/// have two MPIs.
static Status openAny(Library &library) {
  for (const char *path : mpichs)
    if (void *handle = dlopen(path, RTLD_LAZY | RTLD_NOLOAD)) {
      dlclose(handle);
      return openLibrary(path, RTLD_NOLOAD, library);
    }
  return openLibrary(openMpi, 0, library);
}

Expected<const Library *> Library::get() {
  static Library library;
  static Status status;
  static std::once_flag once;
  std::call_once(once, [] { status = openAny(library); });
  if (!status.isOk())
    return status;
  return &library;
}

std::mutex &Library::mutex() const {
  // Never destroyed: exit handlers may still use it.
  static std::mutex *mutex = new std::mutex;
  return *mutex;
}

Status Library::check(int result, const char *call) const {
  if (result == success)
    return Status::ok();
  char text[512] = {};
  int length = 0;
  if (errorString(result, text, &length) != success)
    length = 0;
  return makeError(MOERT_INTERNAL, "%s: %s", call,
                   length ? std::string(text, std::min(length, 511)).c_str()
                          : format("error %d of MPI", result).c_str());
}
