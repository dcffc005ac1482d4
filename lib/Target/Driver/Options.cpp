//===- Options.cpp - Options of a compilation as text ---------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/Driver/Options.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/Regex.h"

using namespace mlir;
using namespace mlir::moe;

namespace {

/// The options of one compilation, and what becomes of them.
class OptionReader {
public:
  OptionReader(ArrayRef<OptionText> options,
               llvm::function_ref<void(const Twine &)> emitError)
      : options(options), emitError(emitError) {}

  FailureOr<CompileSettings> read();

private:
  LogicalResult fail(const Twine &message) {
    emitError(message);
    return failure();
  }

  std::optional<StringRef> find(StringRef name) const;
  StringRef get(StringRef name, StringRef otherwise) const {
    return find(name).value_or(otherwise);
  }
  template <typename T> LogicalResult readInteger(StringRef name, T &value);
  LogicalResult readChoice(StringRef name, StringRef what,
                           ArrayRef<StringRef> choices, std::string &value);

  LogicalResult checkNames();
  LogicalResult readStage();
  LogicalResult readTarget();
  LogicalResult readTransport();
  LogicalResult readKernelOptions();
  LogicalResult refuseKernelOptions();
  LogicalResult readHostOptions();
  LogicalResult readOutputs();

  ArrayRef<OptionText> options;
  llvm::function_ref<void(const Twine &)> emitError;
  CompileSettings settings;
  StringRef target;
};

} // namespace

std::optional<StringRef> OptionReader::find(StringRef name) const {
  for (const OptionText &option : options)
    if (option.name == name)
      return option.value;
  return std::nullopt;
}

template <typename T>
LogicalResult OptionReader::readInteger(StringRef name, T &value) {
  std::optional<StringRef> text = find(name);
  if (text && text->trim().getAsInteger(10, value))
    return fail("option '" + name + "' expects an integer, got '" + *text +
                "'");
  return success();
}

LogicalResult OptionReader::readChoice(StringRef name, StringRef what,
                                       ArrayRef<StringRef> choices,
                                       std::string &value) {
  value = get(name, choices.front());
  if (llvm::is_contained(choices, value))
    return success();
  std::string others = llvm::join(choices.drop_back(), ", ");
  return fail("unknown " + what + " '" + value + "'; expected " + others +
              " or " + choices.back());
}

LogicalResult OptionReader::checkNames() {
  llvm::StringSet<> seen;
  for (const OptionText &option : options) {
    bool isKnown = llvm::any_of(getOptionInfos(), [&](const OptionInfo &info) {
      return info.name == option.name;
    });
    if (!isKnown) {
      SmallVector<StringRef> names;
      for (const OptionInfo &info : getOptionInfos())
        if (!info.isHidden)
          names.push_back(info.name);
      return fail("unknown option '" + option.name +
                  "'; expected one of: " + llvm::join(names, ", "));
    }
    if (!seen.insert(option.name).second)
      return fail("option '" + option.name + "' is given twice");
    // Values go into C strings on their way, such as paths.
    if (option.value.contains('\0'))
      return fail("option '" + option.name +
                  "' expects text without zero bytes");
  }
  return success();
}

LogicalResult OptionReader::readStage() {
  StringRef name = get("emit", "so");
  SmallVector<StringRef> names;
  for (const StageInfo &info : getStageInfos()) {
    names.push_back(info.name);
    if (info.name == name) {
      settings.compile.stage = info.stage;
      return success();
    }
  }
  return fail("unknown stage '" + name +
              "'; expected one of: " + llvm::join(names, ", "));
}

LogicalResult OptionReader::readTarget() {
  target = get("target", "host");
  auto [kind, chip] = target.split(':');
  if (kind == "cuda" || kind == "nccl")
    settings.compile.target = TargetKind::CUDA;
  else if (target != "host")
    return fail("unknown target '" + target +
                "'; expected host, cuda, nccl, cuda:<chip> or nccl:<chip>");
  if (kind.size() != target.size())
    settings.compile.gpu.chip = chip.str();
  return success();
}

LogicalResult OptionReader::readTransport() {
  CompileOptions &compile = settings.compile;
  if (failed(readChoice("transport", "transport", {"direct", "messages"},
                        compile.transport)))
    return failure();
  // The name for GPUs that exchange messages.
  if (target.split(':').first == "nccl") {
    if (find("transport") && compile.transport == "direct")
      return fail("target '" + target + "' has no transport 'direct'");
    compile.transport = "messages";
  }
  bool hasMessages = compile.transport == "messages";
  for (StringRef name : {"schedule", "pair-capacity"})
    if (!hasMessages && find(name))
      return fail("option '" + name + "' is for transport messages ('" +
                  compile.transport + "' given)");
  if (failed(readChoice("schedule", "schedule", {"auto", "exact", "padded"},
                        compile.schedule)) ||
      failed(readInteger("pair-capacity", compile.pairCapacity)))
    return failure();
  if (compile.pairCapacity < 0)
    return fail("option 'pair-capacity' expects a number of rows, got '" +
                Twine(compile.pairCapacity) + "'");
  // What does not have room for all rows is to be asked for.
  if (compile.schedule != "padded" && compile.pairCapacity != 0)
    return fail("option 'pair-capacity' is for schedule padded ('" +
                compile.schedule + "' given)");
  // The protocol is in one dialect or the other.
  if (compile.stage == (hasMessages ? Stage::Symm : Stage::Coll))
    return fail("transport '" + compile.transport + "' has no stage '" +
                (hasMessages ? "symm" : "coll") + "'; expected '" +
                (hasMessages ? "coll" : "symm") + "'");
  return success();
}

/// The target has no kernels: none of their options may be given.
LogicalResult OptionReader::refuseKernelOptions() {
  static constexpr StringRef ofDevices[] = {"gpu-format", "ptxas",
                                            "ptx-version"},
                             ofKernels[] = {"blocks", "threads", "transfer",
                                            "stages", "team"};
  auto names = llvm::to_vector(ArrayRef(ofDevices));
  if (settings.compile.kernelPlace == KernelPlace::Device)
    llvm::append_range(names, ofKernels);
  for (StringRef name : names)
    if (find(name))
      return fail("option '" + name + "' is for target cuda ('" + target +
                  "' given)");
  Stage stage = settings.compile.stage;
  if (stage == Stage::PTX || stage == Stage::Cubin)
    return fail("target '" + target + "' has no " +
                (stage == Stage::PTX ? "PTX" : "cubin"));
  return success();
}

LogicalResult OptionReader::readKernelOptions() {
  CompileOptions &compile = settings.compile;
  std::string place;
  if (failed(readChoice("kernels", "place of kernels", {"device", "fibers"},
                        place)))
    return failure();
  if (place == "fibers") {
    if (compile.target != TargetKind::Host)
      return fail("option 'kernels' (fibers) is for target host ('" + target +
                  "' given)");
    compile.kernelPlace = KernelPlace::Fibers;
  }
  bool isHost = compile.target == TargetKind::Host;
  if (isHost && failed(refuseKernelOptions()))
    return failure();

  KernelOptions &kernel = compile.kernel;
  kernel.transfer = get("transfer", kernel.transfer);
  if (failed(readInteger("blocks", kernel.blocks)) ||
      failed(readInteger("threads", kernel.threads)) ||
      failed(readInteger("stages", kernel.stages)) ||
      failed(readInteger("team", kernel.team)))
    return failure();
  if (isHost)
    return success();

  GpuTargetOptions &gpu = compile.gpu;
  gpu.ptxas = get("ptxas", "");
  if (failed(readChoice("gpu-format", "format of kernels", {"ptx", "cubin"},
                        gpu.format)))
    return failure();
  if (compile.stage == Stage::PTX)
    gpu.format = "ptx";
  if (compile.stage == Stage::Cubin)
    gpu.format = "cubin";
  gpu.ptxVersion = getDefaultPtxVersion(gpu.chip);
  if (failed(readInteger("ptx-version", gpu.ptxVersion)))
    return failure();
  if (std::optional<std::string> error =
          checkGpuTarget(gpu.chip, gpu.ptxVersion))
    return fail(*error);
  std::string lookedFor;
  if (gpu.format == "cubin" && !findPtxas(gpu.ptxas, lookedFor))
    return fail(
        "a cubin needs ptxas of the CUDA toolkit, which was not found (" +
        lookedFor + ")");
  return success();
}

LogicalResult OptionReader::readHostOptions() {
  HostTargetOptions &host = settings.compile.host;
  StringRef cpu = get("cpu", host.cpu);
  if (cpu == "native")
    cpu = getNativeCpuLevel();
  if (!llvm::is_contained(getHostCpuLevels(), cpu))
    return fail("unknown CPU '" + cpu + "'; expected native or one of: " +
                llvm::join(getHostCpuLevels(), ", "));
  host.cpu = cpu.str();
  if (std::optional<StringRef> level = find("opt-level")) {
    if (level->trim().getAsInteger(10, host.optLevel) || host.optLevel > 3)
      return fail("unknown optimization level " + *level + "; expected 0 to 3");
  }
  settings.compile.gpu.optLevel = host.optLevel;
  return success();
}

LogicalResult OptionReader::readOutputs() {
  if (failed(readChoice("combine-algorithm", "combine algorithm",
                        {"auto", "pull", "push"},
                        settings.compile.combineAlgorithm)) ||
      failed(readChoice("dispatch-algorithm", "dispatch algorithm",
                        {"auto", "direct", "expand"},
                        settings.compile.dispatchAlgorithm)))
    return failure();
  if (std::optional<StringRef> format = find("report")) {
    if (!llvm::is_contained({"table", "json", "none"}, *format))
      return fail("unknown report format '" + *format +
                  "'; expected table, json or none");
    if (*format != "none")
      settings.report = format->str();
  }
  settings.remarks = get("remarks", "");
  std::string wrong;
  if (!settings.remarks.empty() &&
      !llvm::Regex(settings.remarks).isValid(wrong))
    return fail("option 'remarks' expects a regular expression ('" +
                settings.remarks + "': " + wrong + ")");
  return success();
}

FailureOr<CompileSettings> OptionReader::read() {
  if (failed(checkNames()) || failed(readStage()) || failed(readTarget()) ||
      failed(readKernelOptions()) || failed(readTransport()) ||
      failed(readHostOptions()) || failed(readOutputs()))
    return failure();
  return settings;
}

FailureOr<CompileSettings>
moe::readOptions(ArrayRef<OptionText> options,
                 llvm::function_ref<void(const Twine &)> emitError) {
  return OptionReader(options, emitError).read();
}
