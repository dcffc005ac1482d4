//===- Report.cpp - Memory and traffic of a module ------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/Driver/Report.h"

#include "moe-mlir/Conversion/SymmToLLVM/SymmToLLVM.h"
#include "moe-mlir/Dialect/Coll/IR/Coll.h"
#include "moe-mlir/Dialect/MoE/IR/MoE.h"
#include "moe-mlir/Dialect/Symm/IR/Symm.h"
#include "moe-mlir/Target/Transforms/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Interfaces/CallInterfaces.h"
#include "mlir/Interfaces/DataLayoutInterfaces.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include <map>

using namespace mlir;
using namespace mlir::moe;

//===----------------------------------------------------------------------===//
// Collection
//===----------------------------------------------------------------------===//

/// Bytes of a row of `value`: everything below the leading dimension.
static int64_t getRowBytes(Value value) {
  auto type = cast<ShapedType>(value.getType());
  return ShapedType::getNumElements(type.getShape().drop_front()) *
         llvm::divideCeil(type.getElementTypeBitWidth(), 8);
}

/// How many ranks, or experts of other ranks, a token has rows on at most.
static int64_t getRemoteRowsPerToken(int64_t ranks, int64_t experts,
                                     int64_t topK, bool expertMajor) {
  if (ranks == 1)
    return 0;
  int64_t remote = expertMajor ? experts - experts / ranks : ranks - 1;
  return topK == 0 ? remote : std::min(topK, remote);
}

/// Bytes of rows that cross once to each rank, of what goes with all rows of a
/// token, and of the lists of its places, with a word for each rank.
static int64_t getExpandedBytes(DispatchOp op, int64_t ranks,
                                int64_t rowBytes) {
  int64_t topK = op.getTopK();
  int64_t places = getRemoteRowsPerToken(ranks, op.getNumExperts(), topK,
                                         /*expertMajor=*/true);
  int64_t rows = std::min(places, ranks - 1);
  int64_t dataBytes = getRowBytes(op.getX());
  if (Value scales = op.getScales())
    dataBytes += getRowBytes(scales);
  int64_t listBytes = places * sizeof(int32_t) + (ranks - 1) * sizeof(int64_t);
  return rows * dataBytes + places * (rowBytes - dataBytes) +
         op.getKernelAttr().getTeam() * listBytes;
}

static void describe(DispatchOp op, int64_t ranks, bool hasMessages,
                     CollectiveReport &report) {
  using Output = DispatchOp::Output;
  for (Output kind : {Output::RecvX, Output::RecvScales, Output::RecvTopkIdx,
                      Output::RecvTopkWeights, Output::RecvSrcIdx})
    if (Value buffer = op.getOutput(kind))
      report.rowBytes += getRowBytes(buffer);
  // The number of the run.
  if (op.isReuse() && op.hasZeroPadding() && !hasMessages)
    report.rowBytes += sizeof(int64_t);
  report.rows = op.getNumRows(ranks);
  // dispatch_s13: kernels that share memory do so.
  if (op.isExpand() && op.getKernelAttr() && !op.getScheduleAttr()) {
    report.wireBytes =
        op.getTokenBound() * getExpandedBytes(op, ranks, report.rowBytes);
    return;
  }
  report.wireBytes = report.rowBytes * op.getTokenBound() *
                     getRemoteRowsPerToken(ranks, op.getNumExperts(),
                                           op.getTopK(), op.isExpertMajor());
}

/// A combine by expert that pushes: the partial sum of each other rank that has
/// rows, and what each is asked for, a word per row that it may have.
static int64_t getBytesOfPartials(CombineOp op, int64_t ranks) {
  if (ranks == 1)
    return 0;
  auto y = cast<ShapedType>(op.getY().getType());
  int64_t bytes = getRowBytes(op.getY()), slots = op.getNumSlots();
  bool isRow = slots == 1 && !op.getWeights();
  if (isa<FloatType>(y.getElementType()) && !op.roundsPartials() && !isRow)
    bytes = y.getDimSize(1) * sizeof(float);
  ExpertPlacement placement{static_cast<int64_t>(op.getNumExperts()), ranks};
  int64_t words = std::min(slots, placement.maxPerRank());
  return op.getTokenBound() *
         (std::min(slots, ranks - 1) * bytes +
          (ranks - 1) * words * static_cast<int64_t>(sizeof(int64_t)));
}

static void describe(CombineOp op, int64_t ranks, CollectiveReport &report) {
  report.rows = cast<ShapedType>(op.getY().getType()).getDimSize(0);
  report.rowBytes = getRowBytes(op.getY());
  if (Value weights = op.getWeights())
    report.rowBytes += getRowBytes(weights);
  int64_t topK = 0;
  if (Value topk = op.getTopk())
    topK = cast<ShapedType>(topk.getType()).getDimSize(1);
  // Messages do not tell push from pull, and have a schedule.
  if (op.isExpertMajor() && op.getAlgorithm() == Algorithm::push &&
      !op.getScheduleAttr()) {
    report.wireBytes = getBytesOfPartials(op, ranks);
    return;
  }
  report.wireBytes = report.rowBytes * op.getTokenBound() *
                     getRemoteRowsPerToken(ranks, op.getNumExperts(), topK,
                                           op.isExpertMajor());
}

static void describe(AllToAllvOp op, int64_t ranks, CollectiveReport &report) {
  auto send = cast<ShapedType>(op.getSend().getType());
  auto recv = cast<ShapedType>(op.getOutputValues().front().getType());
  report.rows = recv.getDimSize(0);
  report.rowBytes = getRowBytes(op.getSend());
  if (ranks == 1)
    report.wireBytes = 0;
  else if (!send.isDynamicDim(0))
    report.wireBytes = report.rowBytes * send.getDimSize(0);
}

static CollectiveReport::Kernel describe(KernelAttr attr) {
  CollectiveReport::Kernel kernel;
  kernel.blocks = attr.getBlocks();
  kernel.threads = attr.getThreads();
  kernel.transfer = stringifyTransfer(attr.getTransfer()).str();
  if (attr.getTransfer() == Transfer::bulk)
    kernel.stages = attr.getStages();
  else
    kernel.team = attr.getTeam();
  return kernel;
}

void CompileReport::collectCollectives(ModuleOp module,
                                       bool ranksHaveMessages) {
  hasMessages = ranksHaveMessages;
  module.walk([&](CollectiveOpInterface op) {
    CollectiveReport &report = collectives.emplace_back();
    report.op = op->getName().getStringRef().str();
    report.location = describeLocation(op.getLoc());
    ranks = op.getNumRanks();
    if (auto dispatch = dyn_cast<DispatchOp>(*op))
      describe(dispatch, ranks, hasMessages, report);
    else if (auto combine = dyn_cast<CombineOp>(*op))
      describe(combine, ranks, report);
    else if (auto alltoallv = dyn_cast<AllToAllvOp>(*op))
      describe(alltoallv, ranks, report);
    if (KernelAttr kernel = op.getKernelAttr())
      report.kernel = describe(kernel);
  });
}

/// The buffer that a symmetric memref is, is a view of, or is a peer's copy of.
static symm::AllocOp findBuffer(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (auto alloc = dyn_cast<symm::AllocOp>(op))
      return alloc;
    auto view = dyn_cast<ViewLikeOpInterface>(op);
    if (!view)
      return {};
    value = view.getViewSource();
  }
  return {};
}

static int64_t getBytes(symm::AllocOp alloc, const DataLayout &layout) {
  MemRefType type = alloc.getType();
  return type.getNumElements() *
         layout.getTypeSize(type.getElementType()).getFixedValue();
}

/// Adds what `root` and the functions it calls allocate.
static void collectBuffers(Operation *root,
                           llvm::SetVector<Operation *> &buffers) {
  llvm::SetVector<Operation *> functions;
  functions.insert(root);
  for (size_t i = 0; i < functions.size(); ++i)
    functions[i]->walk([&](Operation *op) {
      if (isa<symm::AllocOp>(op))
        buffers.insert(op);
      if (auto call = dyn_cast<CallOpInterface>(op))
        if (Operation *callee = call.resolveCallable())
          functions.insert(callee);
    });
}

static EntryReport describeEntry(func::FuncOp func, const DataLayout &layout) {
  EntryReport entry;
  entry.name = func.getName().str();
  entry.hasOwnWorkspace = func->hasAttr(symm::kOwnWorkspaceAttrName);
  llvm::SetVector<Operation *> buffers;
  collectBuffers(func, buffers);
  std::optional<int64_t> first;
  int64_t last = 0;
  for (Operation *buffer : buffers) {
    auto alloc = cast<symm::AllocOp>(buffer);
    int64_t bytes = getBytes(alloc, layout);
    int64_t offset = alloc.getOffset().value_or(0);
    if (alloc.getPersistent()) {
      entry.persistentBytes += bytes;
      continue;
    }
    first = std::min(first.value_or(offset), offset);
    last = std::max(last, offset + bytes);
  }
  entry.temporaryBytes = last - first.value_or(last);
  return entry;
}

void CompileReport::forEachCollective(
    ModuleOp module,
    llvm::function_ref<void(CollectiveReport &, Operation *)> body) {
  module.walk([&](symm::CollectiveBeginOp begin) {
    if (begin.getSite() >= collectives.size())
      return;
    CollectiveReport &report = collectives[begin.getSite()];
    for (Operation *op = begin->getNextNode();
         op && !isa<symm::CollectiveEndOp>(op); op = op->getNextNode())
      op->walk([&](Operation *nested) { body(report, nested); });
  });
}

void CompileReport::collectSymmetricBytes(ModuleOp module) {
  DataLayout layout(module);
  std::map<CollectiveReport *, llvm::SetVector<Operation *>> buffers;
  forEachCollective(module, [&](CollectiveReport &report, Operation *op) {
    for (Value operand : op->getOperands())
      if (isa<MemRefType>(operand.getType()))
        if (symm::AllocOp alloc = findBuffer(operand))
          buffers[&report].insert(alloc);
    if (auto call = dyn_cast<func::CallOp>(op)) {
      report.function = call.getCallee().str();
      if (Operation *callee = CallOpInterface(call).resolveCallable())
        collectBuffers(callee, buffers[&report]);
    }
  });
  for (auto &[report, ofReport] : buffers)
    for (Operation *buffer : ofReport)
      report->symmetricBytes += getBytes(cast<symm::AllocOp>(buffer), layout);
  for (auto func : module.getOps<func::FuncOp>())
    if (func.isPublic() && !func.isExternal())
      entries.push_back(describeEntry(func, layout));
  module.walk([&](symm::AllocOp alloc) {
    if (alloc.getPersistent())
      persistentBytes += getBytes(alloc, layout);
  });
  if (auto bytes =
          module->getAttrOfType<IntegerAttr>(symm::kWorkspaceBytesAttrName))
    workspaceBytes = bytes.getInt();
  if (auto attr = module->getAttrOfType<IntegerAttr>(kRanksAttrName))
    ranks = attr.getInt();
}

/// Bytes that `op` brings from this rank to the others, beside rows.
static int64_t getTableBytes(Operation *op, int64_t ranks) {
  if (auto gather = dyn_cast<coll::AllGatherOp>(op)) {
    auto type = cast<MemRefType>(gather.getSend().getType());
    return (ranks - 1) * type.getDimSize(0) * getRowBytes(gather.getSend());
  }
  if (auto all = dyn_cast<coll::AllToAllOp>(op))
    return (ranks - 1) * getRowBytes(all.getSend());
  return 0;
}

/// Bytes of rows that `op` brings from this rank to the others where that does
/// not depend on data: as many to each rank.
static std::optional<int64_t> getPaddedBytes(Operation *op, int64_t ranks) {
  auto rows = dyn_cast<coll::RowsOp>(op);
  auto counts =
      rows ? rows.getSendCounts().getDefiningOp<coll::TableOp>() : nullptr;
  if (!counts)
    return std::nullopt;
  return (ranks - 1) * counts.getNumbers().front() *
         getRowBytes(rows.getSend());
}

void CompileReport::collectMessageBytes(ModuleOp module) {
  std::map<CollectiveReport *, int64_t> paddedBytes;
  auto add = [&](CollectiveReport &report, Operation *op) {
    report.tableBytes += getTableBytes(op, ranks);
    if (std::optional<int64_t> bytes = getPaddedBytes(op, ranks))
      paddedBytes[&report] += *bytes;
  };
  forEachCollective(module, [&](CollectiveReport &report, Operation *op) {
    add(report, op);
    auto call = dyn_cast<func::CallOp>(op);
    if (!call)
      return;
    report.function = call.getCallee().str();
    if (Operation *callee = CallOpInterface(call).resolveCallable())
      callee->walk([&](Operation *nested) { add(report, nested); });
  });
  for (auto [report, bytes] : paddedBytes) {
    report->isPadded = true;
    report->wireBytes = bytes;
  }
}

LogicalResult CompileReport::collectKernels(ModuleOp module,
                                            const GpuTargetOptions &options) {
  std::string lookedFor;
  std::optional<std::string> ptxas = findPtxas(options.ptxas, lookedFor);
  if (!ptxas)
    return success();
  for (auto kernelModule : module.getOps<gpu::GPUModuleOp>()) {
    FailureOr<std::string> ptx = emitPTX(kernelModule, options);
    SmallVector<char, 0> image;
    if (failed(ptx) || failed(assemblePTX(kernelModule, *ptx, *ptxas, options,
                                          image, &kernels)))
      return failure();
  }
  llvm::sort(kernels, [](const KernelResources &a, const KernelResources &b) {
    // _2 before _10.
    return StringRef(a.name).compare_numeric(b.name) < 0;
  });
  // The launch has the place of the op, and may add shared memory.
  llvm::StringMap<int64_t> added;
  llvm::StringMap<std::string> places;
  module.walk([&](gpu::LaunchFuncOp launch) {
    places.try_emplace(launch.getKernelName().getValue(),
                       describeLocation(launch.getLoc()));
    APInt bytes;
    Value size = launch.getDynamicSharedMemorySize();
    if (size && matchPattern(size, m_ConstantInt(&bytes)))
      added[launch.getKernelName().getValue()] = bytes.getSExtValue();
  });
  for (KernelResources &kernel : kernels) {
    kernel.sharedBytes += added.lookup(kernel.name);
    kernel.location = places.lookup(kernel.name);
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Output
//===----------------------------------------------------------------------===//

static std::string number(int64_t value) { return std::to_string(value); }

/// Prints lines of cells in columns. The first `numNames` are names, which are
/// flush left; the others numbers.
static void printColumns(ArrayRef<std::vector<std::string>> lines,
                         size_t numNames, llvm::raw_ostream &os) {
  std::vector<size_t> widths(lines.front().size());
  for (const auto &line : lines)
    for (auto [width, cell] : llvm::zip_equal(widths, line))
      width = std::max(width, cell.size());
  for (const auto &line : lines) {
    std::string text;
    for (auto [column, cell] : llvm::enumerate(line)) {
      std::string padding(widths[column] - cell.size(), ' ');
      text += (column ? "  " : "") +
              (column < numNames ? cell + padding : padding + cell);
    }
    os << StringRef(text).rtrim() << '\n';
  }
}

static std::string toString(const CollectiveReport::Kernel &kernel) {
  return llvm::formatv("{0} x {1} {2}, {3} {4}", kernel.blocks, kernel.threads,
                       kernel.transfer, kernel.stages ? "stages" : "team",
                       kernel.stages ? *kernel.stages : *kernel.team);
}

void CompileReport::printTable(llvm::raw_ostream &os) const {
  bool hasKernels = llvm::any_of(
      collectives, [](const CollectiveReport &r) { return r.kernel; });
  bool isShared = llvm::any_of(collectives, [](const CollectiveReport &r) {
    return !r.function.empty();
  });
  std::vector<std::vector<std::string>> lines = {
      {"op", "location", "rows", "row bytes",
       hasMessages ? "table bytes" : "symmetric bytes", "wire bytes"}};
  if (hasKernels)
    lines.front().push_back("kernel");
  if (isShared)
    lines.front().push_back("lowered as");
  for (const CollectiveReport &report : collectives) {
    lines.push_back(
        {report.op, report.location, number(report.rows),
         number(report.rowBytes),
         number(hasMessages ? report.tableBytes : report.symmetricBytes),
         report.wireBytes ? number(*report.wireBytes) : "?"});
    if (hasKernels)
      lines.back().push_back(report.kernel ? toString(*report.kernel) : "?");
    if (isShared)
      lines.back().push_back(report.function);
  }
  printColumns(lines, /*numNames=*/2, os);
  os << "ranks: " << ranks << '\n';
  if (hasMessages)
    os << "messages: no symmetric memory\n";
  else
    os << "symmetric workspace: " << workspaceBytes << " bytes per rank, "
       << persistentBytes << " of them kept from run to run\n";
  if (!entries.empty()) {
    lines = {{"entry", "memory", "kept bytes", "temporary bytes"}};
    for (const EntryReport &entry : entries)
      lines.push_back({entry.name, entry.hasOwnWorkspace ? "own" : "shared",
                       number(entry.persistentBytes),
                       number(entry.temporaryBytes)});
    printColumns(lines, /*numNames=*/2, os);
  }
  if (artifactBytes)
    os << "artifact: " << artifactBytes << " bytes\n";
  if (kernels.empty())
    return;
  lines = {{"kernel", "location", "registers", "spill bytes", "shared bytes"}};
  for (const KernelResources &kernel : kernels)
    lines.push_back({kernel.name, kernel.location, number(kernel.registers),
                     number(kernel.spillBytes), number(kernel.sharedBytes)});
  printColumns(lines, /*numNames=*/2, os);
}

void CompileReport::printJSON(llvm::raw_ostream &os) const {
  llvm::json::OStream json(os, /*IndentSize=*/2);
  json.object([&] {
    json.attributeArray("ops", [&] {
      for (const CollectiveReport &report : collectives)
        json.object([&] {
          json.attribute("op", report.op);
          json.attribute("location", report.location);
          json.attribute("rows", report.rows);
          json.attribute("row_bytes", report.rowBytes);
          json.attribute("symmetric_bytes", report.symmetricBytes);
          json.attribute("wire_bytes", report.wireBytes);
          if (hasMessages)
            json.attribute("table_bytes", report.tableBytes);
          if (report.isPadded)
            json.attribute("padded", true);
          if (!report.function.empty())
            json.attribute("function", report.function);
          if (!report.kernel)
            return;
          json.attributeObject("kernel", [&] {
            json.attribute("blocks", report.kernel->blocks);
            json.attribute("threads", report.kernel->threads);
            json.attribute("transfer", report.kernel->transfer);
            if (report.kernel->stages)
              json.attribute("stages", *report.kernel->stages);
            if (report.kernel->team)
              json.attribute("team", *report.kernel->team);
          });
        });
    });
    json.attribute("ranks", ranks);
    json.attribute("transport", hasMessages ? "messages" : "direct");
    json.attribute("workspace_bytes", workspaceBytes);
    json.attribute("persistent_bytes", persistentBytes);
    json.attributeArray("entries", [&] {
      for (const EntryReport &entry : entries)
        json.object([&] {
          json.attribute("name", entry.name);
          json.attribute("own_workspace", entry.hasOwnWorkspace);
          json.attribute("persistent_bytes", entry.persistentBytes);
          json.attribute("temporary_bytes", entry.temporaryBytes);
        });
    });
    json.attribute("artifact_bytes", artifactBytes);
    if (kernels.empty())
      return;
    json.attributeArray("kernels", [&] {
      for (const KernelResources &kernel : kernels)
        json.object([&] {
          json.attribute("name", kernel.name);
          json.attribute("location", kernel.location);
          json.attribute("registers", kernel.registers);
          json.attribute("spill_bytes", kernel.spillBytes);
          json.attribute("shared_bytes", kernel.sharedBytes);
        });
    });
  });
  os << '\n';
}
