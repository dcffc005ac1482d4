//===- UniqueFd.h - owner of a file descriptor ------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_UNIQUEFD_H
#define MOE_RUNTIME_UNIQUEFD_H

#include <unistd.h>
#include <utility>

namespace moe::rt {

/// Closes the descriptor it holds; -1 stands for none.
class UniqueFd {
public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd(fd) {}
  UniqueFd(UniqueFd &&other) noexcept : fd(std::exchange(other.fd, -1)) {}
  UniqueFd &operator=(UniqueFd &&other) noexcept {
    if (this != &other) {
      reset();
      fd = std::exchange(other.fd, -1);
    }
    return *this;
  }
  ~UniqueFd() { reset(); }

  int get() const { return fd; }
  bool isValid() const { return fd >= 0; }
  int release() { return std::exchange(fd, -1); }
  void reset() {
    if (fd >= 0)
      ::close(fd);
    fd = -1;
  }

private:
  int fd = -1;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_UNIQUEFD_H
