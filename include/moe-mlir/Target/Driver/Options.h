//===- Options.h - Options of a compilation as text -------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The command line of moe-compile, the C interface and the Python package name
/// their options alike. All read them here, so that all refuse the same values
/// with the same words.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_TARGET_DRIVER_OPTIONS_H
#define MOE_MLIR_TARGET_DRIVER_OPTIONS_H

#include "moe-mlir/Target/Driver/Compiler.h"

namespace mlir::moe {

/// An option as the caller wrote it.
struct OptionText {
  StringRef name, value;
};

/// What is known of an option before it has a value.
struct OptionInfo {
  StringRef name;
  StringRef description;
  /// What `--help` calls the value; empty for the usual name.
  StringRef valueName = {};
  /// The value when none is written after the name; empty when one has to be.
  StringRef impliedValue = {};
  /// One that is for tests.
  bool isHidden = false;
};

/// A stage and what it is called in the option `emit`.
struct StageInfo {
  Stage stage;
  StringRef name, description;
};

/// What a caller can ask for besides the output.
struct CompileSettings {
  CompileOptions compile;
  /// "table", "json", or empty for none.
  std::string report;
  /// A regular expression for the categories of remarks; empty for none.
  std::string remarks;
};

ArrayRef<OptionInfo> getOptionInfos();
ArrayRef<StageInfo> getStageInfos();

/// Reads and checks options, in any order, each at most once. The first that is
/// wrong is described to `emitError`, by a sentence without a full stop.
FailureOr<CompileSettings>
readOptions(ArrayRef<OptionText> options,
            llvm::function_ref<void(const Twine &)> emitError);

/// Everything in `settings` that the output depends on, defaults and what was
/// found on this machine included: equal texts mean equal outputs of one module
/// and one build of the compiler.
std::string describeSettings(const CompileSettings &settings);

/// Makes `context` report the remarks that `settings` asks for as diagnostics.
LogicalResult setUpRemarks(MLIRContext &context,
                           const CompileSettings &settings);

} // namespace mlir::moe

#endif // MOE_MLIR_TARGET_DRIVER_OPTIONS_H
