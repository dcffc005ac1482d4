//===- SharedObject.h - code loaded from bytes ------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The dynamic loader takes a file for loaded when its path or its inode is one
/// it has loaded, whatever the file holds by now; and code that is mapped from
/// a file changes with it. So the bytes of an artifact are copied to a sealed
/// memory file first, and loaded from there: what runs is what was read, and
/// each contents has a handle of its own.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_SHAREDOBJECT_H
#define MOE_RUNTIME_SHAREDOBJECT_H

#include "moe-runtime/Sha256.h"
#include "moe-runtime/Status.h"
#include "moe-runtime/UniqueFd.h"

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace moe::rt {

/// A loaded shared object. One that holds the same bytes is shared.
class SharedObject {
public:
  /// Asked before the object's imports have to exist.
  using Check = std::function<Status(const SharedObject &)>;

  /// `name` is what tools that list the mappings of a process show.
  static Expected<std::shared_ptr<SharedObject>>
  load(std::string_view bytes, const std::string &name, const Check &check);
  ~SharedObject();
  SharedObject(const SharedObject &) = delete;

  const Digest &digest() const { return bytesDigest; }
  /// Null when there is no such symbol.
  void *find(const char *symbol) const;
  /// The bytes of a symbol; none when there is no such symbol, or its size is
  /// not known.
  std::string_view contents(const char *symbol) const;

private:
  explicit SharedObject(const Digest &digest) : bytesDigest(digest) {}
  Status open(int flags);
  void close();

  Digest bytesDigest;
  /// Held while the object is loaded: the loader also goes by the path, which
  /// has the descriptor's number.
  UniqueFd file;
  std::string path;
  void *handle = nullptr;
};

/// Reads a regular file, all of it. An error when it changes meanwhile.
Expected<std::string> readWholeFile(const std::string &path);

} // namespace moe::rt

#endif // MOE_RUNTIME_SHAREDOBJECT_H
