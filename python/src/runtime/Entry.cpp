//===- Entry.cpp - calls of the functions of an artifact ------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Entry.h"

#include <memory>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <optional>

namespace nb = nanobind;
using namespace moe::py;

Entry::Entry(std::shared_ptr<Artifact> given, moert_entry *handle)
    : artifact(std::move(given)), handle(handle),
      entryName(moert_entry_name(handle)),
      count(std::make_shared<CallCount>()) {
  count->entry = entryName;
  for (size_t i = 0; i < moert_entry_num_args(handle); ++i)
    check(moert_entry_arg(handle, i, &args.emplace_back()));
  for (size_t i = 0; i < moert_entry_num_results(handle); ++i) {
    check(moert_entry_result(handle, i, &rets.emplace_back()));
    resultTypes.push_back(findElementType(rets.back().dtype));
    hasSymmetricResults |= rets.back().symmetric != 0;
  }
}

moert_entry *Entry::usable() const {
  bool isClosed = artifact->context->isClosed();
  if (!artifact->isUnloaded && !isClosed)
    return handle;
  std::string what = "entry '" + entryName + "'";
  if (artifact->isUnloaded)
    refuse("rank " + std::to_string(artifact->context->rank()) + ": " + what +
               ": artifact " + artifact->name + " has been unloaded",
           artifact->context->rank());
  (void)artifact->context->open(what.c_str());
  return handle;
}

//===----------------------------------------------------------------------===//
// What is passed in
//===----------------------------------------------------------------------===//

void Entry::read(ArgumentList &inputs, nb::args given) const {
  for (size_t i = 0; i < given.size(); ++i)
    inputs.add(given[i], Argument::Read, [this, i] {
      return "argument " + std::to_string(i) + " of entry '" + entryName + "'";
    });
}

/// How a call is ordered with other work on the GPU.
struct Entry::Order {
  bool onStream = false; ///< else it waits for its end
  void *stream = nullptr;
  /// Wait for the stream before the call, which runs on another one.
  bool waitBefore = false;
};

/// On the stream that was given, or else on the framework's current one. Inputs
/// in host memory are uploaded, and those whose framework does not say where it
/// is are ready on the legacy stream: such calls wait for their end.
Entry::Order Entry::orderOf(const ArgumentList &inputs,
                            nb::handle stream) const {
  Order order;
  bool isGiven = !stream.is_none();
  if (isGiven) {
    order.onStream = true;
    order.stream = reinterpret_cast<void *>(nb::cast<uintptr_t>(stream));
  }
  if (!artifact->context->isOnDevice())
    return order;
  int32_t device = artifact->context->device().device_id;
  bool isAnyOnHost = false, isKnown = false;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Argument &input = inputs[i];
    isAnyOnHost |= !input.isOnDevice();
    if (Tensor *own = input.own())
      own->orderBy(order.stream, order.onStream);
    else if (!isGiven && !isKnown && input.isOnDevice())
      if (auto current = input.framework().currentStream(device)) {
        isKnown = true;
        order.stream = *current;
      }
  }
  if (isGiven)
    return order;
  order.onStream = isKnown && !isAnyOnHost;
  order.waitBefore = !order.onStream && inputs.size();
  return order;
}

//===----------------------------------------------------------------------===//
// Calls
//===----------------------------------------------------------------------===//

/// "layer(bf16[?, 7168], i32[?, 8]) -> (bf16[?, 7168])".
std::string Entry::signature() const {
  auto list = [](const std::vector<moert_tensor_type> &types) {
    std::string text = "(";
    for (const moert_tensor_type &type : types) {
      text += (&type == types.data() ? "" : ", ") +
              std::string(type.dtype_name) + "[";
      for (int i = 0; i < type.ndim; ++i)
        text += (i ? ", " : "") + (type.shape[i] < 0
                                       ? std::string("?")
                                       : std::to_string(type.shape[i]));
      text += type.symmetric ? "] symmetric" : "]";
    }
    return text + ")";
  };
  // The types belong to the artifact.
  if (artifact->isUnloaded || artifact->context->isClosed())
    return entryName;
  return entryName + list(args) + " -> " + list(rets);
}

/// The launch of `api` on the stream of `order`, or its call, which waits.
template <typename Output>
void Entry::run(const DLTensor *const *inputs, size_t numInputs,
                const Order &order, const CallFunctions<Output> &api,
                Output outputs, size_t numOutputs) const {
  Context &context = *artifact->context;
  Context::Running guard(context);
  moert_context *group = context.open("call");
  moert_code code = MOERT_OK;
  {
    WithoutGil released;
    if (order.waitBefore)
      code = moert_context_synchronize(group, order.stream);
    if (code == MOERT_OK)
      code = order.onStream
                 ? api.launch(handle, inputs, numInputs, outputs, numOutputs,
                              order.stream)
                 : api.call(handle, inputs, numInputs, outputs, numOutputs);
  }
  check(code);
}

/// With results in memory of the caller's.
void Entry::runInto(const DLTensor *const *inputs, size_t numInputs,
                    const Order &order, const DLTensor *const *outputs,
                    size_t numOutputs) const {
  static constexpr CallFunctions<const DLTensor *const *> api = {
      moert_entry_call_into, moert_entry_launch_into};
  run(inputs, numInputs, order, api, outputs, numOutputs);
}

void Entry::writeTo(const ArgumentList &given, const DLTensor *const *inputs,
                    const DLTensor *const *outputs) const {
  usable();
  Order order = orderOf(given, nb::none());
  runInto(inputs, args.size(), order, outputs, rets.size());
}

void Entry::into(nb::object outputs, nb::args arguments, nb::object stream) {
  usable();
  ArgumentList inputs;
  read(inputs, arguments);
  // One array may stand for a sequence of one.
  bool isSequence = PyTuple_Check(outputs.ptr()) || PyList_Check(outputs.ptr());
  nb::object sequence = isSequence ? outputs : nb::make_tuple(outputs);
  ArgumentList given;
  for (nb::handle output : sequence)
    given.add(output, Argument::Written, [this, i = given.size()] {
      return "output " + std::to_string(i) + " of entry '" + entryName + "'";
    });
  Order order = orderOf(inputs, stream);
  runInto(inputs.pointers(), inputs.size(), order, given.pointers(),
          given.size());
}

/// Whether all results can be allocated before the call.
bool Entry::shapesOf(const ArgumentList &inputs,
                     std::vector<std::vector<int64_t>> &shapes) const {
  shapes.resize(rets.size());
  for (size_t i = 0; i < rets.size(); ++i) {
    shapes[i].resize(static_cast<size_t>(rets[i].ndim));
    moert_code code = moert_entry_result_shape(
        handle, inputs.pointers(), inputs.size(), i, shapes[i].data());
    // The call says what is wrong with its inputs.
    if (code != MOERT_OK)
      return false;
    for (int64_t extent : shapes[i])
      if (extent < 0)
        return false;
  }
  return true;
}

nb::object Entry::pack(std::vector<nb::object> results) {
  if (results.empty())
    return nb::none();
  if (results.size() == 1)
    return std::move(results[0]);
  PyObject *tuple = PyTuple_New(static_cast<Py_ssize_t>(results.size()));
  if (!tuple)
    throw nb::python_error();
  for (size_t i = 0; i < results.size(); ++i)
    PyTuple_SetItem(tuple, static_cast<Py_ssize_t>(i),
                    results[i].release().ptr());
  return nb::steal(tuple);
}

nb::object Entry::call(nb::args given, nb::object stream) {
  usable();
  ArgumentList inputs;
  read(inputs, given);
  Framework &framework =
      inputs.size() ? inputs[0].framework() : defaultFramework();
  Order order = orderOf(inputs, stream);
  DLDevice device = artifact->context->device();
  std::vector<std::vector<int64_t>> shapes;
  if (hasSymmetricResults || !framework.allocatesOn(device) ||
      !shapesOf(inputs, shapes))
    return callAllocating(inputs, order, framework);
  std::vector<nb::object> results;
  ArgumentList outputs;
  for (size_t i = 0; i < rets.size(); ++i) {
    results.push_back(framework.empty(*resultTypes[i], shapes[i], device));
    outputs.add(results.back(), Argument::Written,
                [] { return std::string("an array of the framework's own"); });
  }
  runInto(inputs.pointers(), inputs.size(), order, outputs.pointers(),
          outputs.size());
  return pack(std::move(results));
}

/// With results that the runtime allocates: their shapes are not known before,
/// they lie in the artifact's workspace, or the framework has no memory there.
nb::object Entry::callAllocating(ArgumentList &inputs, const Order &order,
                                 Framework &framework) {
  static constexpr CallFunctions<DLManagedTensor **> api = {moert_entry_call,
                                                            moert_entry_launch};
  std::vector<DLManagedTensor *> outputs(rets.size());
  run(inputs.pointers(), inputs.size(), order, api, outputs.data(),
      outputs.size());
  ++count->calls;
  // All are owned before the first may fail.
  std::vector<std::shared_ptr<Tensor>> tensors;
  for (size_t i = 0; i < outputs.size(); ++i)
    tensors.push_back(std::make_shared<Tensor>(
        artifact->context, outputs[i], rets[i].symmetric != 0,
        rets[i].symmetric ? count : nullptr, order.onStream, order.stream));
  std::vector<nb::object> results;
  for (size_t i = 0; i < outputs.size(); ++i)
    // What a later call writes over is not handed out as a plain array.
    results.push_back(rets[i].symmetric ? nb::cast(tensors[i])
                                        : framework.wrap(tensors[i]));
  return pack(std::move(results));
}

//===----------------------------------------------------------------------===//
// In Python
//===----------------------------------------------------------------------===//

/// As TensorType of moe_mlir.runtime.
static nb::tuple describe(const std::vector<moert_tensor_type> &types) {
  nb::object makeType =
      nb::module_::import_("moe_mlir.runtime.artifact").attr("TensorType");
  nb::list all;
  for (const moert_tensor_type &type : types) {
    nb::list shape;
    for (int i = 0; i < type.ndim; ++i) {
      if (type.shape[i] < 0)
        shape.append(nb::none());
      else
        shape.append(type.shape[i]);
    }
    all.append(
        makeType(type.dtype_name, nb::tuple(shape), type.symmetric != 0));
  }
  return nb::tuple(all);
}

static const char *const entryDoc = R"(A public function of a loaded artifact.

LoadedArtifact has them by name. Collective where the artifact communicates.)";

static const char *const callDoc = R"(Call the entry; results are new arrays.

Parameters
----------
*arguments : array
    One per argument, of its type and shape: arrays of numpy, torch, CuPy or JAX,
    or any object with __dlpack__ or the buffer protocol. On the host they may be
    strided. On a GPU they are dense, aligned to 16 bytes and on the group's
    device; those in host memory are uploaded, and the call then waits for its end.
stream : int, optional
    Handle of the CUDA stream to run on. By default the current one of the first
    argument's framework.

Returns
-------
None, array or tuple of arrays
    Of the first argument's framework, allocated by it, where shapes are known
    before the call; else in memory of the runtime. What the framework cannot have
    is a Tensor. Symmetric results are Tensors, valid until the next call.

Raises
------
MoEError
    An argument of another type, shape, device or alignment; an error of this rank
    or of another one. On a GPU, errors of kernels are raised by Group.check,
    Group.synchronize and later calls.
TypeError
    An argument is no array.)";

static const char *const intoDoc =
    R"(Call the entry; results go to given arrays.

Nothing is allocated, and a CUDA graph may capture it.

Parameters
----------
outputs : sequence of arrays, or array
    One per result, of its type and shape, writable, dense and aligned like an
    argument, on the group's device. They overlap neither each other nor an
    argument. Symmetric results need memory of Group.empty.
*arguments, stream
    As for a call.

Raises
------
MoEError, TypeError
    As for a call. After an error the contents of the outputs are unspecified.)";

void moe::py::bindEntry(nb::module_ &module) {
  nb::class_<Entry>(module, "Entry", entryDoc)
      .def_prop_ro("name", &Entry::name, "Name of the function.")
      .def_prop_ro(
          "arguments",
          [](const Entry &self) {
            (void)usableHandle(self.owner());
            return describe(self.arguments());
          },
          nb::sig("def arguments(self) -> "
                  "tuple[moe_mlir.runtime.artifact.TensorType, ...]"),
          "Types of the arguments.")
      .def_prop_ro(
          "results",
          [](const Entry &self) {
            (void)usableHandle(self.owner());
            return describe(self.results());
          },
          nb::sig("def results(self) -> "
                  "tuple[moe_mlir.runtime.artifact.TensorType, ...]"),
          "Types of the results.")
      .def("__call__", &Entry::call, nb::arg("arguments"),
           nb::arg("stream") = nb::none(),
           nb::sig("def __call__(self, *arguments: typing.Any, stream: int | "
                   "None = None) -> typing.Any"),
           callDoc)
      .def("into", &Entry::into, nb::arg("outputs"), nb::arg("arguments"),
           nb::arg("stream") = nb::none(),
           nb::sig("def into(self, outputs: typing.Any, *arguments: "
                   "typing.Any, stream: int | None = None) -> None"),
           intoDoc)
      .def("__repr__", &Entry::signature);
}
