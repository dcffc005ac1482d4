//===- Packed.h - calls with several tensors in one -------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_PYTHON_RUNTIME_PACKED_H
#define MOE_PYTHON_RUNTIME_PACKED_H

#include "Entry.h"

namespace moe::py {

/// An entry that is called with fewer tensors than it has arguments and
/// results: some of these are parts of one tensor. Their views are made here,
/// which costs nothing compared with views that a framework makes.
class PackedEntry {
public:
  /// `arguments` and `results` say where each of the entry's is: the number of
  /// a tensor, or a tuple (number, first byte, shape, element type). A shape
  /// may begin with -1, which stands for what there is room for.
  PackedEntry(std::shared_ptr<Entry> entry, nanobind::sequence arguments,
              nanobind::sequence results);

  /// False, and nothing was called, where a tensor has to be moved first.
  bool call(nanobind::args given) const;

private:
  /// Where an argument or a result is.
  struct Slot {
    std::string what;  ///< "argument 1 of entry 'combine'"
    size_t tensor = 0; ///< number of the tensor
    bool isPart = false;
    int64_t firstByte = 0;
    /// Bytes of the part; where its first extent is open, of one index of that.
    int64_t bytes = 0;
    bool isOpen = false;
    size_t firstExtent = 0, ndim = 0; ///< among `extents`
    DLDataType dtype{};
  };
  /// What is known of a tensor, by its number.
  struct Use {
    bool isWritten = false, hasParts = false;
  };
  /// Whether the entry has a tensor in host memory, by its number.
  std::vector<bool> onHost;

  void addSlot(nanobind::handle place, std::string what, bool isResult,
               bool isOnHost);
  bool isUsable(const Argument &tensor, size_t number) const;
  void locate(const Slot &slot, const DLTensor &tensor, DLTensor &view,
              int64_t *shape) const;

  std::shared_ptr<Entry> entry;
  std::vector<Slot> slots; ///< of the arguments, then of the results
  size_t numArguments = 0;
  std::vector<Use> uses;
  std::vector<int64_t> extents; ///< of all parts
};

void bindPacked(nanobind::module_ &module);

} // namespace moe::py

#endif // MOE_PYTHON_RUNTIME_PACKED_H
