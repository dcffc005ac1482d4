//===- DiagnosticRecords.h - Diagnostics as plain data ----------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_CAPI_DIAGNOSTICRECORDS_H
#define MOE_MLIR_LIB_CAPI_DIAGNOSTICRECORDS_H

#include "moe-mlir-c/Diagnostics.h"

#include "mlir/IR/Diagnostics.h"
#include <deque>
#include <string>

namespace mlir::moe {

/// A diagnostic that needs no context.
struct DiagnosticRecord {
  MlirDiagnosticSeverity severity = MlirDiagnosticError;
  std::string message;
  std::string file;
  int64_t line = 0, column = 0;
  std::string operation;
  /// A deque, as that of a type that is not complete yet may be a member.
  std::deque<DiagnosticRecord> notes;
};

DiagnosticRecord makeRecord(const Diagnostic &diagnostic);

/// An error without a place.
DiagnosticRecord makeErrorRecord(const Twine &message);

inline MoeDiagnosticRecord wrap(const DiagnosticRecord &record) {
  return {&record};
}

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_CAPI_DIAGNOSTICRECORDS_H
