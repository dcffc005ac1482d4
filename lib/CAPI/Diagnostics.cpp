//===- Diagnostics.cpp - C interface to diagnostics as data ---------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir-c/Diagnostics.h"

#include "DiagnosticRecords.h"

#include "moe-mlir/Conversion/SymmToLLVM/SymmToLLVM.h"

#include "mlir/CAPI/IR.h"
#include "mlir/CAPI/Support.h"

using namespace mlir;
using namespace mlir::moe;

//===----------------------------------------------------------------------===//
// Records
//===----------------------------------------------------------------------===//

static MlirDiagnosticSeverity getSeverity(DiagnosticSeverity severity) {
  switch (severity) {
  case DiagnosticSeverity::Error:
    return MlirDiagnosticError;
  case DiagnosticSeverity::Warning:
    return MlirDiagnosticWarning;
  case DiagnosticSeverity::Note:
    return MlirDiagnosticNote;
  case DiagnosticSeverity::Remark:
    return MlirDiagnosticRemark;
  }
  return MlirDiagnosticError;
}

/// The op that a message of `emitOpError` begins with.
static StringRef getOperation(StringRef message) {
  if (!message.consume_front("'"))
    return {};
  auto [name, rest] = message.split('\'');
  return rest.starts_with(" op") ? name : StringRef();
}

DiagnosticRecord moe::makeRecord(const Diagnostic &diagnostic) {
  DiagnosticRecord record;
  record.severity = getSeverity(diagnostic.getSeverity());
  record.message = diagnostic.str();
  if (FileLineColLoc file = findFileLocation(diagnostic.getLocation())) {
    record.file = file.getFilename().str();
    record.line = file.getLine();
    record.column = file.getColumn();
  }
  record.operation = getOperation(record.message).str();
  for (const Diagnostic &note : diagnostic.getNotes())
    record.notes.push_back(makeRecord(note));
  return record;
}

DiagnosticRecord moe::makeErrorRecord(const Twine &message) {
  DiagnosticRecord record;
  record.message = message.str();
  return record;
}

static const DiagnosticRecord &unwrap(MoeDiagnosticRecord record) {
  return *static_cast<const DiagnosticRecord *>(record.ptr);
}

MlirDiagnosticSeverity
moeDiagnosticRecordGetSeverity(MoeDiagnosticRecord record) {
  return unwrap(record).severity;
}

MlirStringRef moeDiagnosticRecordGetMessage(MoeDiagnosticRecord record) {
  return wrap(unwrap(record).message);
}

MlirStringRef moeDiagnosticRecordGetFile(MoeDiagnosticRecord record) {
  return wrap(unwrap(record).file);
}

int64_t moeDiagnosticRecordGetLine(MoeDiagnosticRecord record) {
  return unwrap(record).line;
}

int64_t moeDiagnosticRecordGetColumn(MoeDiagnosticRecord record) {
  return unwrap(record).column;
}

MlirStringRef moeDiagnosticRecordGetOperation(MoeDiagnosticRecord record) {
  return wrap(unwrap(record).operation);
}

intptr_t moeDiagnosticRecordGetNumNotes(MoeDiagnosticRecord record) {
  return unwrap(record).notes.size();
}

MoeDiagnosticRecord moeDiagnosticRecordGetNote(MoeDiagnosticRecord record,
                                               intptr_t pos) {
  return wrap(unwrap(record).notes[pos]);
}

//===----------------------------------------------------------------------===//
// Collectors
//===----------------------------------------------------------------------===//

namespace {
struct Collector {
  explicit Collector(MLIRContext *context)
      : handler(context, [this](Diagnostic &diagnostic) {
          records.push_back(makeRecord(diagnostic));
          return success();
        }) {}

  std::deque<DiagnosticRecord> records;
  ScopedDiagnosticHandler handler;
};
} // namespace

static Collector &unwrap(MoeDiagnosticCollector collector) {
  return *static_cast<Collector *>(collector.ptr);
}

MoeDiagnosticCollector moeDiagnosticCollectorCreate(MlirContext context) {
  return {new Collector(unwrap(context))};
}

void moeDiagnosticCollectorDestroy(MoeDiagnosticCollector collector) {
  delete &unwrap(collector);
}

intptr_t moeDiagnosticCollectorGetNumRecords(MoeDiagnosticCollector collector) {
  return unwrap(collector).records.size();
}

MoeDiagnosticRecord
moeDiagnosticCollectorGetRecord(MoeDiagnosticCollector collector,
                                intptr_t pos) {
  return wrap(unwrap(collector).records[pos]);
}

void moeDiagnosticCollectorClear(MoeDiagnosticCollector collector) {
  unwrap(collector).records.clear();
}

//===----------------------------------------------------------------------===//
// Locations
//===----------------------------------------------------------------------===//

bool moeLocationGetFile(MlirLocation location, MlirStringRef *file,
                        int64_t *line, int64_t *column) {
  FileLineColLoc found = findFileLocation(unwrap(location));
  if (!found)
    return false;
  *file = wrap(found.getFilename().getValue());
  *line = found.getLine();
  *column = found.getColumn();
  return true;
}
