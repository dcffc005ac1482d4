//===- Support.h - What the bindings share ----------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_PYTHON_COMPILER_SUPPORT_H
#define MOE_MLIR_PYTHON_COMPILER_SUPPORT_H

#include "../Gil.h"
#include "moe-mlir-c/Compiler.h"

#include <nanobind/nanobind.h>

#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace moe::python {

namespace nb = nanobind;

inline MlirStringRef toRef(std::string_view text) {
  return {text.data(), text.size()};
}
inline std::string toString(MlirStringRef text) {
  return std::string(text.data, text.length);
}
/// Text that may be no UTF-8, as a module's strings are bytes.
inline nb::object decode(std::string_view text) {
  return nb::steal(PyUnicode_DecodeUTF8(text.data(), text.size(), "replace"));
}
/// An `MlirStringCallback` whose data is a std::string to append to.
void appendText(MlirStringRef text, void *data);

//===----------------------------------------------------------------------===//
// Diagnostics
//===----------------------------------------------------------------------===//

struct Diagnostic {
  MlirDiagnosticSeverity severity = MlirDiagnosticError;
  std::string message, file, op;
  int64_t line = 0, column = 0;
  std::vector<Diagnostic> notes;
};

Diagnostic makeDiagnostic(MoeDiagnosticRecord record);
/// An error without a place.
Diagnostic makeError(std::string message);
/// A list of moe_mlir.compiler.Diagnostic. With the GIL.
nb::object toPython(const std::vector<Diagnostic> &diagnostics);

/// Becomes an exception of moe_mlir.compiler.diagnostics.
struct CompileFailure : std::exception {
  enum Kind { Module, Option, Crash };

  explicit CompileFailure(std::vector<Diagnostic> diagnostics,
                          Kind kind = Module)
      : diagnostics(std::move(diagnostics)), kind(kind) {}
  const char *what() const noexcept override { return "CompileError"; }

  std::vector<Diagnostic> diagnostics;
  Kind kind;
};

/// Becomes the exception StaleError.
struct Stale : std::exception {
  explicit Stale(const char *text) : text(text) {}
  const char *what() const noexcept override { return text; }
  const char *text;
};

/// An attribute of a Python module of the package, such as "_diagnostics".
nb::object importFrom(const char *module, const char *name);

//===----------------------------------------------------------------------===//
// Contexts
//===----------------------------------------------------------------------===//

/// A context and who may use it. MLIR leaves locking to its users.
class ContextState {
public:
  explicit ContextState(bool allowUnregistered);
  ~ContextState();
  ContextState(const ContextState &) = delete;

  MlirContext get() const { return context; }
  /// After a crash nothing of the context may be touched any more.
  void markLost() { isLost = true; }
  /// Destroys a module; later, when another thread uses the context.
  void discard(MlirModule module);

  /// The remarks the context reports, as of `moeContextEnableRemarks`.
  std::string remarks;

private:
  friend class ContextLock;
  void emptyTrash();

  MlirContext context;
  std::recursive_mutex mutex;
  bool isLost = false;
  std::mutex trashMutex;
  std::vector<MlirModule> trash;
};

using ContextPtr = std::shared_ptr<ContextState>;

/// The right to use a context, while it lives. Waits without the GIL.
class ContextLock {
public:
  explicit ContextLock(ContextState &context);
  ~ContextLock() { context.mutex.unlock(); }
  ContextLock(const ContextLock &) = delete;

private:
  ContextState &context;
};

/// Runs `body`, which knows nothing of Python and of no context, without the
/// GIL. A crash throws CompileFailure.
void runRecoverably(const std::function<void()> &body);

/// Runs `body`, which knows nothing of Python, without the GIL, and returns the
/// diagnostics it made. A crash loses the context and throws CompileFailure.
std::vector<Diagnostic> runInContext(ContextState &context,
                                     const std::function<void()> &body);

/// A module, and how often its ops may have been replaced.
struct ModuleState {
  ModuleState(ContextPtr context, MlirModule module)
      : context(std::move(context)), module(module) {}
  ~ModuleState() { context->discard(module); }
  ModuleState(const ModuleState &) = delete;

  ContextPtr context;
  MlirModule module;
  uint64_t generation = 0;
};

using ModulePtr = std::shared_ptr<ModuleState>;

/// Something in a module: an op, a region, a block, a value. Passes replace
/// what is in a module, so that it is of no use after one has run.
template <typename T> struct Node {
  Node(ModulePtr module, T handle)
      : module(std::move(module)), generation(this->module->generation),
        handle(handle) {}

  /// To be called with the lock of the context.
  T get() const {
    if (generation != module->generation)
      throw Stale("passes have run on the module since this was taken from it; "
                  "take it from the module again");
    return handle;
  }
  template <typename U> Node<U> make(U other) const {
    return Node<U>(module, other);
  }

  ModulePtr module;
  uint64_t generation;
  T handle;
};

using Operation = Node<MlirOperation>;
using Region = Node<MlirRegion>;
using Block = Node<MlirBlock>;
using Value = Node<MlirValue>;

/// What `read` says of a node, with its context locked.
template <typename T, typename F> auto read(const Node<T> &node, F read) {
  ContextLock lock(*node.module->context);
  return read(node.get());
}

/// A type, an attribute or a location: immutable, and of a context.
template <typename T> struct Constant {
  ContextPtr context;
  T handle;
};

using Type = Constant<MlirType>;
using Attribute = Constant<MlirAttribute>;
using Location = Constant<MlirLocation>;

/// A view of the attributes of an op: changes go to the op.
struct OperationAttributes {
  Operation op;

  Attribute make(MlirAttribute attribute) const {
    return {op.module->context, attribute};
  }
  std::vector<std::pair<std::string, Attribute>> getItems() const;
  std::optional<Attribute> find(const std::string &name) const;
  Attribute get(const std::string &name) const;
  void set(const std::string &name, const Attribute &attribute) const;
  void remove(const std::string &name) const;
  [[noreturn]] void failToFind(const std::string &name) const;
};

/// What the Python classes Context, Module and PassManager hold.
struct Context {
  ContextPtr state;
};
struct Module {
  ModulePtr state;
};

/// How an op is printed.
struct PrintOptions {
  bool debugInfo = false, generic = false, localScope = false,
       skipRegions = false;
  std::optional<int64_t> elideElements;
};
std::string getOperationName(MlirOperation op);
std::string printOperation(MlirOperation op, const PrintOptions &options);

//===----------------------------------------------------------------------===//
// Parts of the extension
//===----------------------------------------------------------------------===//

void bindCompile(nb::module_ &module);
void bindConstants(nb::module_ &module);
void bindContext(nb::module_ &module);
void bindOperationAttributes(nb::module_ &module);
void bindOperations(nb::module_ &module);
void bindExceptions(nb::module_ &module);
void bindModule(nb::module_ &module);
void bindPasses(nb::module_ &module);

} // namespace moe::python

#endif // MOE_MLIR_PYTHON_COMPILER_SUPPORT_H
