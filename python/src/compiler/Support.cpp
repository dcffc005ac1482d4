//===- Support.cpp - What the bindings share ------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Support.h"

#include "moe-mlir-c/IR.h"
#include "moe-mlir-c/Recovery.h"

using namespace moe::python;

void moe::python::appendText(MlirStringRef text, void *data) {
  static_cast<std::string *>(data)->append(text.data, text.length);
}

nb::object moe::python::importFrom(const char *module, const char *name) {
  return nb::module_::import_(module).attr(name);
}

//===----------------------------------------------------------------------===//
// Diagnostics
//===----------------------------------------------------------------------===//

Diagnostic moe::python::makeDiagnostic(MoeDiagnosticRecord record) {
  Diagnostic diagnostic;
  diagnostic.severity = moeDiagnosticRecordGetSeverity(record);
  diagnostic.message = toString(moeDiagnosticRecordGetMessage(record));
  diagnostic.file = toString(moeDiagnosticRecordGetFile(record));
  diagnostic.line = moeDiagnosticRecordGetLine(record);
  diagnostic.column = moeDiagnosticRecordGetColumn(record);
  diagnostic.op = toString(moeDiagnosticRecordGetOperation(record));
  for (intptr_t i = 0, e = moeDiagnosticRecordGetNumNotes(record); i < e; ++i)
    diagnostic.notes.push_back(
        makeDiagnostic(moeDiagnosticRecordGetNote(record, i)));
  return diagnostic;
}

Diagnostic moe::python::makeError(std::string message) {
  Diagnostic diagnostic;
  diagnostic.message = std::move(message);
  return diagnostic;
}

static const char *getName(MlirDiagnosticSeverity severity) {
  switch (severity) {
  case MlirDiagnosticError:
    return "error";
  case MlirDiagnosticWarning:
    return "warning";
  case MlirDiagnosticNote:
    return "note";
  case MlirDiagnosticRemark:
    return "remark";
  }
  return "error";
}

static nb::object toPython(const Diagnostic &diagnostic, nb::handle record,
                           nb::handle place) {
  nb::object location = nb::none(), op = nb::none();
  if (!diagnostic.file.empty())
    location =
        place(decode(diagnostic.file), diagnostic.line, diagnostic.column);
  if (!diagnostic.op.empty())
    op = decode(diagnostic.op);
  nb::list notes;
  for (const Diagnostic &note : diagnostic.notes)
    notes.append(toPython(note, record, place));
  return record(getName(diagnostic.severity), decode(diagnostic.message),
                location, op, nb::tuple(notes));
}

nb::object moe::python::toPython(const std::vector<Diagnostic> &diagnostics) {
  nb::object record = importFrom("moe_mlir.compiler.diagnostics", "Diagnostic"),
             place =
                 importFrom("moe_mlir.compiler.diagnostics", "SourceLocation");
  nb::list list;
  for (const Diagnostic &diagnostic : diagnostics)
    list.append(::toPython(diagnostic, record, place));
  return std::move(list);
}

//===----------------------------------------------------------------------===//
// Contexts
//===----------------------------------------------------------------------===//

ContextState::ContextState(bool allowUnregistered)
    : context(moeContextCreate()) {
  mlirContextSetAllowUnregisteredDialects(context, allowUnregistered);
}

ContextState::~ContextState() {
  if (isLost)
    return;
  emptyTrash();
  mlirContextDestroy(context);
}

void ContextState::emptyTrash() {
  std::vector<MlirModule> modules;
  {
    std::lock_guard<std::mutex> lock(trashMutex);
    modules.swap(trash);
  }
  for (MlirModule module : modules)
    mlirModuleDestroy(module);
}

void ContextState::discard(MlirModule module) {
  {
    std::lock_guard<std::mutex> lock(trashMutex);
    trash.push_back(module);
  }
  // This may be the garbage collector, which must not wait.
  std::unique_lock<std::recursive_mutex> lock(mutex, std::try_to_lock);
  if (lock && !isLost)
    emptyTrash();
}

ContextLock::ContextLock(ContextState &context) : context(context) {
  if (!context.mutex.try_lock()) {
    moe::py::WithoutGil released;
    context.mutex.lock();
  }
  if (!context.isLost)
    return;
  context.mutex.unlock();
  throw Stale("a crash of the compiler has left the context unusable; make a "
              "new one and parse the module again");
}

/// Returns what went wrong, or an empty text.
static std::string tryRun(const std::function<void()> &body) {
  std::string reason;
  moe::py::WithoutGil released;
  (void)moeRunRecoverably(
      [](void *data) { (*static_cast<const std::function<void()> *>(data))(); },
      const_cast<std::function<void()> *>(&body), appendText, &reason);
  return reason;
}

void moe::python::runRecoverably(const std::function<void()> &body) {
  std::string reason = tryRun(body);
  if (!reason.empty())
    throw CompileFailure({makeError(reason)}, CompileFailure::Crash);
}

std::vector<Diagnostic>
moe::python::runInContext(ContextState &context,
                          const std::function<void()> &body) {
  ContextLock lock(context);
  MoeDiagnosticCollector collector =
      moeDiagnosticCollectorCreate(context.get());
  std::string reason = tryRun(body);
  std::vector<Diagnostic> diagnostics;
  intptr_t numRecords = moeDiagnosticCollectorGetNumRecords(collector);
  for (intptr_t i = 0; i < numRecords; ++i)
    diagnostics.push_back(
        makeDiagnostic(moeDiagnosticCollectorGetRecord(collector, i)));
  if (!reason.empty()) {
    context.markLost();
    diagnostics.push_back(makeError(reason));
    throw CompileFailure(std::move(diagnostics), CompileFailure::Crash);
  }
  moeDiagnosticCollectorDestroy(collector);
  return diagnostics;
}

//===----------------------------------------------------------------------===//
// Exceptions
//===----------------------------------------------------------------------===//

static const char *getClassName(CompileFailure::Kind kind) {
  switch (kind) {
  case CompileFailure::Module:
    return "CompileError";
  case CompileFailure::Option:
    return "OptionError";
  case CompileFailure::Crash:
    return "CompilerCrash";
  }
  return "CompileError";
}

static void translate(const std::exception_ptr &pointer, void *) {
  constexpr const char *home = "moe_mlir.compiler.diagnostics";
  try {
    std::rethrow_exception(pointer);
  } catch (const CompileFailure &failure) {
    nb::object type = importFrom(home, getClassName(failure.kind));
    nb::object error = type(toPython(failure.diagnostics));
    PyErr_SetObject(type.ptr(), error.ptr());
  } catch (const Stale &stale) {
    PyErr_SetString(importFrom(home, "StaleError").ptr(), stale.what());
  }
}

void moe::python::bindExceptions(nb::module_ &) {
  nb::register_exception_translator(translate, nullptr);
}
