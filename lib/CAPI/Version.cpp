//===- Version.cpp - C interface to what the compiler is ------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir-c/Compiler.h"

#include "mlir/CAPI/Support.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/Support/MathExtras.h"

#include <elf.h>
#include <link.h>
#include <string>

using namespace mlir;

int32_t moeCompilerGetApiVersion() { return MOE_COMPILER_API_VERSION; }

MlirStringRef moeCompilerGetVersion() {
  return wrap(
      StringRef("moe-mlir " MOE_MLIR_VERSION ", LLVM " LLVM_VERSION_STRING));
}

/// Searches the notes of a segment for the build's number.
static StringRef findBuildId(const char *notes, size_t size) {
  while (size >= sizeof(ElfW(Nhdr))) {
    const auto *header = reinterpret_cast<const ElfW(Nhdr) *>(notes);
    const char *name = notes + sizeof(*header);
    const char *content = name + llvm::alignTo<4>(header->n_namesz);
    size_t bytes = content - notes + llvm::alignTo<4>(header->n_descsz);
    if (bytes > size)
      break;
    if (header->n_type == NT_GNU_BUILD_ID &&
        StringRef(name, header->n_namesz) == StringRef("GNU\0", 4))
      return StringRef(content, header->n_descsz);
    notes += bytes;
    size -= bytes;
  }
  return {};
}

/// Looks into the program or library that this code is a part of.
static int visitObject(struct dl_phdr_info *object, size_t, void *data) {
  auto self = reinterpret_cast<ElfW(Addr)>(&moeCompilerGetBuildId);
  bool isSelf = false;
  StringRef found;
  for (const ElfW(Phdr) &header :
       ArrayRef(object->dlpi_phdr, object->dlpi_phnum)) {
    ElfW(Addr) start = object->dlpi_addr + header.p_vaddr;
    if (header.p_type == PT_LOAD)
      isSelf |= self >= start && self < start + header.p_memsz;
    if (header.p_type == PT_NOTE && found.empty())
      found =
          findBuildId(reinterpret_cast<const char *>(start), header.p_memsz);
  }
  if (isSelf)
    *static_cast<std::string *>(data) = llvm::toHex(found, /*LowerCase=*/true);
  return isSelf;
}

MlirStringRef moeCompilerGetBuildId() {
  static const std::string id = [] {
    std::string text;
    dl_iterate_phdr(visitObject, &text);
    return text;
  }();
  return wrap(StringRef(id));
}
