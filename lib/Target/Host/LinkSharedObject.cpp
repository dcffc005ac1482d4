//===- LinkSharedObject.cpp - Object to shared object ---------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/Host/Host.h"

#include "moe-mlir/Target/LLVM/LibraryFunctions.h"

#include "lld/Common/Driver.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"

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

static LogicalResult runLinker(ModuleOp module, ArrayRef<StringRef> args) {
  std::vector<std::string> storage = {"ld.lld",           "-melf_x86_64",
                                      "-shared",          "--threads=1",
                                      "--hash-style=gnu", "-znoexecstack"};
  storage.insert(storage.end(), args.begin(), args.end());
  std::vector<const char *> argv;
  for (const std::string &arg : storage)
    argv.push_back(arg.c_str());
  std::string out, err;
  llvm::raw_string_ostream outStream(out), errStream(err);
  lld::Result result =
      lld::lldMain(argv, outStream, errStream, {{lld::Gnu, &lld::elf::link}});
  if (result.retCode != 0)
    return emitError(module.getLoc(), "linking failed: ")
           << StringRef(err).trim();
  return success();
}

static LogicalResult writeFile(ModuleOp module, StringRef path,
                               StringRef content) {
  std::error_code code;
  llvm::raw_fd_ostream os(path, code);
  if (!code) {
    os << content;
    os.close();
    code = os.error();
  }
  if (!code)
    return success();
  os.clear_error();
  return emitError(module.getLoc(), "cannot write '")
         << path << "': " << code.message();
}

LogicalResult moe::linkHostSharedObject(ModuleOp module, ArrayRef<char> object,
                                        SmallVectorImpl<char> &sharedObject,
                                        StringRef otherPrefix) {
  FailureOr<bool> needsLibM = checkImports(module, object, otherPrefix);
  if (failed(needsLibM))
    return failure();

  SmallString<128> folder;
  if (std::error_code code =
          llvm::sys::fs::createUniqueDirectory("moe-compile", folder))
    return emitError(module.getLoc(), "cannot create a temporary folder: ")
           << code.message();
  llvm::scope_exit cleanUp([&] { llvm::sys::fs::remove_directories(folder); });
  auto inFolder = [&](StringRef name) {
    SmallString<128> path = folder;
    llvm::sys::path::append(path, name);
    return path;
  };

  SmallString<128> objectPath = inFolder("moe.o"), outPath = inFolder("moe.so");
  if (failed(writeFile(module, objectPath,
                       StringRef(object.data(), object.size()))))
    return failure();
  SmallVector<StringRef> args = {objectPath, "-o", outPath};
  SmallString<128> emptyPath = inFolder("empty"),
                   libmPath = inFolder("libm.so");
  if (*needsLibM) {
    // The artifact names libm as a dependency. To say so the linker wants a
    // library of that name, which this machine need not have: make one.
    if (failed(writeFile(module, emptyPath, "\n")) ||
        failed(runLinker(module, {"--format=binary", emptyPath,
                                  "-soname=libm.so.6", "-o", libmPath})))
      return failure();
    args.push_back(libmPath);
  }
  if (failed(runLinker(module, args)))
    return failure();

  llvm::ErrorOr<std::unique_ptr<llvm::MemoryBuffer>> linked =
      llvm::MemoryBuffer::getFile(outPath, /*IsText=*/false,
                                  /*RequiresNullTerminator=*/false);
  if (!linked)
    return emitError(module.getLoc(), "cannot read '")
           << outPath << "': " << linked.getError().message();
  StringRef content = (*linked)->getBuffer();
  sharedObject.assign(content.begin(), content.end());
  return success();
}
