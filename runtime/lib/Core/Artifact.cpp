//===- Artifact.cpp - loading shared objects ------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/Context.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <dlfcn.h>
#include <elf.h>
#include <fstream>
#include <link.h>
#include <mutex>
#include <sys/stat.h>

using namespace moe::rt;

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

static std::string lastDlError() {
  const char *text = dlerror();
  return text ? text : "unknown error";
}

/// Whether all of the file is there: the loader maps what its headers name, and
/// a page past the end of the file would end the process when it is read.
static Status checkExtent(const std::string &path, size_t bytes) {
  Status damaged(MOERT_INVALID_ARGUMENT,
                 "not an artifact, or only a part of one");
  std::ifstream file(path, std::ios::binary);
  ElfW(Ehdr) header;
  if (!file)
    return makeOsError(MOERT_IO, errno, "cannot open the artifact");
  if (!file.read(reinterpret_cast<char *>(&header), sizeof(header)) ||
      std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
      header.e_ident[EI_CLASS] != ELFCLASS64 ||
      header.e_phentsize != sizeof(ElfW(Phdr)))
    return damaged;
  auto fits = [&](uint64_t offset, uint64_t size) {
    return offset <= bytes && size <= bytes - offset;
  };
  // Sections are not loaded, but their table comes last.
  if (!fits(header.e_shoff, uint64_t(header.e_shnum) * header.e_shentsize))
    return damaged;
  file.seekg(
      static_cast<std::streamoff>(std::min<uint64_t>(header.e_phoff, bytes)));
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    ElfW(Phdr) segment;
    if (!file.read(reinterpret_cast<char *>(&segment), sizeof(segment)) ||
        !fits(segment.p_offset, segment.p_filesz))
      return damaged;
  }
  return Status::ok();
}

/// The manifest's text, which need not end in a NUL.
static Expected<std::string> readManifestText(void *handle) {
  const char *symbol =
      static_cast<const char *>(dlsym(handle, "moe_artifact_manifest"));
  if (!symbol)
    return Status(MOERT_INVALID_ARGUMENT,
                  "not an artifact: it has no symbol moe_artifact_manifest");
  Dl_info info;
  void *extra = nullptr;
  if (!dladdr1(symbol, &info, &extra, RTLD_DL_SYMENT) || !extra)
    return Status(MOERT_INVALID_ARGUMENT,
                  "the symbol moe_artifact_manifest has no size");
  size_t size = static_cast<const ElfW(Sym) *>(extra)->st_size;
  return std::string(symbol, strnlen(symbol, size));
}

Expected<std::unique_ptr<Artifact>>
Artifact::open(const std::string &path, const std::string &displayName) {
  auto failed = [&](const Status &status) {
    return status.withPrefix(displayName);
  };
  struct stat info;
  if (stat(path.c_str(), &info) != 0)
    return failed(makeOsError(MOERT_IO, errno, "cannot open the artifact"));
  if (!S_ISREG(info.st_mode))
    return failed(Status(MOERT_IO, "not a regular file"));
  if (Status s = checkExtent(path, static_cast<size_t>(info.st_size));
      !s.isOk())
    return failed(s);
  exportRuntimeSymbols();
  // Before the lock, since its destructor takes the lock, too.
  std::unique_ptr<Artifact> artifact(new Artifact());
  std::lock_guard<std::mutex> lock(loaderMutex());
  // Without a slash dlopen would search library folders.
  std::string file = path.find('/') == std::string::npos ? "./" + path : path;

  // Lazily first: an artifact of another version may import functions this
  // runtime does not have, and should be told so by its version.
  void *probe = dlopen(file.c_str(), RTLD_LAZY | RTLD_LOCAL);
  if (!probe)
    return failed(Status(MOERT_INVALID_ARGUMENT,
                         "cannot load the artifact: " + lastDlError()));
  artifact->displayName = displayName;
  Status status;
  auto text = readManifestText(probe);
  if (text.isOk()) {
    artifact->text = text.take();
    auto manifest = Manifest::parse(artifact->text);
    status = manifest.status();
    if (manifest.isOk())
      artifact->contents = manifest.take();
  } else {
    status = text.status();
  }
  dlclose(probe);
  if (!status.isOk())
    return failed(status);

  // Now resolve everything, or a missing function would end the process when
  // it is first called.
  artifact->handle = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!artifact->handle)
    return failed(Status(MOERT_ABI_MISMATCH,
                         "cannot load the artifact: " + lastDlError()));
  if (Status s = artifact->resolveEntries(); !s.isOk())
    return failed(s);
  artifact->gpuImage =
      static_cast<const char *>(dlsym(artifact->handle, "moe_gpu_image"));
  return artifact;
}

Status Artifact::resolveEntries() {
  const Manifest &m = contents;
  hashValue = hashText(m.hash, m.ranks * 31 + m.symmBytes);
  entryList.resize(m.entries.size());
  for (size_t i = 0; i < m.entries.size(); ++i) {
    Entry &entry = entryList[i];
    entry.description = &m.entries[i];
    entry.artifact = this;
    entry.function = reinterpret_cast<EntryFunction>(
        dlsym(handle, m.entries[i].symbol.c_str()));
    if (!entry.function)
      return makeError(MOERT_INVALID_ARGUMENT,
                       "the manifest names entry '%s', but the symbol %s is "
                       "missing",
                       m.entries[i].name.c_str(), m.entries[i].symbol.c_str());
    entry.callText =
        "call of entry '" + m.entries[i].name + "' of artifact " + m.hash;
    entry.callHash = hashText(m.entries[i].name, hashValue);
  }
  return Status::ok();
}

Artifact::~Artifact() {
  program.reset();
  if (!handle)
    return;
  std::lock_guard<std::mutex> lock(loaderMutex());
  dlclose(handle);
}

Expected<Entry *> Artifact::entry(const std::string &name) {
  if (name.empty() && entryList.size() == 1)
    return &entryList[0];
  for (Entry &entry : entryList)
    if (entry.description->name == name)
      return &entry;
  std::string all = contents.listEntries();
  if (name.empty())
    return makeError(MOERT_INVALID_ARGUMENT,
                     "%s: which entry to run has to be named; there are %s",
                     displayName.c_str(), all.c_str());
  return makeError(MOERT_INVALID_ARGUMENT,
                   "%s: no entry is named '%s'; there are %s",
                   displayName.c_str(), name.c_str(), all.c_str());
}
