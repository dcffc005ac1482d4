//===- LinkSharedObject.cpp - Object to shared object ---------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/Host/Host.h"

#include "moe-mlir/Target/LLVM/LibraryFunctions.h"
#include "moe-mlir/Target/LLVM/MemoryFile.h"
#include "moe-runtime/ArtifactABI.h"

#include "lld/Common/Driver.h"
#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/SHA256.h"
#include <mutex>

LLD_HAS_DRIVER(elf)

using namespace mlir;
using namespace mlir::moe;

//===----------------------------------------------------------------------===//
// Imports
//===----------------------------------------------------------------------===//

/// Checks the symbols that `object` imports and says whether it needs libm.
/// Names that start with `otherPrefix`, unless that is empty, are fine.
static FailureOr<bool> checkImports(ModuleOp module, ArrayRef<char> object,
                                    StringRef otherPrefix) {
  llvm::MemoryBufferRef buffer(StringRef(object.data(), object.size()), "moe");
  llvm::Expected<std::unique_ptr<llvm::object::ObjectFile>> file =
      llvm::object::ObjectFile::createELFObjectFile(buffer);
  if (!file)
    return emitError(module.getLoc(), "cannot read the compiled object: ")
           << llvm::toString(file.takeError());
  bool needsLibM = false;
  for (const llvm::object::SymbolRef &symbol : (*file)->symbols()) {
    llvm::Expected<uint32_t> flags = symbol.getFlags();
    llvm::Expected<StringRef> name = symbol.getName();
    if (!flags || !name) {
      llvm::consumeError(flags.takeError());
      llvm::consumeError(name.takeError());
      continue;
    }
    if (!(*flags & llvm::object::SymbolRef::SF_Undefined) || name->empty() ||
        *name == "_GLOBAL_OFFSET_TABLE_" ||
        (!otherPrefix.empty() && name->starts_with(otherPrefix)))
      continue;
    FunctionProvider provider = findFunctionProvider(*name);
    needsLibM |= provider == FunctionProvider::LibM;
    if (provider != FunctionProvider::Nobody)
      continue;
    Operation *declaration = module.lookupSymbol(*name);
    return (declaration ? declaration : module.getOperation())
               ->emitError("the artifact needs the symbol '")
           << *name << "', which neither the runtime nor libm defines";
  }
  return needsLibM;
}

//===----------------------------------------------------------------------===//
// Link
//===----------------------------------------------------------------------===//

/// Runs the linker with `inputs`, which it reads, and returns what it wrote.
static FailureOr<SmallVector<char, 0>> runLinker(ModuleOp module,
                                                 ArrayRef<StringRef> inputs) {
  auto fail = [&](llvm::Error error) -> LogicalResult {
    return emitError(module.getLoc(), "cannot make a file in memory: ")
           << llvm::toString(std::move(error));
  };
  llvm::Expected<std::unique_ptr<MemorySink>> sink = MemorySink::create();
  if (!sink)
    return fail(sink.takeError());

  // The name of the output leads to no regular file: without the last option
  // the linker would still map one beside it.
  std::string outPath = (*sink)->getPath();
  SmallVector<const char *> argv = {
      "ld.lld",      "-melf_x86_64",     "-shared",
      "--threads=1", "--hash-style=gnu", "-znoexecstack",
      "-o",          outPath.c_str(),    "--no-mmap-output-file"};
  std::vector<std::string> storage(inputs.begin(), inputs.end());
  for (const std::string &input : storage)
    argv.push_back(input.c_str());

  std::string out, err;
  llvm::raw_string_ostream outStream(out), errStream(err);
  int status;
  {
    // The linker keeps its state in globals, and resets those of LLVM's command
    // line.
    static std::mutex mutex;
    std::lock_guard<std::mutex> lock(mutex);
    status =
        lld::lldMain(argv, outStream, errStream, {{lld::Gnu, &lld::elf::link}})
            .retCode;
  }
  if (status != 0)
    return emitError(module.getLoc(), "linking failed: ")
           << StringRef(err).trim();
  llvm::Expected<SmallVector<char, 0>> content = (*sink)->take();
  if (!content)
    return fail(content.takeError());
  return std::move(*content);
}

/// The runtime knows by it that a file is as it was written.
static void seal(SmallVectorImpl<char> &artifact) {
  std::array<uint8_t, 32> digest = llvm::SHA256::hash(
      {reinterpret_cast<const uint8_t *>(artifact.data()), artifact.size()});
  artifact.append(digest.begin(), digest.end());
  StringRef text = MOERT_ARTIFACT_SEAL;
  artifact.append(text.begin(), text.end());
}

LogicalResult moe::linkHostSharedObject(ModuleOp module, ArrayRef<char> object,
                                        SmallVectorImpl<char> &sharedObject,
                                        StringRef otherPrefix) {
  FailureOr<bool> needsLibM = checkImports(module, object, otherPrefix);
  if (failed(needsLibM))
    return failure();

  SmallVector<Descriptor> files;
  SmallVector<std::string> paths;
  auto add = [&](StringRef content) -> LogicalResult {
    llvm::Expected<Descriptor> file = createMemoryFile(content);
    if (!file)
      return emitError(module.getLoc(), "cannot make a file in memory: ")
             << llvm::toString(file.takeError());
    paths.push_back(file->getPath());
    files.push_back(std::move(*file));
    return success();
  };
  if (failed(add(StringRef(object.data(), object.size()))))
    return failure();
  SmallVector<StringRef> inputs = {paths.front()};
  if (*needsLibM) {
    // The artifact names libm as a dependency. To say so the linker wants a
    // library of that name, which this machine need not have: make one.
    if (failed(add("\n")))
      return failure();
    FailureOr<SmallVector<char, 0>> libm = runLinker(
        module, {"--format=binary", paths.back(), "-soname=libm.so.6"});
    if (failed(libm) || failed(add(StringRef(libm->data(), libm->size()))))
      return failure();
    inputs = {paths.front(), paths.back()};
  }
  FailureOr<SmallVector<char, 0>> linked = runLinker(module, inputs);
  if (failed(linked))
    return failure();
  sharedObject.assign(linked->begin(), linked->end());
  seal(sharedObject);
  return success();
}
