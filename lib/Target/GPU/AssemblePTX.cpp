//===- AssemblePTX.cpp - Kernels as code of one chip ----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Runs the assembler of the CUDA toolkit, where there is one. Nothing but
/// cubins and the report of registers needs it.
///
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/GPU/GPU.h"
#include "moe-mlir/Target/LLVM/MemoryFile.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/Regex.h"

using namespace mlir;
using namespace mlir::moe;

/// Seconds after which the assembler is given up.
static constexpr unsigned kTimeout = 300;

std::optional<std::string> moe::findPtxas(StringRef path,
                                          std::string &lookedFor) {
  if (!path.empty()) {
    if (llvm::sys::fs::can_execute(path))
      return path.str();
    lookedFor = ("'" + path + "'").str();
    return std::nullopt;
  }
  if (llvm::ErrorOr<std::string> found = llvm::sys::findProgramByName("ptxas"))
    return *found;
  lookedFor = "'ptxas' in PATH";
  std::optional<std::string> home = llvm::sys::Process::GetEnv("CUDA_HOME");
  if (!home || home->empty()) {
    lookedFor += "; CUDA_HOME is not set";
    return std::nullopt;
  }
  SmallString<128> candidate(*home);
  llvm::sys::path::append(candidate, "bin", "ptxas");
  if (llvm::sys::fs::can_execute(candidate))
    return candidate.str().str();
  lookedFor += (", '" + candidate + "' (CUDA_HOME)").str();
  return std::nullopt;
}

/// Reads the assembler's notes on each function it compiled.
static void readResources(StringRef log,
                          SmallVectorImpl<KernelResources> &resources) {
  static const llvm::Regex entry("Compiling entry function '([^']*)'"),
      other("Function properties for ([^ ]+)"),
      memory("([0-9]+) bytes stack frame, ([0-9]+) bytes spill stores, "
             "([0-9]+) bytes spill loads"),
      registers("Used ([0-9]+) registers"), shared("([0-9]+) bytes smem");
  auto number = [](StringRef text) {
    int64_t value = 0;
    (void)text.getAsInteger(10, value);
    return value;
  };
  SmallVector<StringRef> lines, match;
  log.split(lines, '\n');
  // Properties of device functions stand between those of kernels.
  bool isKernel = false;
  for (StringRef line : lines) {
    if (entry.match(line, &match)) {
      resources.emplace_back().name = match[1].str();
      isKernel = true;
    } else if (other.match(line, &match)) {
      isKernel = !resources.empty() && match[1] == resources.back().name;
    } else if (isKernel && memory.match(line, &match)) {
      resources.back().localBytes = number(match[1]);
      resources.back().spillBytes = number(match[2]) + number(match[3]);
    }
    // The last line on a kernel, after those on what it calls.
    if (!resources.empty() && registers.match(line, &match)) {
      resources.back().registers = number(match[1]);
      if (shared.match(line, &match))
        resources.back().sharedBytes = number(match[1]);
    }
  }
}

LogicalResult moe::assemblePTX(Operation *module, StringRef ptx,
                               StringRef ptxas, const GpuTargetOptions &options,
                               SmallVectorImpl<char> &image,
                               SmallVectorImpl<KernelResources> *resources) {
  // The kernels, their code, and what is said of them.
  const StringRef contents[] = {ptx, "", ""};
  std::string paths[3];
  SmallVector<Descriptor> files;
  for (auto [path, content] : llvm::zip_equal(paths, contents)) {
    llvm::Expected<Descriptor> file = createMemoryFile(content);
    if (!file)
      return module->emitError("cannot make a file in memory: ")
             << llvm::toString(file.takeError());
    path = file->getPath();
    files.push_back(std::move(*file));
  }
  std::string arch = "-arch=" + options.chip;
  std::string level = llvm::formatv("-O{0}", options.optLevel);
  StringRef arguments[] = {ptxas, arch, level, "-v", "-o", paths[1], paths[0]};
  std::optional<StringRef> redirects[] = {StringRef(""), StringRef(paths[2]),
                                          StringRef(paths[2])};
  std::string message;
  int status = llvm::sys::ExecuteAndWait(ptxas, arguments, /*Env=*/std::nullopt,
                                         redirects, kTimeout,
                                         /*MemoryLimit=*/0, &message);
  auto read = [&](StringRef file) {
    auto buffer = llvm::MemoryBuffer::getFile(file, /*IsText=*/false,
                                              /*RequiresNullTerminator=*/false);
    return buffer ? std::move(*buffer) : llvm::MemoryBuffer::getMemBuffer("");
  };
  std::unique_ptr<llvm::MemoryBuffer> log = read(paths[2]);
  if (status != 0)
    return module->emitError("'")
           << ptxas << "' failed (" << status << "): " << message
           << log->getBuffer().trim();
  if (resources)
    readResources(log->getBuffer(), *resources);
  std::unique_ptr<llvm::MemoryBuffer> code = read(paths[1]);
  if (code->getBufferSize() == 0)
    return module->emitError("'") << ptxas << "' made no code";
  image.append(code->getBufferStart(), code->getBufferEnd());
  return success();
}

FailureOr<std::string> moe::emitGpuImage(gpu::GPUModuleOp module,
                                         const GpuTargetOptions &options) {
  bool isCubin = options.format == "cubin";
  std::optional<std::string> ptxas;
  if (isCubin) {
    std::string lookedFor;
    ptxas = findPtxas(options.ptxas, lookedFor);
    if (!ptxas)
      return module->emitError("a cubin needs the assembler of the CUDA "
                               "toolkit, which was not found (")
                 << lookedFor << ")",
             failure();
  }
  FailureOr<std::string> ptx = emitPTX(module, options);
  if (failed(ptx))
    return failure();
  if (!isCubin) {
    ptx->push_back('\0');
    return ptx;
  }
  SmallVector<char, 0> image;
  if (failed(assemblePTX(module, *ptx, *ptxas, options, image)))
    return failure();
  return std::string(image.begin(), image.end());
}
