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
#include "moe-mlir/Target/Driver/Compiler.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Support/FileUtilities.h"
#include "mlir/Support/Timing.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Regex.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/ToolOutputFile.h"

using namespace mlir;
using namespace mlir::moe;

namespace cl = llvm::cl;

namespace {

/// What the command line says. The linker, which runs in this process, resets
/// all command-line options, so that they are read once and kept here.
struct Settings {
  std::string input, output, report, remarks;
  CompileOptions compile;
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
  cl::opt<std::string> target{
      "target",
      cl::desc("What to compile for: host (the default), or cuda with an "
               "optional chip (cuda:sm_80; the default is sm_90)"),
      cl::init("host"), cl::cat(category)};
  cl::opt<unsigned> ptxVersion{
      "ptx-version",
      cl::desc(
          "Version of PTX times ten, which the driver must know (default: 80, "
          "or the first that knows the chip)"),
      cl::init(0), cl::cat(category)};
  cl::opt<int64_t> blocks{
      "blocks",
      cl::desc("Blocks per kernel, at most (target cuda; default: chosen)"),
      cl::init(0), cl::cat(category)};
  cl::opt<int64_t> threads{
      "threads", cl::desc("Threads per block (target cuda; default: chosen)"),
      cl::init(0), cl::cat(category)};
  cl::opt<std::string> transfer{
      "transfer",
      cl::desc("How kernels move rows: auto (the default), stores or bulk "
               "(target cuda)"),
      cl::init("auto"), cl::cat(category)};
  cl::opt<int64_t> stages{
      "stages",
      cl::desc(
          "Rows in flight with bulk copies (target cuda; default: chosen)"),
      cl::init(0), cl::cat(category)};
  cl::opt<int64_t> team{
      "team",
      cl::desc("Subgroups of 32 threads that share the row of one token with "
               "stores; alltoallv: pieces of a row (target cuda; default: "
               "chosen)"),
      cl::init(0), cl::cat(category)};
  cl::opt<KernelPlace> kernels{
      "kernels",
      cl::desc("Where kernels run (for tests)"),
      cl::init(KernelPlace::Device),
      cl::Hidden,
      cl::values(clEnumValN(KernelPlace::Device, "device",
                            "on the target's device, where it has one"),
                 clEnumValN(KernelPlace::Fibers, "fibers",
                            "on fibers of a CPU (target host; needs "
                            "libmoe_fibers.so when it runs)")),
      cl::cat(category)};
  cl::opt<std::string> gpuFormat{
      "gpu-format",
      cl::desc("Kernels in the artifact: ptx (the default), or cubin, which "
               "needs ptxas of the CUDA toolkit (target cuda)"),
      cl::init("ptx"), cl::cat(category)};
  cl::opt<std::string> ptxas{
      "ptxas", cl::desc("Path of ptxas, instead of that in PATH or CUDA_HOME"),
      cl::value_desc("file"), cl::init(""), cl::cat(category)};
  cl::opt<Stage> emit{
      "emit", cl::desc("What to put out"), cl::init(Stage::SharedObject),
      cl::values(
          clEnumValN(Stage::Symm, "symm",
                     "the one-sided protocol: symm, scf, memref, arith"),
          clEnumValN(Stage::MLIR, "mlir", "the LLVM dialect of MLIR"),
          clEnumValN(Stage::LLVM, "llvm", "optimized LLVM IR of host code"),
          clEnumValN(Stage::PTX, "ptx", "the kernels (target cuda)"),
          clEnumValN(Stage::Cubin, "cubin",
                     "the kernels, assembled (target cuda; needs ptxas)"),
          clEnumValN(Stage::Object, "obj", "an object file"),
          clEnumValN(Stage::SharedObject, "so", "the artifact (the default)")),
      cl::cat(category)};
  cl::opt<std::string> cpu{
      "cpu",
      cl::desc("x86-64 level to compile for: x86-64, x86-64-v2, x86-64-v3 (the "
               "default), x86-64-v4 or native, the highest of this machine"),
      cl::init("x86-64-v3"), cl::cat(category)};
  cl::opt<unsigned> optLevel{"O", cl::Prefix,
                             cl::desc("Optimization level: -O0 to -O3 (the "
                                      "default)"),
                             cl::init(3), cl::cat(category)};
  cl::opt<std::string> combineAlgorithm{
      "combine-algorithm",
      cl::desc("How combines move rows: auto (the default), pull or push"),
      cl::init("auto"), cl::cat(category)};
  cl::opt<std::string> report{
      "report",
      cl::desc(
          "Print rows, symmetric bytes, an upper bound of the bytes moved "
          "between ranks, and the kernel of each collective op; with ptxas "
          "also the registers of kernels: table (the default) or json"),
      cl::value_desc("format"),
      cl::ValueOptional,
      cl::init(""),
      cl::cat(category)};
  cl::opt<std::string> remarks{
      "remarks",
      cl::desc("Print the remarks of the compiler's passes whose category "
               "matches a regular expression (default: all)"),
      cl::value_desc("regex"),
      cl::ValueOptional,
      cl::init(""),
      cl::cat(category)};
};

} // namespace

static LogicalResult fail(const Twine &message) {
  llvm::errs() << "moe-compile: error: " << message << '\n';
  return failure();
}

/// The options that only kernels have.
static LogicalResult readKernelOptions(const Options &options,
                                       CompileOptions &compile) {
  compile.kernelPlace = options.kernels;
  bool usesFibers = options.kernels == KernelPlace::Fibers;
  if (usesFibers && compile.target != TargetKind::Host)
    return fail("--kernels=fibers is for target host ('" + options.target +
                "' given)");
  KernelOptions kernel = {options.blocks, options.threads, options.transfer,
                          options.stages, options.team};
  if (compile.target != TargetKind::CUDA) {
    const cl::Option *ofKernels[] = {&options.blocks, &options.threads,
                                     &options.transfer, &options.stages,
                                     &options.team};
    const cl::Option *ofDevices[] = {&options.gpuFormat, &options.ptxas,
                                     &options.ptxVersion};
    auto all = llvm::to_vector(ArrayRef(ofDevices));
    if (usesFibers)
      compile.kernel = kernel;
    else
      llvm::append_range(all, ofKernels);
    for (const cl::Option *option : all)
      if (option->getNumOccurrences())
        return fail("--" + option->ArgStr + " is for target cuda ('" +
                    options.target + "' given)");
    if (options.emit == Stage::PTX || options.emit == Stage::Cubin)
      return fail("target '" + options.target + "' has no " +
                  (options.emit == Stage::PTX ? "PTX" : "cubin"));
    return success();
  }
  GpuTargetOptions &gpu = compile.gpu;
  gpu.optLevel = options.optLevel;
  gpu.format = options.gpuFormat;
  gpu.ptxas = options.ptxas;
  if (!llvm::is_contained({"ptx", "cubin"}, gpu.format))
    return fail("unknown format of kernels '" + gpu.format +
                "'; expected ptx or cubin");
  if (options.emit == Stage::PTX)
    gpu.format = "ptx";
  if (options.emit == Stage::Cubin)
    gpu.format = "cubin";
  gpu.ptxVersion = options.ptxVersion.getNumOccurrences()
                       ? unsigned(options.ptxVersion)
                       : getDefaultPtxVersion(gpu.chip);
  if (std::optional<std::string> error =
          checkGpuTarget(gpu.chip, gpu.ptxVersion))
    return fail(*error);
  std::string lookedFor;
  if (gpu.format == "cubin" && !findPtxas(gpu.ptxas, lookedFor))
    return fail(
        "a cubin needs ptxas of the CUDA toolkit, which was not found (" +
        lookedFor + ")");
  compile.kernel = kernel;
  return success();
}

/// Checks the options that cl cannot check.
static FailureOr<Settings> readOptions(const Options &options) {
  Settings settings;
  auto [target, chip] = StringRef(options.target).split(':');
  if (target == "cuda")
    settings.compile.target = TargetKind::CUDA;
  else if (options.target != "host")
    return fail("unknown target '" + options.target +
                "'; this build of moe-compile has: host, cuda");
  if (target.size() != options.target.size())
    settings.compile.gpu.chip = chip.str();
  if (failed(readKernelOptions(options, settings.compile)))
    return failure();
  StringRef cpu = options.cpu;
  if (cpu == "native")
    cpu = getNativeCpuLevel();
  if (!llvm::is_contained(getHostCpuLevels(), cpu))
    return fail("unknown CPU '" + cpu + "'; expected native or one of: " +
                llvm::join(getHostCpuLevels(), ", "));
  if (options.optLevel > 3)
    return fail("unknown optimization level " + Twine(options.optLevel) +
                "; expected 0 to 3");
  if (!llvm::is_contained({"auto", "pull", "push"}, options.combineAlgorithm))
    return fail("unknown combine algorithm '" + options.combineAlgorithm +
                "'; expected auto, pull or push");

  settings.input = options.input;
  settings.output = options.output;
  if (options.report.getNumOccurrences())
    settings.report =
        options.report.empty() ? "table" : options.report.getValue();
  if (!llvm::is_contained({"", "table", "json"}, settings.report))
    return fail("unknown report format '" + options.report +
                "'; expected table or json");
  if (options.remarks.getNumOccurrences())
    settings.remarks =
        options.remarks.empty() ? ".*" : options.remarks.getValue();
  std::string wrong;
  if (!settings.remarks.empty() &&
      !llvm::Regex(settings.remarks).isValid(wrong))
    return fail("--remarks expects a regular expression ('" + options.remarks +
                "': " + wrong + ")");
  bool isText = options.emit == Stage::Symm || options.emit == Stage::MLIR ||
                options.emit == Stage::LLVM || options.emit == Stage::PTX;
  if (settings.output.empty() && isText)
    settings.output = "-";
  // A report may be all that is wanted.
  if (settings.output.empty() && settings.report.empty())
    return fail("an output file (-o) is needed for binary output");
  settings.compile.stage = options.emit;
  settings.compile.host = {cpu.str(), options.optLevel};
  settings.compile.combineAlgorithm = options.combineAlgorithm;
  return settings;
}

static LogicalResult setUpRemarks(MLIRContext &context, StringRef filter) {
  if (filter.empty())
    return success();
  remark::RemarkCategories categories;
  categories.passed = categories.missed = categories.analysis =
      categories.failed = filter.str();
  return remark::enableOptimizationRemarks(
      context, /*streamer=*/nullptr,
      std::make_unique<remark::RemarkEmittingPolicyAll>(), categories,
      /*printAsEmitRemarks=*/true);
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
  if (failed(setUpRemarks(context, settings.remarks)))
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
  FailureOr<Settings> settings = readOptions(options);
  return failed(settings) || failed(run(*settings));
}
