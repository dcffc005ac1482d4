//===- Framework.cpp - the libraries whose arrays Python has --------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Framework.h"

#include <nanobind/stl/shared_ptr.h>
#include <unordered_map>

namespace nb = nanobind;
using namespace moe::py;

static nb::tuple tupleOf(const std::vector<int64_t> &shape) {
  PyObject *tuple = PyTuple_New(static_cast<Py_ssize_t>(shape.size()));
  if (!tuple)
    throw nb::python_error();
  for (size_t i = 0; i < shape.size(); ++i)
    PyTuple_SetItem(tuple, static_cast<Py_ssize_t>(i),
                    PyLong_FromLongLong(shape[i]));
  return nb::steal<nb::tuple>(tuple);
}

/// The module if the program has imported it; frameworks are not loaded here.
static nb::object loadedModule(const char *name) {
  PyObject *modules = PyImport_GetModuleDict(); // borrowed
  PyObject *found = PyDict_GetItemString(modules, name);
  return found ? nb::borrow(found) : nb::object();
}

namespace {
//===----------------------------------------------------------------------===//
// The frameworks
//===----------------------------------------------------------------------===//

/// Has no arrays of its own: results are Tensors.
class Plain : public Framework {
public:
  bool allocatesOn(DLDevice) const override { return false; }
  nb::object empty(const ElementType &, const std::vector<int64_t> &,
                   DLDevice) override {
    return nb::none();
  }
  nb::object wrap(const std::shared_ptr<Tensor> &tensor) override {
    return nb::cast(tensor);
  }
};

class Numpy : public Framework {
public:
  bool allocatesOn(DLDevice device) const override {
    return device.device_type == kDLCPU;
  }
  nb::object empty(const ElementType &type, const std::vector<int64_t> &shape,
                   DLDevice) override {
    return function("empty")(tupleOf(shape), dtype(type));
  }
  nb::object wrap(const std::shared_ptr<Tensor> &tensor) override {
    nb::object own = nb::cast(tensor);
    if (tensor->peek().device.device_type != kDLCPU)
      return own;
    nb::object array = function("asarray")(own);
    const ElementType *type = findElementType(tensor->peek().dtype);
    return type && type->isMlDtype ? array.attr("view")(dtype(*type)) : array;
  }

private:
  nb::object function(const char *name) {
    nb::object &found = functions[name];
    if (!found.is_valid())
      found = nb::module_::import_("numpy").attr(name);
    return found;
  }
  nb::object dtype(const ElementType &type) {
    nb::object &found = dtypes[&type];
    if (!found.is_valid())
      found = nb::module_::import_("moe_mlir.runtime.dtypes")
                  .attr("numpy_dtype")(type.name);
    return found;
  }
  std::unordered_map<const char *, nb::object> functions;
  std::unordered_map<const ElementType *, nb::object> dtypes;
};

/// One with the C functions of DLPack 1.3.
class WithExchangeApi : public Framework {
public:
  WithExchangeApi(const ExchangeApi &api, bool hasHostArrays)
      : api(api), hasHostArrays(hasHostArrays) {}

  bool allocatesOn(DLDevice) const override { return api.allocate; }
  nb::object empty(const ElementType &type, const std::vector<int64_t> &shape,
                   DLDevice device) override {
    std::vector<int64_t> extents = shape;
    DLTensor prototype{};
    prototype.device = device;
    prototype.ndim = static_cast<int>(shape.size());
    prototype.dtype = type.type;
    prototype.shape = extents.data();
    VersionedTensor *made = nullptr;
    std::string error;
    auto keep = [](void *text, const char *kind, const char *message) {
      *static_cast<std::string *>(text) = std::string(kind) + ": " + message;
    };
    if (api.allocate(&prototype, &made, &error, keep) != 0 || !made) {
      if (!PyErr_Occurred())
        PyErr_SetString(PyExc_MemoryError, error.c_str());
      throw nb::python_error();
    }
    return take(made);
  }
  nb::object wrap(const std::shared_ptr<Tensor> &tensor) override {
    return take(tensor->exportVersioned());
  }
  Framework &onHost() override {
    return hasHostArrays ? *this : defaultFramework();
  }
  std::optional<void *> currentStream(int32_t device) override {
    void *stream = nullptr;
    if (!api.currentStream)
      return std::nullopt;
    if (api.currentStream(kDLCUDA, device, &stream) != 0)
      throw nb::python_error();
    return stream;
  }

private:
  nb::object take(VersionedTensor *tensor) {
    void *object = nullptr;
    if (api.toObject(tensor, &object) != 0 || !object)
      throw nb::python_error();
    return nb::steal(static_cast<PyObject *>(object));
  }
  const ExchangeApi &api;
  bool hasHostArrays;
};

/// One that is reached through Python, by moe_mlir.runtime.frameworks.
class ThroughPython : public Framework {
public:
  ThroughPython(const char *name, bool isOnHost, bool isOnDevice)
      : name(name), isOnHost(isOnHost), isOnDevice(isOnDevice) {}

  bool allocatesOn(DLDevice device) const override {
    return device.device_type == kDLCPU ? isOnHost : isOnDevice;
  }
  nb::object empty(const ElementType &type, const std::vector<int64_t> &shape,
                   DLDevice device) override {
    return module().attr("empty")(name, tupleOf(shape), type.name,
                                  int(device.device_type), device.device_id);
  }
  nb::object wrap(const std::shared_ptr<Tensor> &tensor) override {
    return module().attr("wrap")(name, nb::cast(tensor));
  }
  Framework &onHost() override { return isOnHost ? *this : defaultFramework(); }
  std::optional<void *> currentStream(int32_t device) override {
    nb::object stream = module().attr("current_stream")(name, device);
    if (stream.is_none())
      return std::nullopt;
    return reinterpret_cast<void *>(nb::cast<uintptr_t>(stream));
  }

private:
  static nb::object module() {
    return nb::module_::import_("moe_mlir.runtime.frameworks");
  }
  const char *name;
  bool isOnHost, isOnDevice;
};
} // namespace

/// They live as long as the process, since arrays may.
static Numpy &numpy() {
  static auto *made = new Numpy();
  return *made;
}

Framework &moe::py::defaultFramework() { return numpy(); }

//===----------------------------------------------------------------------===//
// Types of arrays
//===----------------------------------------------------------------------===//

static const ExchangeApi *exchangeApiOf(nb::handle type) {
  nb::object capsule =
      nb::getattr(type, "__dlpack_c_exchange_api__", nb::none());
  if (!PyCapsule_IsValid(capsule.ptr(), "dlpack_exchange_api"))
    return nullptr;
  auto *api = static_cast<const ExchangeApi *>(
      PyCapsule_GetPointer(capsule.ptr(), "dlpack_exchange_api"));
  while (api && api->version.major > 1)
    api = api->previous;
  bool isUsable = api && api->version.major == 1 && api->toObject &&
                  (api->borrow || api->exportOwning);
  return isUsable ? api : nullptr;
}

/// Whether the type is one of `name` in a module that is loaded.
static bool derivesFrom(nb::handle type, const char *module, const char *name) {
  nb::object loaded = loadedModule(module);
  if (!loaded.is_valid())
    return false;
  nb::object base = nb::getattr(loaded, name, nb::none());
  return PyType_Check(base.ptr()) &&
         PyObject_IsSubclass(type.ptr(), base.ptr()) == 1;
}

static ArrayType examine(nb::handle object, nb::handle type) {
  static auto *plain = new Plain();
  static auto *torch = new ThroughPython("torch", true, true);
  static auto *cupy = new ThroughPython("cupy", false, true);
  static auto *jax = new ThroughPython("jax", false, false);
  ArrayType found;
  if (nb::isinstance<Tensor>(object)) {
    found.access = ArrayType::Own;
    found.framework = plain;
  } else if (const ExchangeApi *api = exchangeApiOf(type)) {
    found.access = ArrayType::Exchange;
    found.api = api;
    // One object for all types of a framework.
    static auto *all =
        new std::unordered_map<const ExchangeApi *, WithExchangeApi *>();
    WithExchangeApi *&made = (*all)[api];
    if (!made)
      made = new WithExchangeApi(*api, derivesFrom(type, "torch", "Tensor"));
    found.framework = made;
  } else if (derivesFrom(type, "numpy", "ndarray")) {
    found.access = ArrayType::Buffer;
    found.isNumpy = true;
    found.framework = &numpy();
  } else if (nb::hasattr(type, "__dlpack__")) {
    found.access = ArrayType::DLPack;
    found.framework = derivesFrom(type, "torch", "Tensor")   ? torch
                      : derivesFrom(type, "cupy", "ndarray") ? cupy
                      : derivesFrom(type, "jax", "Array")
                          ? static_cast<Framework *>(jax)
                          : plain;
  } else if (PyObject_CheckBuffer(object.ptr())) {
    found.access = ArrayType::Buffer;
    found.framework = &numpy();
  }
  return found;
}

namespace {
/// What is known of types, which it keeps by weak references: classes of a
/// program would otherwise keep all that their functions can reach. A type that
/// is gone could come again at the same address, so it is forgotten.
class KnownTypes {
public:
  ArrayType find(nb::handle object) {
    auto *type = reinterpret_cast<PyObject *>(Py_TYPE(object.ptr()));
    // Those of one call are mostly of one type.
    if (type == last)
      return ofLast;
    auto at = types.find(type);
    if (at == types.end()) {
      ArrayType found = examine(object, type);
      nb::object reference = nb::steal(PyWeakref_NewRef(type, forgetter.ptr()));
      if (!reference.is_valid())
        throw nb::python_error();
      at = types.emplace(type, Known{found, std::move(reference)}).first;
    }
    last = type;
    ofLast = at->second.type;
    return ofLast;
  }

private:
  struct Known {
    ArrayType type;
    nb::object reference;
  };

  static PyObject *forget(PyObject *, PyObject *reference);
  nb::object makeForgetter() {
    // Not a function of nanobind's, which would tell at exit that it leaked.
    static PyMethodDef method = {"forget", forget, METH_O, nullptr};
    nb::object made = nb::steal(PyCFunction_NewEx(&method, nullptr, nullptr));
    if (!made.is_valid())
      throw nb::python_error();
    return made;
  }

  nb::object forgetter = makeForgetter();
  std::unordered_map<PyObject *, Known> types;
  PyObject *last = nullptr;
  ArrayType ofLast;
};
} // namespace

/// Lives as long as the process, as the frameworks do.
static KnownTypes &knownTypes() {
  static auto *made = new KnownTypes();
  return *made;
}

PyObject *KnownTypes::forget(PyObject *, PyObject *reference) {
  KnownTypes &known = knownTypes();
  known.last = nullptr;
  for (auto at = known.types.begin(); at != known.types.end(); ++at)
    if (at->second.reference.ptr() == reference) {
      known.types.erase(at);
      break;
    }
  return nb::none().release().ptr();
}

ArrayType moe::py::arrayTypeOf(nb::handle object) {
  return knownTypes().find(object);
}
