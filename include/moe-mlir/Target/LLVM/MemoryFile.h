//===- MemoryFile.h - Files that only this process sees ---------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Linker and assembler read and write by path. These paths lead to memory, so
/// that a compilation needs no folder it may write to, and leaves nothing
/// behind when the process is killed.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_TARGET_LLVM_MEMORYFILE_H
#define MOE_MLIR_TARGET_LLVM_MEMORYFILE_H

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <memory>
#include <pthread.h>
#include <string>
#include <utility>

namespace mlir::moe {

/// A file descriptor and a path that opens its file again, in this process and
/// in its children.
class Descriptor {
public:
  explicit Descriptor(int fd = -1) : fd(fd) {}
  Descriptor(Descriptor &&other) : fd(other.fd) { other.fd = -1; }
  Descriptor &operator=(Descriptor &&other) {
    std::swap(fd, other.fd);
    return *this;
  }
  ~Descriptor();

  int get() const { return fd; }
  std::string getPath() const;

private:
  int fd;
};

/// A file with the given content.
llvm::Expected<Descriptor> createMemoryFile(llvm::StringRef content);

/// A path to write to. What is written is collected by a thread, since a pipe
/// holds little. (The linker would put a file beside one in memory and rename
/// it, and it is right that nothing can be made there.)
class MemorySink {
public:
  static llvm::Expected<std::unique_ptr<MemorySink>> create();
  ~MemorySink();

  std::string getPath() const { return writeEnd.getPath(); }

  /// What has been written, when the writer is done or has given up.
  llvm::Expected<llvm::SmallVector<char, 0>> take();

private:
  MemorySink() = default;
  void collect();
  void stop();

  Descriptor readEnd, writeEnd, stopEvent;
  llvm::SmallVector<char, 0> content;
  int error = 0;
  pthread_t collector;
  bool isRunning = false;
};

} // namespace mlir::moe

#endif // MOE_MLIR_TARGET_LLVM_MEMORYFILE_H
