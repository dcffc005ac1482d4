//===- ParallelLoopsToKernels.cpp - Work on device memory as kernels ------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/Transforms/Passes.h"

#include "moe-mlir/Conversion/SymmToLLVM/SymmToLLVM.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Interfaces/LoopLikeInterface.h"
#include "llvm/Support/MathExtras.h"

namespace mlir::moe {
#define GEN_PASS_DEF_MOEPARALLELLOOPSTOKERNELSPASS
#include "moe-mlir/Target/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

static constexpr int64_t kThreads = 256;

/// Enough to fill any device; a thread loops over what is left.
static constexpr int64_t kMaxBlocks = 2048;

/// What takes one thread no longer than a launch or two. moe-split-reductions
/// leaves no more of a reduction that it can split.
static constexpr int64_t kFewIterations = 1024;

namespace {

/// Emits kernels in place of ops of host code.
class KernelEmitter {
public:
  explicit KernelEmitter(MLIRContext *context) : rewriter(context) {}

  LogicalResult run(Block &block);

private:
  void emit(scf::ParallelOp loop);
  void emitSequential(Operation *op);
  gpu::LaunchOp createLaunch(Location loc, Value blocks, int64_t threads);

  Value index(Location loc, int64_t value) {
    return arith::ConstantIndexOp::create(rewriter, loc, value);
  }

  IRRewriter rewriter;
};

} // namespace

gpu::LaunchOp KernelEmitter::createLaunch(Location loc, Value blocks,
                                          int64_t threads) {
  Value one = index(loc, 1);
  auto launch = gpu::LaunchOp::create(rewriter, loc, blocks, one, one,
                                      index(loc, threads), one, one);
  rewriter.setInsertionPointToEnd(&launch.getBody().front());
  gpu::TerminatorOp::create(rewriter, loc);
  rewriter.setInsertionPoint(launch.getBody().front().getTerminator());
  return launch;
}

/// All iterations, numbered in row-major order, spread over the threads of a
/// grid of any size.
void KernelEmitter::emit(scf::ParallelOp loop) {
  rewriter.setInsertionPoint(loop);
  Location loc = loop.getLoc();
  Value total = index(loc, 1);
  SmallVector<Value> extents;
  for (auto [lower, upper, step] : llvm::zip_equal(
           loop.getLowerBound(), loop.getUpperBound(), loop.getStep())) {
    Value range = arith::SubIOp::create(rewriter, loc, upper, lower);
    Value extent = arith::CeilDivSIOp::create(rewriter, loc, range, step);
    extent = arith::MaxSIOp::create(rewriter, loc, extent, index(loc, 0));
    extents.push_back(extent);
    total = arith::MulIOp::create(rewriter, loc, total, extent);
  }
  Value blocks =
      arith::CeilDivSIOp::create(rewriter, loc, total, index(loc, kThreads));
  blocks =
      arith::MinSIOp::create(rewriter, loc, blocks, index(loc, kMaxBlocks));
  // A grid has a block at least.
  blocks = arith::MaxSIOp::create(rewriter, loc, blocks, index(loc, 1));

  gpu::LaunchOp launch = createLaunch(loc, blocks, kThreads);
  Value threads = index(loc, kThreads);
  Value first = arith::AddIOp::create(
      rewriter, loc,
      arith::MulIOp::create(rewriter, loc, launch.getBlockIds().x, threads),
      launch.getThreadIds().x);
  Value stride =
      arith::MulIOp::create(rewriter, loc, launch.getGridSize().x, threads);
  auto iterations = scf::ForOp::create(rewriter, loc, first, total, stride);
  rewriter.setInsertionPointToStart(iterations.getBody());
  Value rest = iterations.getInductionVar();
  SmallVector<Value> values(extents.size());
  for (size_t dim = extents.size(); dim-- > 0;) {
    Value position =
        dim == 0 ? rest
                 : arith::RemUIOp::create(rewriter, loc, rest, extents[dim])
                       .getResult();
    if (dim > 0)
      rest = arith::DivUIOp::create(rewriter, loc, rest, extents[dim]);
    Value offset =
        arith::MulIOp::create(rewriter, loc, position, loop.getStep()[dim]);
    values[dim] =
        arith::AddIOp::create(rewriter, loc, loop.getLowerBound()[dim], offset);
  }
  rewriter.eraseOp(loop.getBody()->getTerminator());
  rewriter.inlineBlockBefore(loop.getBody(), iterations.getBody(),
                             rewriter.getInsertionPoint(), values);
  rewriter.eraseOp(loop);
}

/// How often the innermost loops in `op` run; none when that is not known.
static std::optional<int64_t> countIterations(Operation *op) {
  std::optional<int64_t> count = 1;
  if (auto loop = dyn_cast<LoopLikeOpInterface>(op)) {
    auto bounded = dyn_cast<scf::ForOp>(op);
    std::optional<APInt> trips =
        bounded ? bounded.getStaticTripCount() : std::nullopt;
    if (!trips || trips->getActiveBits() > 31)
      return std::nullopt;
    count = trips->getSExtValue();
  }
  int64_t inside = 1;
  for (Region &region : op->getRegions())
    for (Block &block : region)
      for (Operation &nested : block) {
        std::optional<int64_t> more = countIterations(&nested);
        if (!more)
          return std::nullopt;
        inside = std::max(inside, *more);
      }
  if (llvm::MulOverflow(*count, inside, inside))
    return std::nullopt;
  return inside;
}

/// Tells of loops that a GPU could do in less time, were they parallel.
static void remarkOnSequential(Operation *op) {
  std::optional<int64_t> count = countIterations(op);
  if (count && *count <= kFewIterations)
    return;
  auto function = op->getParentOfType<func::FuncOp>();
  remark::missed(op->getLoc(),
                 remark::RemarkOpts::name("sequential-kernel")
                     .category("moe-parallel-loops-to-kernels")
                     .function(function ? function.getName() : StringRef()))
      << "runs in one thread: no loop of it is parallel (" +
             (count ? std::to_string(*count) : "an unknown number of") +
             " iterations)";
}

/// An op that nothing says is parallel: one thread.
void KernelEmitter::emitSequential(Operation *op) {
  remarkOnSequential(op);
  rewriter.setInsertionPoint(op);
  createLaunch(op->getLoc(), index(op->getLoc(), 1), 1);
  rewriter.moveOpBefore(op, rewriter.getInsertionBlock(),
                        rewriter.getInsertionPoint());
}

static bool accessesMemory(Operation *op) {
  return isa<memref::LoadOp, memref::StoreOp, memref::AtomicRMWOp,
             memref::GenericAtomicRMWOp, vector::LoadOp, vector::StoreOp,
             vector::TransferReadOp, vector::TransferWriteOp, scf::ParallelOp>(
      op);
}

/// Whether `op` holds something that only host code can do.
static bool needsHost(Operation *op) {
  return op
      ->walk([](Operation *nested) {
        bool host = isa<gpu::LaunchOp, memref::AllocOp, memref::DeallocOp,
                        memref::CopyOp, CallOpInterface>(nested) ||
                    (nested->getDialect() &&
                     llvm::is_contained({"coll", "symm"},
                                        nested->getDialect()->getNamespace()));
        return host ? WalkResult::interrupt() : WalkResult::advance();
      })
      .wasInterrupted();
}

/// Whether the host may run `op`, which holds parallel loops, and launch those:
/// it would have to wait for what it reads between them.
static bool holdsParallelLoops(Operation *op) {
  bool hasLoops = false, isRead = false;
  op->walk<WalkOrder::PreOrder>([&](Operation *nested) {
    if (nested != op && isa<scf::ParallelOp>(nested)) {
      hasLoops = true;
      return WalkResult::skip();
    }
    isRead |=
        isa<memref::LoadOp, vector::LoadOp, vector::TransferReadOp>(nested);
    return WalkResult::advance();
  });
  return hasLoops && !isRead;
}

LogicalResult KernelEmitter::run(Block &block) {
  for (Operation &op : llvm::make_early_inc_range(block)) {
    if (isa<gpu::LaunchOp>(op) || !op.walk([](Operation *nested) {
                                       return accessesMemory(nested)
                                                  ? WalkResult::interrupt()
                                                  : WalkResult::advance();
                                     }).wasInterrupted())
      continue;
    // A value that host code computes with: moe-use-runtime-launch fetches it.
    if (isa<memref::LoadOp>(op))
      continue;
    if ((needsHost(&op) || op.getNumResults() > 0 || holdsParallelLoops(&op)) &&
        op.getNumRegions() > 0 && !isa<scf::ParallelOp>(op)) {
      for (Region &region : op.getRegions())
        for (Block &nested : region)
          if (failed(run(nested)))
            return failure();
      continue;
    }
    if (op.getNumResults() > 0)
      return op.emitOpError("reads device memory in host code");
    auto loop = dyn_cast<scf::ParallelOp>(op);
    if (loop && !needsHost(&op))
      emit(loop);
    else
      emitSequential(&op);
  }
  return success();
}

namespace {

struct MoEParallelLoopsToKernelsPass
    : public moe::impl::MoEParallelLoopsToKernelsPassBase<
          MoEParallelLoopsToKernelsPass> {
  void runOnOperation() override {
    func::FuncOp func = getOperation();
    // Kernels are compared without their locations; those of assertions show.
    Builder builder(&getContext());
    func.walk([&](cf::AssertOp op) {
      op->setDiscardableAttr(
          "moe.place", builder.getStringAttr(describeLocation(op.getLoc())));
    });
    for (Block &block : func.getBody())
      if (failed(KernelEmitter(&getContext()).run(block)))
        return signalPassFailure();
  }
};

} // namespace
