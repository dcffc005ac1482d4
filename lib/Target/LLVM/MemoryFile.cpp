//===- MemoryFile.cpp - Files that only this process sees -----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/LLVM/MemoryFile.h"

#include "llvm/Support/Errno.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

using namespace mlir;
using namespace mlir::moe;

static llvm::Error makeError(int error) {
  return llvm::errorCodeToError(
      std::error_code(error, std::generic_category()));
}

Descriptor::~Descriptor() {
  if (fd >= 0)
    ::close(fd);
}

std::string Descriptor::getPath() const {
  return "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(fd);
}

llvm::Expected<Descriptor> moe::createMemoryFile(llvm::StringRef content) {
  Descriptor file(::memfd_create("moe-mlir", MFD_CLOEXEC));
  if (file.get() < 0)
    return makeError(errno);
  while (!content.empty()) {
    ssize_t written = llvm::sys::RetryAfterSignal(
        -1, ::write, file.get(), content.data(), content.size());
    if (written < 0)
      return makeError(errno);
    content = content.drop_front(written);
  }
  return file;
}

llvm::Expected<std::unique_ptr<MemorySink>> MemorySink::create() {
  std::unique_ptr<MemorySink> sink(new MemorySink);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
    return makeError(errno);
  sink->readEnd = Descriptor(ends[0]);
  sink->writeEnd = Descriptor(ends[1]);
  sink->stopEvent = Descriptor(::eventfd(0, EFD_CLOEXEC));
  if (sink->stopEvent.get() < 0)
    return makeError(errno);
  // Not std::thread: that ends the process when there can be no more threads.
  auto body = [](void *self) -> void * {
    static_cast<MemorySink *>(self)->collect();
    return nullptr;
  };
  if (int error = ::pthread_create(&sink->collector, nullptr, body, sink.get()))
    return makeError(error);
  sink->isRunning = true;
  return sink;
}

MemorySink::~MemorySink() { stop(); }

void MemorySink::stop() {
  if (!isRunning)
    return;
  isRunning = false;
  ::eventfd_write(stopEvent.get(), 1);
  ::pthread_join(collector, nullptr);
}

void MemorySink::collect() {
  char chunk[1 << 16];
  while (true) {
    struct pollfd fds[] = {{readEnd.get(), POLLIN, 0},
                           {stopEvent.get(), POLLIN, 0}};
    if (::poll(fds, 2, /*timeout=*/-1) < 0 && errno != EINTR) {
      error = errno;
      return;
    }
    // Everything that was written before the stop is there to be read.
    bool isLast = fds[1].revents != 0;
    while (true) {
      ssize_t count = ::read(readEnd.get(), chunk, sizeof(chunk));
      if (count > 0) {
        content.append(chunk, chunk + count);
        continue;
      }
      if (count < 0 && errno == EINTR)
        continue;
      if (count < 0 && errno != EAGAIN)
        error = errno;
      break;
    }
    if (isLast || error)
      return;
  }
}

llvm::Expected<llvm::SmallVector<char, 0>> MemorySink::take() {
  stop();
  if (error)
    return makeError(error);
  return std::move(content);
}
