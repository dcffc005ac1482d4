//===- CompileMain.cpp - Main function of moe-compile ---------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/Driver/CompileMain.h"

#include "moe-mlir/Conversion/Passes.h"
#include "moe-mlir/Dialect/MoE/Transforms/Passes.h"
#include "moe-mlir/Dialect/Symm/Transforms/Passes.h"
#include "moe-mlir/Pipelines/Pipelines.h"
#include "moe-mlir/Target/Driver/Options.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Support/FileUtilities.h"
#include "mlir/Support/Timing.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/ToolOutputFile.h"

using namespace mlir;
using namespace mlir::moe;

namespace cl = llvm::cl;

namespace {

/// What the command line says. The linker, which runs in this process, resets
/// all command-line options, so that they are read once and kept here.
struct Settings : CompileSettings {
  std::string input, output;
};

/// The options of the tool. Made when main runs, not before: programs that link
/// this library have their own.
struct Options {
  cl::OptionCategory category{"Options of moe-compile"};
  cl::opt<std::string> input{cl::Positional, cl::desc("<input file>"),
                             cl::init("-"), cl::cat(category)};
  cl::opt<std::string> output{
      "o",
      cl::desc("Output file; '-' is standard output, the default for text"),
      cl::value_desc("file"), cl::init(""), cl::cat(category)};
  cl::opt<Stage> emit{"emit", cl::init(Stage::SharedObject), cl::cat(category)};
  /// All others, in the order of `getOptionInfos`.
  std::vector<std::unique_ptr<cl::opt<std::string>>> texts;

  Options();
  /// Those that were given.
  SmallVector<OptionText> getTexts() const;

private:
  void add(const OptionInfo &info);
};

} // namespace

Options::Options() {
  for (const StageInfo &info : getStageInfos())
    emit.getParser().addLiteralOption(info.name, info.stage, info.description);
  for (const OptionInfo &info : getOptionInfos()) {
    if (info.name == "emit")
      emit.setDescription(info.description);
    else
      add(info);
  }
}

void Options::add(const OptionInfo &info) {
  // The one option whose value follows at once, as compilers have it.
  bool isLevel = info.name == "opt-level";
  auto &option = *texts.emplace_back(std::make_unique<cl::opt<std::string>>(
      isLevel ? StringRef("O") : info.name, cl::desc(info.description),
      cl::cat(category)));
  if (isLevel)
    option.setFormattingFlag(cl::Prefix);
  if (!info.valueName.empty())
    option.setValueStr(info.valueName);
  if (!info.impliedValue.empty())
    option.setValueExpectedFlag(cl::ValueOptional);
  if (info.isHidden)
    option.setHiddenFlag(cl::Hidden);
}

SmallVector<OptionText> Options::getTexts() const {
  SmallVector<OptionText> given;
  auto text = texts.begin();
  for (const OptionInfo &info : getOptionInfos()) {
    if (info.name == "emit") {
      for (const StageInfo &stage : getStageInfos())
        if (stage.stage == emit)
          given.push_back({info.name, stage.name});
      continue;
    }
    const cl::opt<std::string> &option = **text++;
    if (option.getNumOccurrences())
      given.push_back(
          {info.name, option.empty() ? info.impliedValue : StringRef(option)});
  }
  return given;
}

static LogicalResult fail(const Twine &message) {
  llvm::errs() << "moe-compile: error: " << message << '\n';
  return failure();
}

static FailureOr<Settings> readSettings(const Options &options) {
  FailureOr<CompileSettings> read = readOptions(
      options.getTexts(), [](const Twine &message) { (void)fail(message); });
  if (failed(read))
    return failure();
  Settings settings{*read, options.input, options.output};
  Stage stage = settings.compile.stage;
  bool isText = stage == Stage::Symm || stage == Stage::Coll ||
                stage == Stage::MLIR || stage == Stage::LLVM ||
                stage == Stage::PTX;
  if (settings.output.empty() && isText)
    settings.output = "-";
  // A report may be all that is wanted.
  if (settings.output.empty() && settings.report.empty())
    return fail("an output file (-o) is needed for binary output");
  return settings;
}

/// A stream that nobody asks for its error ends the process with one.
static LogicalResult finish(llvm::raw_fd_ostream &os, StringRef name) {
  os.flush();
  if (!os.has_error())
    return success();
  std::error_code error = os.error();
  os.clear_error();
  return fail("cannot write '" + name + "': " + error.message());
}

/// Writes `content` to `path` as a whole or not at all.
static LogicalResult writeOutput(StringRef path, ArrayRef<char> content) {
  StringRef text(content.data(), content.size());
  if (path == "-" || path == "/dev/stdout") {
    llvm::outs() << text;
    return finish(llvm::outs(), "standard output");
  }
  if (path == "/dev/null")
    return success();
  // A new file takes the place of what was there, but not of a link to it, and
  // not of a device or a pipe.
  llvm::sys::fs::file_status status;
  if (!llvm::sys::fs::status(path, status) &&
      !llvm::sys::fs::is_regular_file(status))
    return fail("cannot write '" + path +
                "': it exists and is not a regular file");
  SmallString<128> file;
  if (llvm::sys::fs::real_path(path, file)) {
    if (llvm::sys::fs::is_symlink_file(path))
      return fail("cannot write '" + path + "': it is a link to nowhere");
    file = path;
  }
  if (llvm::Error error =
          llvm::writeToOutput(file, [&](llvm::raw_ostream &os) -> llvm::Error {
            os << text;
            // One of a file, as the path is no "-".
            auto &file = static_cast<llvm::raw_fd_ostream &>(os);
            file.flush();
            std::error_code code = file.error();
            file.clear_error();
            return llvm::errorCodeToError(code);
          }))
    return fail("cannot write '" + path +
                "': " + llvm::toString(std::move(error)));
  return success();
}

static LogicalResult run(Settings &settings) {
  DefaultTimingManager timing;
  applyDefaultTimingManagerCLOptions(timing);
  TimingScope scope = timing.getRootScope();
  settings.compile.configure = [&](PassManager &pm) {
    pm.enableTiming(scope);
    return applyPassManagerCLOptions(pm);
  };

  DialectRegistry registry;
  registerCompilerDialects(registry);
  MLIRContext context(registry, MLIRContext::Threading::DISABLED);
  context.printOpOnDiagnostic(false);
  if (failed(setUpRemarks(context, settings)))
    return fail("cannot set up remarks");

  std::string error;
  std::unique_ptr<llvm::MemoryBuffer> input =
      openInputFile(settings.input, &error);
  if (!input)
    return fail(error);
  auto sources = std::make_shared<llvm::SourceMgr>();
  sources->AddNewSourceBuffer(std::move(input), llvm::SMLoc());
  SourceMgrDiagnosticHandler handler(*sources, &context);
  OwningOpRef<ModuleOp> module = parseSourceFile<ModuleOp>(sources, &context);
  if (!module)
    return failure();

  SmallVector<char, 0> output;
  CompileReport report;
  if (failed(compileModule(*module, settings.compile, output,
                           settings.report.empty() ? nullptr : &report)))
    return failure();
  if (!settings.output.empty() && failed(writeOutput(settings.output, output)))
    return failure();
  // Keep standard output for the result when that goes there.
  llvm::raw_fd_ostream &os =
      settings.output == "-" ? llvm::errs() : llvm::outs();
  if (settings.report == "table")
    report.printTable(os);
  else if (settings.report == "json")
    report.printJSON(os);
  return finish(os, "the report");
}

int moe::compileMain(int argc, char **argv) {
  // Registered options have to live as long as the process.
  static Options options;
  // For options that name passes, such as --mlir-print-ir-after.
  registerMoETransformsPasses();
  symm::registerSymmTransformsPasses();
  registerMoEConversionPasses();
  registerPipelines();
  registerPassManagerCLOptions();
  registerDefaultTimingManagerCLOptions();
  cl::HideUnrelatedOptions(options.category);
  cl::ParseCommandLineOptions(
      argc, argv,
      "Compiles a module of the moe dialect to an artifact for moe-run.\n"
      "--help-hidden lists the options of MLIR and LLVM as well, such as "
      "--mlir-print-ir-after-all.\n");
  FailureOr<Settings> settings = readSettings(options);
  return failed(settings) || failed(run(*settings));
}
