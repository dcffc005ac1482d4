//===- Entry.h - artifacts and their entries --------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_PYTHON_RUNTIME_ENTRY_H
#define MOE_PYTHON_RUNTIME_ENTRY_H

#include "Argument.h"

#include <memory>
#include <string>
#include <vector>

namespace moe::py {

/// A loaded artifact. Unloading is collective, so only unload() does it; an
/// artifact that nobody has any more stays loaded until the group is closed.
struct Artifact {
  ContextRef context;
  moert_artifact *handle = nullptr;
  std::string name;
  bool isUnloaded = false;
};

/// The handle; raises when the group is closed or the artifact unloaded.
moert_artifact *usableHandle(const Artifact &artifact);

/// A public function of an artifact, as a callable.
class Entry {
public:
  Entry(std::shared_ptr<Artifact> artifact, moert_entry *handle);

  /// New arrays for the results: None, the array, or a tuple of them.
  nanobind::object call(nanobind::args inputs, nanobind::object stream);
  /// Results in arrays of the caller.
  void into(nanobind::object outputs, nanobind::args arguments,
            nanobind::object stream);
  /// The same with views that the caller has made of the tensors in `given`,
  /// which say how the call is ordered with other work, but for those that
  /// `onHost` says are to be in host memory.
  void writeTo(const ArgumentList &given, const std::vector<bool> &onHost,
               const DLTensor *const *inputs,
               const DLTensor *const *outputs) const;

  const std::string &name() const { return entryName; }
  const std::vector<moert_tensor_type> &arguments() const { return args; }
  const std::vector<moert_tensor_type> &results() const { return rets; }
  /// Whether each has to be, or is, in host memory though the group is on a
  /// GPU.
  const std::vector<bool> &argumentsOnHost() const { return argsOnHost; }
  const std::vector<bool> &resultsOnHost() const { return retsOnHost; }
  std::string signature() const;
  const Artifact &owner() const { return *artifact; }
  /// For calls that check the artifact and the context themselves.
  moert_entry *pointer() const { return handle; }

private:
  struct Order;

  moert_entry *usable() const;
  bool isOnHost(moert_code (*query)(const moert_entry *, size_t, DLDevice *),
                size_t index) const;
  Framework &frameworkOf(const ArgumentList &inputs) const;
  Order orderOf(const ArgumentList &inputs, const std::vector<bool> &onHost,
                nanobind::handle stream) const;
  bool shapesOf(const ArgumentList &inputs,
                std::vector<std::vector<int64_t>> &shapes) const;
  nanobind::object callAllocating(ArgumentList &inputs, const Order &order,
                                  Framework &framework);
  void read(ArgumentList &inputs, nanobind::args given) const;
  /// A pair of functions of the C API with the same kind of outputs.
  template <typename Output> struct CallFunctions {
    moert_code (*call)(moert_entry *, const DLTensor *const *, size_t, Output,
                       size_t);
    moert_code (*launch)(moert_entry *, const DLTensor *const *, size_t, Output,
                         size_t, void *stream);
  };
  template <typename Output>
  void run(const DLTensor *const *inputs, size_t numInputs, const Order &order,
           const CallFunctions<Output> &api, Output outputs,
           size_t numOutputs) const;
  void runInto(const DLTensor *const *inputs, size_t numInputs,
               const Order &order, const DLTensor *const *outputs,
               size_t numOutputs) const;
  static nanobind::object pack(std::vector<nanobind::object> results);

  std::shared_ptr<Artifact> artifact;
  moert_entry *handle;
  std::string entryName;
  std::vector<moert_tensor_type> args, rets;
  std::vector<bool> argsOnHost, retsOnHost;
  std::vector<const ElementType *> resultTypes;
  bool hasSymmetricResults = false;
  /// Of results that the next call writes over.
  std::shared_ptr<CallCount> count;
};

void bindArtifact(nanobind::module_ &module);
void bindEntry(nanobind::module_ &module);

} // namespace moe::py

#endif // MOE_PYTHON_RUNTIME_ENTRY_H
