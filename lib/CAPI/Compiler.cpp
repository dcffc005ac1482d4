//===- Compiler.cpp - C interface to the compiler -------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir-c/Compiler.h"

#include "CompileHook.h"
#include "DiagnosticRecords.h"
#include "ParseModule.h"
#include "Recovery.h"

#include "moe-mlir/Target/Driver/Options.h"

#include "mlir/Bytecode/BytecodeWriter.h"
#include "mlir/CAPI/IR.h"
#include "mlir/CAPI/Support.h"
#include "mlir/Pass/PassInstrumentation.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/DenseMap.h"

using namespace mlir;
using namespace mlir::moe;

std::atomic<void (*)(StringRef pass)> moe::compileHook = nullptr;

namespace {

/// What a `MoeCompileResult` points to.
struct CompileResult {
  bool isSuccess = false, isCrash = false;
  SmallVector<char, 0> output;
  std::string ptx, report;
  std::deque<DiagnosticRecord> diagnostics, remarks;
  /// The pass that runs; for a message about a crash.
  std::string pass;

  void fail(const Twine &message) {
    diagnostics.push_back(makeErrorRecord(message));
  }
  /// Runs `body`, which may crash.
  void run(llvm::function_ref<LogicalResult()> body);
};

/// Keeps the name of the pass that runs.
class PassRecorder : public PassInstrumentation {
public:
  explicit PassRecorder(CompileResult &result) : result(result) {}

  void runBeforePass(Pass *pass, Operation *) override {
    // Adaptors, which run others, have none.
    if (pass->getArgument().empty())
      return;
    result.pass = pass->getArgument().str();
    if (void (*hook)(StringRef) = compileHook)
      hook(result.pass);
  }

private:
  CompileResult &result;
};

/// Keeps the diagnostics of a compilation. It knows the ops of the module as it
/// was given, since lowering keeps their locations but not the ops.
class CompileDiagnostics {
public:
  CompileDiagnostics(MLIRContext *context, CompileResult &result)
      : result(result), handler(context, [this](Diagnostic &diagnostic) {
          add(diagnostic);
          return success();
        }) {}

  void noteOps(ModuleOp module) {
    module.walk([&](Operation *op) {
      // Nothing is about an op of several at one place.
      auto [it, isFirst] = ops.try_emplace(op->getLoc(), op->getName());
      if (!isFirst && it->second != op->getName())
        it->second = std::nullopt;
    });
  }

private:
  void add(const Diagnostic &diagnostic) {
    DiagnosticRecord record = makeRecord(diagnostic);
    if (record.operation.empty())
      if (auto name = ops.lookup(diagnostic.getLocation()))
        record.operation = name->getStringRef().str();
    auto &records = record.severity == MlirDiagnosticRemark
                        ? result.remarks
                        : result.diagnostics;
    records.push_back(std::move(record));
  }

  CompileResult &result;
  llvm::DenseMap<Attribute, std::optional<OperationName>> ops;
  ScopedDiagnosticHandler handler;
};

} // namespace

void CompileResult::run(llvm::function_ref<LogicalResult()> body) {
  std::optional<std::string> failure =
      runRecoverably([&] { isSuccess = succeeded(body()); });
  if (failure) {
    isSuccess = false;
    isCrash = true;
    fail(*failure + (pass.empty() ? "" : ", in pass '" + pass + "'"));
  }
  if (!isSuccess) {
    output.clear();
    ptx.clear();
    report.clear();
  }
}

static CompileResult &unwrap(MoeCompileResult result) {
  return *static_cast<CompileResult *>(result.ptr);
}

//===----------------------------------------------------------------------===//
// Compilation
//===----------------------------------------------------------------------===//

/// Reads the options of a caller in C into `settings`.
static LogicalResult readSettings(intptr_t numOptions,
                                  const MoeCompileOption *options,
                                  CompileSettings &settings,
                                  CompileResult &result) {
  SmallVector<OptionText> texts;
  bool hasReport = false, hasRemarks = false;
  for (const MoeCompileOption &option : ArrayRef(options, numOptions)) {
    texts.push_back({unwrap(option.name), unwrap(option.value)});
    hasReport |= texts.back().name == "report";
    hasRemarks |= texts.back().name == "remarks";
  }
  if (!hasReport)
    texts.push_back({"report", "json"});
  if (!hasRemarks)
    texts.push_back({"remarks", ".*"});
  FailureOr<CompileSettings> read =
      readOptions(texts, [&](const Twine &message) { result.fail(message); });
  if (failed(read))
    return failure();
  settings = std::move(*read);
  return success();
}

/// Compiles what is in `source` into `result`.
static LogicalResult compile(StringRef source, StringRef sourceName,
                             CompileSettings &settings, CompileResult &result) {
  DialectRegistry registry;
  registerCompilerDialects(registry);
  MLIRContext context(registry, MLIRContext::Threading::DISABLED);
  context.printOpOnDiagnostic(false);
  CompileDiagnostics diagnostics(&context, result);
  if (failed(setUpRemarks(context, settings))) {
    result.fail("cannot set up remarks");
    return failure();
  }
  settings.compile.configure = [&](PassManager &pm) {
    pm.addInstrumentation(std::make_unique<PassRecorder>(result));
    return success();
  };
  OwningOpRef<ModuleOp> module = parseModule(source, sourceName, &context);
  if (!module)
    return failure();
  diagnostics.noteOps(*module);

  CompileReport report;
  if (failed(compileModule(*module, settings.compile, result.output,
                           settings.report.empty() ? nullptr : &report,
                           &result.ptx)))
    return failure();
  llvm::raw_string_ostream os(result.report);
  if (settings.report == "json")
    report.printJSON(os);
  else if (settings.report == "table")
    report.printTable(os);
  return success();
}

MoeCompileResult moeCompile(MlirStringRef source, MlirStringRef sourceName,
                            intptr_t numOptions,
                            const MoeCompileOption *options) {
  auto *result = new CompileResult;
  result->run([&]() -> LogicalResult {
    CompileSettings settings;
    if (failed(readSettings(numOptions, options, settings, *result)))
      return failure();
    return compile(unwrap(source), unwrap(sourceName), settings, *result);
  });
  return {result};
}

MoeCompileResult moeCompileModule(MlirModule module, intptr_t numOptions,
                                  const MoeCompileOption *options) {
  auto *result = new CompileResult;
  result->run([&]() -> LogicalResult {
    CompileSettings settings;
    if (failed(readSettings(numOptions, options, settings, *result)))
      return failure();
    std::string bytes;
    llvm::raw_string_ostream os(bytes);
    if (failed(writeBytecodeToFile(unwrap(module), os))) {
      result->fail("the module cannot be written as bytecode");
      return failure();
    }
    return compile(bytes, "module", settings, *result);
  });
  return {result};
}

MoeCompileResult moeCompileDescribeOptions(intptr_t numOptions,
                                           const MoeCompileOption *options) {
  auto *result = new CompileResult;
  CompileSettings settings;
  if (succeeded(readSettings(numOptions, options, settings, *result))) {
    std::string text = describeSettings(settings);
    result->output.assign(text.begin(), text.end());
    result->isSuccess = true;
  }
  return {result};
}

void moeCompileOptionsForEach(void (*callback)(MlirStringRef, MlirStringRef,
                                               void *),
                              void *userData) {
  for (const OptionInfo &info : getOptionInfos())
    if (!info.isHidden)
      callback(wrap(info.name), wrap(info.description), userData);
}

//===----------------------------------------------------------------------===//
// Results
//===----------------------------------------------------------------------===//

void moeCompileResultDestroy(MoeCompileResult result) {
  delete &unwrap(result);
}

bool moeCompileResultIsSuccess(MoeCompileResult result) {
  return unwrap(result).isSuccess;
}

bool moeCompileResultIsCrash(MoeCompileResult result) {
  return unwrap(result).isCrash;
}

MlirStringRef moeCompileResultGetOutput(MoeCompileResult result) {
  const auto &output = unwrap(result).output;
  return wrap(StringRef(output.data(), output.size()));
}

MlirStringRef moeCompileResultGetPTX(MoeCompileResult result) {
  return wrap(unwrap(result).ptx);
}

MlirStringRef moeCompileResultGetReport(MoeCompileResult result) {
  return wrap(unwrap(result).report);
}

intptr_t moeCompileResultGetNumDiagnostics(MoeCompileResult result) {
  return unwrap(result).diagnostics.size();
}

MoeDiagnosticRecord moeCompileResultGetDiagnostic(MoeCompileResult result,
                                                  intptr_t pos) {
  return wrap(unwrap(result).diagnostics[pos]);
}

intptr_t moeCompileResultGetNumRemarks(MoeCompileResult result) {
  return unwrap(result).remarks.size();
}

MoeDiagnosticRecord moeCompileResultGetRemark(MoeCompileResult result,
                                              intptr_t pos) {
  return wrap(unwrap(result).remarks[pos]);
}
