//===- Tensor.cpp - memory of the runtime as Python sees it ---------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Tensor.h"

#include "Argument.h"
#include "Stream.h"
#include "Types.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>
#include <optional>

namespace nb = nanobind;
using namespace moe::py;

TensorMemory::TensorMemory(ContextRef given, DLManagedTensor *result)
    : context(std::move(given)), result(result) {
  if (context)
    context->addView();
}

TensorMemory::~TensorMemory() {
  if (result)
    result->deleter(result);
  if (context)
    context->dropView();
}

Tensor::Tensor(ContextRef context, DLManagedTensor *result, bool isSymmetric,
               std::shared_ptr<const CallCount> valid, bool isOnStream,
               void *stream)
    : context(context), tensor(result->dl_tensor), symmetric(isSymmetric),
      isOnStream(isOnStream), stream(stream), valid(std::move(valid)) {
  // Ordinary results stay valid after the group.
  memory =
      std::make_shared<TensorMemory>(isSymmetric ? context : nullptr, result);
  if (this->valid)
    call = this->valid->calls;
}

Tensor::Tensor(ContextRef context, void *data, DLDataType dtype,
               std::vector<int64_t> extents)
    : context(context),
      memory(std::make_shared<TensorMemory>(context, nullptr)),
      shape(std::move(extents)), strides(denseStrides(shape)), symmetric(true) {
  tensor = {data,        context->device(), static_cast<int>(shape.size()),
            dtype,       shape.data(),      strides.data(),
            /*offset=*/0};
}

bool Tensor::isStale() const { return valid && valid->calls != call; }

const DLTensor &Tensor::use() {
  std::string rank = "rank " + std::to_string(context->rank()) + ": ";
  if (freed)
    refuse(rank + "the symmetric tensor has been freed", context->rank());
  if (isStale())
    refuse(
        rank + "a symmetric result of entry '" + valid->entry +
            "' is stale: a later call of the entry has written over it; give "
            "the entry memory of Group.empty to write to (into)",
        context->rank(), "the result of call " + std::to_string(valid->calls),
        "that of call " + std::to_string(call));
  return tensor;
}

void Tensor::orderBy(void *reader, bool isKnown) {
  if (!isOnStream || (isKnown && reader == stream) || context->isClosed())
    return;
  void *writer = stream;
  context->run("waiting for a result", [writer](moert_context *handle) {
    return moert_context_synchronize(handle, writer);
  });
  isOnStream = false;
}

//===----------------------------------------------------------------------===//
// DLPack
//===----------------------------------------------------------------------===//

namespace {
/// What an exported tensor keeps.
template <typename Managed> struct Exported {
  Managed managed{};
  std::vector<int64_t> shape, strides;
  std::shared_ptr<TensorMemory> memory;
};
} // namespace

template <typename Managed>
static Exported<Managed> *exportTensor(Tensor &self, DLTensor Managed::*field) {
  const DLTensor &tensor = self.use();
  auto exported = std::make_unique<Exported<Managed>>();
  exported->shape.assign(tensor.shape, tensor.shape + tensor.ndim);
  exported->strides =
      tensor.strides
          ? std::vector<int64_t>(tensor.strides, tensor.strides + tensor.ndim)
          : denseStrides(exported->shape);
  exported->memory = self.owner();
  DLTensor &out = exported->managed.*field;
  out = tensor;
  out.shape = exported->shape.data();
  out.strides = exported->strides.data();
  return exported.release();
}

VersionedTensor *Tensor::exportVersioned() {
  auto *exported = exportTensor(*this, &VersionedTensor::tensor);
  exported->managed.version = {1, 0};
  exported->managed.manager = exported;
  exported->managed.deleter = [](VersionedTensor *tensor) {
    delete static_cast<Exported<VersionedTensor> *>(tensor->manager);
  };
  return &exported->managed;
}

DLManagedTensor *Tensor::exportUnversioned() {
  auto *exported = exportTensor(*this, &DLManagedTensor::dl_tensor);
  exported->managed.manager_ctx = exported;
  exported->managed.deleter = [](DLManagedTensor *tensor) {
    delete static_cast<Exported<DLManagedTensor> *>(tensor->manager_ctx);
  };
  return &exported->managed;
}

/// Frees a tensor that nobody has taken out of its capsule.
template <typename Managed> static void dropCapsule(PyObject *capsule) {
  const char *name = PyCapsule_GetName(capsule);
  if (!name || std::string(name).rfind("used_", 0) == 0)
    return;
  auto *tensor = static_cast<Managed *>(PyCapsule_GetPointer(capsule, name));
  if (tensor)
    tensor->deleter(tensor);
}

static nb::object dlpack(Tensor &self, nb::object stream,
                         std::optional<std::pair<int, int>> maxVersion,
                         std::optional<std::pair<int, int>> dlDevice,
                         std::optional<bool> copy) {
  const DLTensor &tensor = self.use();
  bool isElsewhere =
      dlDevice && (dlDevice->first != int(tensor.device.device_type) ||
                   dlDevice->second != tensor.device.device_id);
  if (isElsewhere || copy.value_or(false)) {
    PyErr_SetString(PyExc_BufferError,
                    "memory of moe_mlir's runtime is handed out where it is, "
                    "and not copied; use numpy() or a copy of the framework's");
    throw nb::python_error();
  }
  // None is the legacy stream, and so is 1; -1 asks for no order.
  if (stream.is_none())
    self.orderBy(nullptr, true);
  else if (auto number = streamNumber(stream, -1); number != -1)
    self.orderBy(number == 1 ? nullptr : reinterpret_cast<void *>(number),
                 true);
  PyObject *capsule;
  if (maxVersion && maxVersion->first >= 1)
    capsule = PyCapsule_New(self.exportVersioned(), "dltensor_versioned",
                            dropCapsule<VersionedTensor>);
  else
    capsule = PyCapsule_New(self.exportUnversioned(), "dltensor",
                            dropCapsule<DLManagedTensor>);
  if (!capsule)
    throw nb::python_error();
  return nb::steal(capsule);
}

//===----------------------------------------------------------------------===//
// The buffer protocol, for host memory
//===----------------------------------------------------------------------===//

static int getBuffer(PyObject *object, Py_buffer *view, int flags) {
  try {
    auto &self = nb::cast<Tensor &>(nb::handle(object));
    const DLTensor &tensor = self.use();
    const ElementType *type = findElementType(tensor.dtype);
    if (tensor.device.device_type != kDLCPU || !type) {
      PyErr_SetString(PyExc_BufferError,
                      "the tensor is not in host memory; numpy() copies it");
      view->obj = nullptr;
      return -1;
    }
    Py_ssize_t item = tensor.dtype.bits / 8;
    auto *extents = new Py_ssize_t[2 * size_t(tensor.ndim) + 1];
    Py_ssize_t dense = item;
    for (int i = tensor.ndim; i-- > 0;) {
      extents[i] = tensor.shape[i];
      extents[tensor.ndim + i] =
          tensor.strides ? tensor.strides[i] * item : dense;
      dense *= tensor.shape[i];
    }
    view->buf = static_cast<char *>(tensor.data) + tensor.byte_offset;
    view->obj = object;
    Py_INCREF(object);
    view->len = static_cast<Py_ssize_t>(bytesOf(tensor));
    view->itemsize = item;
    view->readonly = 0;
    view->ndim = tensor.ndim;
    view->format =
        flags & PyBUF_FORMAT ? const_cast<char *>(type->format) : nullptr;
    view->shape = extents;
    view->strides = extents + tensor.ndim;
    view->suboffsets = nullptr;
    view->internal = extents;
    return 0;
  } catch (nb::python_error &error) {
    error.restore();
  } catch (const std::exception &error) {
    PyErr_SetString(PyExc_BufferError, error.what());
  }
  view->obj = nullptr;
  return -1;
}

static void releaseBuffer(PyObject *, Py_buffer *view) {
  delete[] static_cast<Py_ssize_t *>(view->internal);
}

static PyType_Slot slots[] = {
    {Py_bf_getbuffer, reinterpret_cast<void *>(getBuffer)},
    {Py_bf_releasebuffer, reinterpret_cast<void *>(releaseBuffer)},
    {0, nullptr}};

//===----------------------------------------------------------------------===//
// Methods
//===----------------------------------------------------------------------===//

static std::string dtypeName(const Tensor &self) {
  const ElementType *type = findElementType(self.peek().dtype);
  return type ? type->name : "?";
}

static nb::tuple shapeOf(const Tensor &self) {
  nb::list extents;
  for (int i = 0; i < self.peek().ndim; ++i)
    extents.append(self.peek().shape[i]);
  return nb::tuple(extents);
}

static std::function<std::string()> named(const char *what) {
  return [what] { return std::string(what); };
}

/// The copies below are of bytes.
static void requireDense(const Argument &argument, const char *what) {
  const DLTensor &tensor = argument.tensor();
  int64_t dense = 1;
  bool isDense = !argument.isOnDevice();
  for (int i = tensor.ndim; i-- > 0;) {
    isDense &=
        !tensor.strides || tensor.shape[i] == 1 || tensor.strides[i] == dense;
    dense *= tensor.shape[i];
  }
  if (!isDense && dense)
    refuse(std::string(what) +
           ": expected a dense row-major array in host memory");
}

/// Copies to `buffer`, writable dense host memory of the tensor's size.
static void copyTo(Tensor &self, nb::object buffer) {
  const DLTensor &tensor = self.use();
  self.orderBy(nullptr, false);
  Argument to(buffer, Argument::Written, named("copy of a tensor"));
  requireDense(to, "copy of a tensor");
  size_t bytes = bytesOf(to.tensor());
  void *data = static_cast<char *>(to.tensor().data) + to.tensor().byte_offset;
  self.group()->run("copy from a tensor", [&](moert_context *handle) {
    return moert_tensor_copy_to_host(handle, &tensor, data, bytes);
  });
}

static void copyFrom(Tensor &self, nb::object buffer) {
  const DLTensor &tensor = self.use();
  self.orderBy(nullptr, false);
  Argument from(buffer, Argument::Read, named("copy to a tensor"));
  requireDense(from, "copy to a tensor");
  size_t bytes = bytesOf(from.tensor());
  const void *data =
      static_cast<char *>(from.tensor().data) + from.tensor().byte_offset;
  self.group()->run("copy to a tensor", [&](moert_context *handle) {
    return moert_tensor_copy_from_host(handle, &tensor, data, bytes);
  });
}

/// Collective: `bytes` zeroed bytes of symmetric memory.
static std::shared_ptr<Tensor> symmetricEmpty(const ContextRef &context,
                                              std::vector<int64_t> shape,
                                              const std::string &dtype) {
  const ElementType *type = findElementType(dtype);
  DLTensor probe{};
  probe.ndim = static_cast<int>(shape.size());
  probe.shape = shape.data();
  if (!type)
    refuse("'" + dtype + "' is no element type of tensors");
  probe.dtype = type->type;
  size_t bytes = bytesOf(probe);
  void *data = nullptr;
  context->run("empty", [&](moert_context *handle) {
    return moert_symm_alloc(handle, bytes, &data);
  });
  return std::make_shared<Tensor>(context, data, type->type, std::move(shape));
}

/// Collective.
static void symmetricFree(const ContextRef &context, nb::object object) {
  void *data = nullptr;
  Tensor *own = nullptr;
  {
    Argument tensor(object, Argument::Read, named("free"));
    data =
        static_cast<char *>(tensor.tensor().data) + tensor.tensor().byte_offset;
    nb::try_cast(object, own);
  }
  context->run("free", [data](moert_context *handle) {
    return moert_symm_free(handle, data);
  });
  if (own)
    own->markFreed();
}

/// A method that moe_mlir.runtime.frameworks has.
static auto through(const char *name) {
  return [name](nb::object self) {
    return nb::module_::import_("moe_mlir.runtime.frameworks").attr(name)(self);
  };
}

void moe::py::bindTensor(nb::module_ &module) {
  nb::class_<Tensor>(module, "Tensor", nb::type_slots(slots),
                     "A tensor in memory of the runtime.")
      .def_prop_ro("shape", shapeOf,
                   nb::sig("def shape(self) -> tuple[int, ...]"))
      .def_prop_ro("dtype", dtypeName)
      .def_prop_ro("nbytes",
                   [](const Tensor &self) { return bytesOf(self.peek()); })
      .def_prop_ro("address",
                   [](const Tensor &self) {
                     return reinterpret_cast<uintptr_t>(self.peek().data) +
                            self.peek().byte_offset;
                   })
      .def_prop_ro("is_symmetric", &Tensor::isSymmetric)
      .def_prop_ro("is_stale", &Tensor::isStale)
      .def("__dlpack__", dlpack, nb::kw_only(), nb::arg("stream") = nb::none(),
           nb::arg("max_version") = nb::none(),
           nb::arg("dl_device") = nb::none(), nb::arg("copy") = nb::none())
      .def(
          "__dlpack_device__",
          [](const Tensor &self) {
            return nb::make_tuple(int(self.peek().device.device_type),
                                  self.peek().device.device_id);
          },
          nb::sig("def __dlpack_device__(self) -> tuple[int, int]"))
      .def("numpy", through("to_numpy"),
           nb::sig("def numpy(self) -> typing.Any"),
           "A numpy array: a view of host memory, a copy of a GPU's.")
      .def(
          "__array__",
          [](nb::object self, nb::object dtype, nb::object copy) {
            nb::object array = self.attr("numpy")();
            if (!dtype.is_none())
              array = array.attr("astype")(dtype, nb::arg("copy") = false);
            bool isCopied = !copy.is_none() && nb::cast<bool>(copy);
            return isCopied ? array.attr("copy")() : array;
          },
          nb::arg("dtype") = nb::none(), nb::arg("copy") = nb::none())
      .def("torch", through("to_torch"),
           nb::sig("def torch(self) -> typing.Any"),
           "A torch.Tensor in the same memory.")
      .def("cupy", through("to_cupy"), nb::sig("def cupy(self) -> typing.Any"),
           "A cupy.ndarray in the same memory of a GPU.")
      .def("copy_to", copyTo, nb::arg("array"),
           "Copy to a dense array in host memory of the same number of bytes.")
      .def(
          "copy_from", copyFrom, nb::arg("array"),
          "Copy from a dense array in host memory of the same number of bytes.")
      .def("__repr__", [](const Tensor &self) {
        std::string text = "Tensor(" + dtypeName(self) + "[";
        for (int i = 0; i < self.peek().ndim; ++i)
          text += (i ? ", " : "") + std::to_string(self.peek().shape[i]);
        text += "]";
        if (self.peek().device.device_type != kDLCPU)
          text += ", GPU " + std::to_string(self.peek().device.device_id);
        if (self.isSymmetric())
          text += ", symmetric";
        return text + (self.isStale() ? ", stale)" : ")");
      });
  module.def("symmetric_empty", symmetricEmpty, nb::arg("context"),
             nb::arg("shape"), nb::arg("dtype"));
  module.def("symmetric_free", symmetricFree, nb::arg("context"),
             nb::arg("tensor"));
}
