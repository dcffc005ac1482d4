//===- Outputs.h - files that appear together -------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Outputs are written before their files exist under their names: to files
/// without any name where the file system has these, so that nothing can be
/// left behind, else to files under names drawn by lot. When all ranks have
/// ended well, one process gives all of them their names.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_TOOLS_MOERUN_OUTPUTS_H
#define MOE_TOOLS_MOERUN_OUTPUTS_H

#include "moe-runtime/Status.h"
#include "moe-runtime/UniqueFd.h"

#include <string>
#include <sys/types.h>
#include <vector>

namespace moe::run {

class OutputFile {
public:
  /// Makes the file that is to be called `path`.
  static rt::Expected<OutputFile> create(const std::string &path);
  /// One that another process has made and passed on.
  OutputFile(std::string path, std::string temporary, rt::UniqueFd folder,
             rt::UniqueFd file);
  OutputFile(OutputFile &&) = default;
  OutputFile &operator=(OutputFile &&) = delete;
  /// Removes a temporary name, in the process that made it or took it over.
  ~OutputFile();

  const std::string &path() const { return name; }
  /// Name in the folder, or "" as long as the file has none.
  const std::string &temporaryName() const { return temporary; }
  int folder() const { return folderFd.get(); }
  int fd() const { return file.get(); }

  /// \name Steps, of one file
  /// @{
  rt::Status stage();
  rt::Status expose();
  /// Undoes expose. What was under the name before is there again.
  rt::Status conceal();
  /// Drops what was under the name before.
  void settle();
  /// @}

private:
  rt::Status giveTemporaryName();
  bool targetExists() const;
  rt::Status checkTarget() const;
  rt::Status failed(int error) const;

  enum class State { Hidden, Created, Exchanged, Replaced };

  std::string name;
  std::string base; ///< name in the folder
  std::string temporary;
  std::string spare; ///< name of the older file, when it was moved away
  rt::UniqueFd folderFd;
  rt::UniqueFd file;
  State state = State::Hidden;
  pid_t owner;
};

/// \name How files appear
/// Whoever exposes settles when all that can fail is done, or conceals.
/// @{
/// Gives all files their names, or none: when one cannot get its name, those
/// that have theirs lose them again, and older files are back.
rt::Status expose(std::vector<OutputFile> &files);
/// Drops what was under the names before.
void settle(std::vector<OutputFile> &files);
/// Undoes expose, or says what it could not undo.
rt::Status conceal(std::vector<OutputFile> &files);
/// @}

} // namespace moe::run

#endif // MOE_TOOLS_MOERUN_OUTPUTS_H
