//===- Entry.cpp - calls of the functions of an artifact ------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Entry.h"

#include "Stream.h"

#include <memory>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <optional>

namespace nb = nanobind;
using namespace moe::py;

Entry::Entry(std::shared_ptr<Artifact> given, moert_entry *handle)
    : artifact(std::move(given)), handle(handle),
      entryName(moert_entry_name(handle)),
      count(std::make_shared<CallCount>()) {
  count->entry = entryName;
  for (size_t i = 0; i < moert_entry_num_args(handle); ++i) {
    check(moert_entry_arg(handle, i, &args.emplace_back()));
    argsOnHost.push_back(isOnHost(moert_entry_arg_device, i));
  }
  for (size_t i = 0; i < moert_entry_num_results(handle); ++i) {
    check(moert_entry_result(handle, i, &rets.emplace_back()));
    retsOnHost.push_back(isOnHost(moert_entry_result_device, i));
    resultTypes.push_back(findElementType(rets.back().dtype));
    hasSymmetricResults |= rets.back().symmetric != 0;
  }
}

bool Entry::isOnHost(moert_code (*query)(const moert_entry *, size_t,
                                         DLDevice *),
                     size_t index) const {
  DLDevice device{};
  check(query(handle, index, &device));
  return artifact->context->isOnDevice() && device.device_type == kDLCPU;
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
/// is are ready on the legacy stream: such calls wait for their end. Those that
/// are to be `onHost` are ready.
Entry::Order Entry::orderOf(const ArgumentList &inputs,
                            const std::vector<bool> &onHost,
                            nb::handle stream) const {
  Order order;
  bool isGiven = !stream.is_none();
  if (isGiven) {
    order.onStream = true;
    order.stream = streamOf(stream);
  }
  if (!artifact->context->isOnDevice())
    return order;
  int32_t device = artifact->context->device().device_id;
  bool isAnyOnHost = false, isKnown = false, isAnyOrdered = false;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Argument &input = inputs[i];
    if (i < onHost.size() && onHost[i])
      continue;
    isAnyOrdered = true;
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
  order.waitBefore = !order.onStream && isAnyOrdered;
  return order;
}

//===----------------------------------------------------------------------===//
// Calls
//===----------------------------------------------------------------------===//

/// "layer(bf16[?, 7168], i32[?, 8]) -> (bf16[?, 7168])".
std::string Entry::signature() const {
  auto list = [](const std::vector<moert_tensor_type> &types,
                 const std::vector<bool> &onHost) {
    std::string text = "(";
    for (const moert_tensor_type &type : types) {
      text += (&type == types.data() ? "" : ", ") +
              std::string(type.dtype_name) + "[";
      for (int i = 0; i < type.ndim; ++i)
        text += (i ? ", " : "") + (type.shape[i] < 0
                                       ? std::string("?")
                                       : std::to_string(type.shape[i]));
      text += type.symmetric                      ? "] symmetric"
              : onHost[size_t(&type - &types[0])] ? "] host"
                                                  : "]";
    }
    return text + ")";
  };
  // The types belong to the artifact.
  if (artifact->isUnloaded || artifact->context->isClosed())
    return entryName;
  return entryName + list(args, argsOnHost) + " -> " + list(rets, retsOnHost);
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

void Entry::writeTo(const ArgumentList &given, const std::vector<bool> &onHost,
                    const DLTensor *const *inputs,
                    const DLTensor *const *outputs) const {
  usable();
  Order order = orderOf(given, onHost, nb::none());
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
  Order order = orderOf(inputs, argsOnHost, stream);
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

/// The one whose arrays the results are: that of the first argument, of those
/// on the GPU where there are some.
Framework &Entry::frameworkOf(const ArgumentList &inputs) const {
  size_t first = 0;
  while (first < inputs.size() && first < args.size() && argsOnHost[first])
    ++first;
  if (first == inputs.size())
    first = 0;
  return inputs.size() ? inputs[first].framework() : defaultFramework();
}

nb::object Entry::call(nb::args given, nb::object stream) {
  usable();
  ArgumentList inputs;
  read(inputs, given);
  Framework &framework = frameworkOf(inputs);
  Order order = orderOf(inputs, argsOnHost, stream);
  DLDevice device = artifact->context->device();
  std::vector<std::vector<int64_t>> shapes;
  if (hasSymmetricResults || !framework.allocatesOn(device) ||
      !shapesOf(inputs, shapes))
    return callAllocating(inputs, order, framework);
  std::vector<nb::object> results;
  ArgumentList outputs;
  for (size_t i = 0; i < rets.size(); ++i) {
    results.push_back(
        retsOnHost[i] ? framework.onHost().empty(*resultTypes[i], shapes[i],
                                                 DLDevice{kDLCPU, 0})
                      : framework.empty(*resultTypes[i], shapes[i], device));
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
  // All are owned before the first may fail. Those of the host are complete.
  std::vector<std::shared_ptr<Tensor>> tensors;
  for (size_t i = 0; i < outputs.size(); ++i)
    tensors.push_back(std::make_shared<Tensor>(
        artifact->context, outputs[i], rets[i].symmetric != 0,
        rets[i].symmetric ? count : nullptr, order.onStream && !retsOnHost[i],
        order.stream));
  std::vector<nb::object> results;
  for (size_t i = 0; i < outputs.size(); ++i) {
    Framework &maker = retsOnHost[i] ? framework.onHost() : framework;
    // What a later call writes over is not handed out as a plain array.
    results.push_back(rets[i].symmetric ? nb::cast(tensors[i])
                                        : maker.wrap(tensors[i]));
  }
  return pack(std::move(results));
}
