//===- Packed.cpp - calls with several tensors in one ---------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Packed.h"

#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>

namespace nb = nanobind;
using namespace moe::py;

/// The extent of a shape that is as large as there is room for.
static constexpr int64_t open = -1;

//===----------------------------------------------------------------------===//
// Where arguments and results are
//===----------------------------------------------------------------------===//

PackedEntry::PackedEntry(std::shared_ptr<Entry> given, nb::sequence arguments,
                         nb::sequence results)
    : entry(std::move(given)) {
  auto add = [&](nb::sequence places, const char *what,
                 const std::vector<bool> &areOnHost, bool isResult) {
    size_t expected = areOnHost.size();
    std::string of = " of entry '" + entry->name() + "'";
    if (nb::len(places) != expected)
      refuse(std::string(what) + "s" + of + ": expected " +
             std::to_string(expected) + " places, got " +
             std::to_string(nb::len(places)));
    for (size_t i = 0; i < expected; ++i)
      addSlot(places[i], what + (" " + std::to_string(i)) + of, isResult,
              areOnHost[i]);
  };
  add(arguments, "argument", entry->argumentsOnHost(), false);
  numArguments = slots.size();
  add(results, "output", entry->resultsOnHost(), true);
}

void PackedEntry::addSlot(nb::handle place, std::string what, bool isResult,
                          bool isOnHost) {
  Slot slot;
  slot.what = std::move(what);
  slot.isPart = PyTuple_Check(place.ptr());
  if (!slot.isPart) {
    slot.tensor = nb::cast<size_t>(place);
  } else {
    auto part = nb::cast<nb::tuple>(place);
    if (part.size() != 4)
      refuse(slot.what +
             ": expected (tensor, first byte, shape, element type)");
    slot.tensor = nb::cast<size_t>(part[0]);
    slot.firstByte = nb::cast<int64_t>(part[1]);
    auto name = nb::cast<std::string>(part[3]);
    const ElementType *type = findElementType(name);
    if (!type)
      refuse(slot.what + ": '" + name + "' is no element type of tensors");
    slot.dtype = type->type;
    slot.bytes = type->type.bits / 8;
    slot.firstExtent = extents.size();
    for (nb::handle extent : part[2]) {
      auto size = nb::cast<int64_t>(extent);
      if (size == open && slot.ndim == 0)
        slot.isOpen = true;
      else if (size < 0)
        refuse(slot.what + ": expected extents of at least 0, got " +
               std::to_string(size));
      else if (__builtin_mul_overflow(slot.bytes, size, &slot.bytes))
        refuse(slot.what + ": expected a part of less than 2^63 bytes");
      extents.push_back(size);
      ++slot.ndim;
    }
    if (slot.firstByte < 0 || (slot.isOpen && slot.bytes == 0))
      refuse(slot.what + ": expected a part that begins in the tensor, and "
                         "rows of at least one element");
  }
  if (slot.tensor >= uses.size()) {
    uses.resize(slot.tensor + 1);
    onHost.resize(slot.tensor + 1);
  }
  if (isOnHost)
    onHost[slot.tensor] = true;
  uses[slot.tensor].isWritten |= isResult;
  uses[slot.tensor].hasParts |= slot.isPart;
  slots.push_back(std::move(slot));
}

//===----------------------------------------------------------------------===//
// Calls
//===----------------------------------------------------------------------===//

static bool isDense(const DLTensor &tensor) {
  int64_t expected = 1;
  bool isEmpty = false, found = true;
  for (int i = tensor.ndim; i-- > 0;) {
    isEmpty |= tensor.shape[i] == 0;
    found &= !tensor.strides || tensor.shape[i] == 1 ||
             tensor.strides[i] == expected;
    expected *= tensor.shape[i];
  }
  return found || isEmpty;
}

/// What is written to cannot be replaced by a copy; the runtime refuses it
/// where it is strided.
bool PackedEntry::isUsable(const Argument &tensor, size_t number) const {
  const Use &use = uses[number];
  DLDevice device = entry->owner().context->device();
  bool isThere = onHost[number]
                     ? !tensor.isOnDevice()
                     : tensor.tensor().device.device_type == device.device_type;
  if (!isThere)
    return false;
  bool hasToBeDense = use.hasParts || tensor.isOnDevice();
  return !hasToBeDense || use.isWritten || isDense(tensor.tensor());
}

/// Makes the view of a slot; `shape` is that of the slot, to be completed.
void PackedEntry::locate(const Slot &slot, const DLTensor &tensor,
                         DLTensor &view, int64_t *shape) const {
  if (!isDense(tensor))
    refuse(slot.what + ": expected a dense tensor, of which it is a part");
  auto rest = static_cast<int64_t>(bytesOf(tensor)) - slot.firstByte;
  bool fits =
      slot.isOpen ? rest >= 0 && rest % slot.bytes == 0 : rest >= slot.bytes;
  if (!fits)
    refuse(
        slot.what + ": expected a tensor of " + std::to_string(slot.firstByte) +
        (slot.isOpen ? " bytes and a multiple of " : " bytes and at least ") +
        std::to_string(slot.bytes) + " more, got " +
        std::to_string(bytesOf(tensor)) + " bytes");
  if (slot.isOpen)
    shape[0] = rest / slot.bytes;
  view = tensor;
  view.byte_offset += static_cast<uint64_t>(slot.firstByte);
  view.ndim = static_cast<int>(slot.ndim);
  view.dtype = slot.dtype;
  view.shape = shape;
  view.strides = nullptr;
}

bool PackedEntry::call(nb::args given) const {
  if (given.size() != uses.size()) {
    std::string message = "entry '" + entry->name() + "': expected " +
                          std::to_string(uses.size()) + " tensors, got " +
                          std::to_string(given.size());
    PyErr_SetString(PyExc_TypeError, message.c_str());
    throw nb::python_error();
  }
  ArgumentList tensors;
  for (size_t i = 0; i < uses.size(); ++i) {
    Argument::Use use = uses[i].isWritten ? Argument::Written : Argument::Read;
    Argument &added = tensors.add(given[i], use, [this, i] {
      return "tensor " + std::to_string(i) + " of entry '" + entry->name() +
             "'";
    });
    if (!isUsable(added, i))
      return false;
  }
  std::vector<int64_t> shapes = extents;
  std::vector<DLTensor> views(slots.size());
  std::vector<const DLTensor *> pointers(slots.size());
  for (size_t i = 0; i < slots.size(); ++i) {
    const Slot &slot = slots[i];
    const DLTensor &tensor = tensors[slot.tensor].tensor();
    pointers[i] = &tensor;
    if (slot.isPart) {
      locate(slot, tensor, views[i], shapes.data() + slot.firstExtent);
      pointers[i] = &views[i];
    }
  }
  entry->writeTo(tensors, onHost, pointers.data(),
                 pointers.data() + numArguments);
  return true;
}

//===----------------------------------------------------------------------===//
// In Python
//===----------------------------------------------------------------------===//

static const char *const packedDoc =
    R"(An entry that takes some of its arguments and results in one tensor.

Parameters
----------
entry : Entry
arguments, results : sequence of (int or tuple)
    Where each of the entry's is: the number of a tensor, or (number, first byte,
    shape, element type) of a part of one. A shape may begin with -1, for as many as
    there is room for.)";

static const char *const packedCallDoc =
    R"(Call the entry; results go to given tensors.

Parameters
----------
*tensors : array
    By their numbers.

Returns
-------
bool
    False where nothing was called, since a tensor is on another kind of device than
    the entry wants, or one that is only read is strided and has to be dense: all tensors
    on a GPU have to be, and those that have parts.

Raises
------
MoEError
    As a call of the entry; a part that does not lie in its tensor.
TypeError
    A tensor is no array, or there are more or fewer than expected.)";

void moe::py::bindPacked(nb::module_ &module) {
  nb::class_<PackedEntry>(module, "PackedEntry", packedDoc)
      .def(nb::init<std::shared_ptr<Entry>, nb::sequence, nb::sequence>(),
           nb::arg("entry"), nb::arg("arguments"), nb::arg("results"),
           nb::sig("def __init__(self, entry: Entry, arguments: "
                   "typing.Sequence[typing.Any], results: "
                   "typing.Sequence[typing.Any]) -> None"))
      .def("__call__", &PackedEntry::call, nb::arg("tensors"),
           nb::sig("def __call__(self, *tensors: typing.Any) -> bool"),
           packedCallDoc);
}
