//===- Argument.h - a tensor that Python passes in --------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_PYTHON_RUNTIME_ARGUMENT_H
#define MOE_PYTHON_RUNTIME_ARGUMENT_H

#include "Framework.h"

#include <deque>
#include <functional>
#include <optional>

namespace moe::py {

/// A tensor of some framework for the time of a call. Made, and destroyed, with
/// the GIL.
class Argument {
public:
  enum Use { Read, Written };

  /// `where` names the tensor in messages: "argument 1 of entry 'layer'".
  Argument(nanobind::handle object, Use use,
           const std::function<std::string()> &where);
  Argument(const Argument &) = delete;

  const DLTensor &tensor() const { return view; }
  Framework &framework() const { return *arrayType.framework; }
  bool isOnDevice() const { return view.device.device_type == kDLCUDA; }
  /// Whether the framework's own functions say in which order it is ready; else
  /// it was made ready for the legacy stream.
  bool isStreamOrdered() const {
    return arrayType.access == ArrayType::Exchange;
  }
  /// The Tensor, for memory of the runtime's; else null.
  Tensor *own() const { return tensorOfRuntime; }

private:
  void takeBuffer(nanobind::handle object, Use use,
                  const std::function<std::string()> &where);
  void takeNumpyType(nanobind::handle object, Use use,
                     const std::function<std::string()> &where);
  void takeExchange(nanobind::handle object);
  void takeDLPack(nanobind::handle object, Use use,
                  const std::function<std::string()> &where);

  ArrayType arrayType; ///< a copy, since the type may go during the call
  DLTensor view{};
  Tensor *tensorOfRuntime = nullptr;
  nanobind::object keep; ///< what the view belongs to, when not the argument
  /// What has to be given back, also when the constructor raises.
  struct Held {
    ~Held();
    Py_buffer buffer{}; ///< obj is set while it is held
    VersionedTensor *versioned = nullptr;
    DLManagedTensor *unversioned = nullptr;
  } held;
  /// Strides of most buffers, in elements; and of those with more dimensions.
  static constexpr int fewDims = 6;
  int64_t few[fewDims];
  std::vector<int64_t> many;
};

/// The tensors of a call. Most calls have few, which need no allocation.
class ArgumentList {
public:
  template <typename Where>
  Argument &add(nanobind::handle object, Argument::Use use, Where where) {
    Argument *added;
    if (count < few)
      added = &first[count].emplace(object, use, where);
    else
      added = &rest.emplace_back(object, use, where);
    if (count == few)
      all.assign(pointersOfFew, pointersOfFew + few);
    if (count < few)
      pointersOfFew[count] = &added->tensor();
    else
      all.push_back(&added->tensor());
    ++count;
    return *added;
  }
  size_t size() const { return count; }
  Argument &operator[](size_t index) {
    return index < few ? *first[index] : rest[index - few];
  }
  const Argument &operator[](size_t index) const {
    return index < few ? *first[index] : rest[index - few];
  }
  const DLTensor *const *pointers() const {
    return count > few ? all.data() : pointersOfFew;
  }

private:
  static constexpr size_t few = 12;
  size_t count = 0;
  std::optional<Argument> first[few];
  std::deque<Argument> rest;
  const DLTensor *pointersOfFew[few];
  std::vector<const DLTensor *> all;
};

} // namespace moe::py

#endif // MOE_PYTHON_RUNTIME_ARGUMENT_H
