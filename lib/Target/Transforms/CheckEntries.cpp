//===- CheckEntries.cpp - What an entry may contain -----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/Transforms/Passes.h"

#include "moe-mlir/Dialect/MoE/IR/MoE.h"
#include "moe-mlir/Dialect/Symm/IR/Symm.h"

#include "mlir/Analysis/CallGraph.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/UB/IR/UBOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/SymbolTable.h"
#include "llvm/ADT/SCCIterator.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"

namespace mlir::moe {
#define GEN_PASS_DEF_MOECHECKENTRIESPASS
#include "moe-mlir/Target/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

/// 16 TiB. Far more than a machine has, and sums of products of it still fit
/// 64 bits.
static constexpr int64_t kMaxBytes = int64_t(1) << 44;

/// What a manifest may say.
static constexpr int64_t kMaxRank = 64;

/// The code of a vector grows with its elements: each is a register or more.
static constexpr int64_t kMaxVectorElements = 4096;

//===----------------------------------------------------------------------===//
// Element types
//===----------------------------------------------------------------------===//

/// Sets of element types.
enum ElementTypes : unsigned {
  F64 = 1 << 0,
  F32 = 1 << 1,
  F16 = 1 << 2,
  BF16 = 1 << 3,
  F8E4M3FN = 1 << 4,
  F8E5M2 = 1 << 5,
  I64 = 1 << 6,
  I32 = 1 << 7,
  I16 = 1 << 8,
  I8 = 1 << 9,
  I1 = 1 << 10,
  Index = 1 << 11,
  SmallFloat = F16 | BF16 | F8E4M3FN | F8E5M2,
  Float = F64 | F32 | SmallFloat,
  Int = I64 | I32 | I16 | I8 | I1,
  Any = Float | Int | Index
};

/// Names of the types, in the order of their bits.
static constexpr StringRef kTypeNames[] = {
    "f64", "f32", "f16", "bf16", "f8E4M3FN", "f8E5M2",
    "i64", "i32", "i16", "i8",   "i1",       "index"};

/// The set of `type` alone; empty when it is no type of an entry.
static unsigned getElementTypes(Type type) {
  if (auto integer = dyn_cast<IntegerType>(type)) {
    if (!integer.isSignless())
      return 0;
    switch (integer.getWidth()) {
    case 64:
      return I64;
    case 32:
      return I32;
    case 16:
      return I16;
    case 8:
      return I8;
    case 1:
      return I1;
    default:
      return 0;
    }
  }
  return llvm::TypeSwitch<Type, unsigned>(type)
      .Case([](Float64Type) { return F64; })
      .Case([](Float32Type) { return F32; })
      .Case([](Float16Type) { return F16; })
      .Case([](BFloat16Type) { return BF16; })
      .Case([](Float8E4M3FNType) { return F8E4M3FN; })
      .Case([](Float8E5M2Type) { return F8E5M2; })
      .Case([](IndexType) { return Index; })
      .Default([](Type) { return 0; });
}

static std::string describe(unsigned types) {
  SmallVector<StringRef> names;
  for (auto [bit, name] : llvm::enumerate(kTypeNames))
    if (types & (1u << bit))
      names.push_back(name);
  std::string text;
  for (auto [index, name] : llvm::enumerate(names)) {
    if (index > 0)
      text += index + 1 == names.size() ? " or " : ", ";
    text += name;
  }
  return text;
}

//===----------------------------------------------------------------------===//
// Ops
//===----------------------------------------------------------------------===//

namespace {
struct OpTypes {
  unsigned host, cuda;
};
} // namespace

static const llvm::StringMap<OpTypes> &getOps() {
  static const llvm::StringMap<OpTypes> ops = [] {
    llvm::StringMap<OpTypes> ops;
    auto add = [&](unsigned host, unsigned cuda,
                   std::initializer_list<StringRef> names) {
      for (StringRef name : names)
        ops[name] = {host, cuda};
    };
#define ENTRY_OPS(HOST, CUDA, ...) add(HOST, CUDA, {__VA_ARGS__});
#include "EntryOps.def"
#undef ENTRY_OPS
    return ops;
  }();
  return ops;
}

namespace {

/// Checks ops one by one and reports the first that does not pass.
class EntryChecker {
public:
  explicit EntryChecker(StringRef target) : target(target) {}

  LogicalResult check(Operation *op) const;

private:
  LogicalResult checkType(Operation *op, Type type, unsigned allowed) const;
  LogicalResult checkTypes(Operation *op, unsigned allowed) const;
  LogicalResult checkCall(func::CallOp op) const;

  StringRef target;
};

} // namespace

LogicalResult EntryChecker::checkType(Operation *op, Type type,
                                      unsigned allowed) const {
  Type element = type;
  if (auto shaped = dyn_cast<ShapedType>(type)) {
    auto vector = dyn_cast<VectorType>(type);
    if (!shaped.hasRank() || (vector && vector.isScalable()))
      return op->emitOpError("expects ranked tensors and memrefs, and vectors "
                             "of fixed size, in an entry, got ")
             << type;
    if (shaped.getRank() > kMaxRank)
      return op->emitOpError("expects at most ")
             << kMaxRank << " dimensions in an entry, got " << shaped.getRank();
    if (vector && vector.getNumElements() > kMaxVectorElements)
      return op->emitOpError("expects vectors of at most ")
             << kMaxVectorElements << " elements in an entry, got " << type;
    auto memref = dyn_cast<MemRefType>(type);
    if (memref && memref.getMemorySpace() &&
        !isa<symm::SpaceAttr>(memref.getMemorySpace()))
      return op->emitOpError("expects memrefs without a memory space in an "
                             "entry, got ")
             << type;
    element = shaped.getElementType();
  }
  unsigned set = getElementTypes(element);
  if (set == 0)
    return op->emitOpError("expects values of ")
           << describe(Any) << " in an entry, got " << type;
  if (!(set & allowed))
    return op->emitOpError("expects values of ")
           << describe(allowed) << " in an entry for target '" << target
           << "', got " << type;
  auto shaped = dyn_cast<ShapedType>(type);
  if (!shaped)
    return success();
  int64_t bytes = element.isIndex()
                      ? 8
                      : llvm::divideCeil(element.getIntOrFloatBitWidth(), 8);
  for (int64_t extent : shaped.getShape()) {
    if (extent == 0)
      return success();
    if (!ShapedType::isDynamic(extent) &&
        llvm::MulOverflow(bytes, extent, bytes))
      bytes = kMaxBytes + 1;
    if (bytes > kMaxBytes)
      break;
  }
  if (bytes > kMaxBytes)
    return op->emitOpError("expects at most ")
           << kMaxBytes << " bytes in a value of an entry, got " << type;
  return success();
}

LogicalResult EntryChecker::checkTypes(Operation *op, unsigned allowed) const {
  for (Type type : op->getOperandTypes())
    if (failed(checkType(op, type, allowed)))
      return failure();
  for (Type type : op->getResultTypes())
    if (failed(checkType(op, type, allowed)))
      return failure();
  for (Region &region : op->getRegions())
    for (Block &block : region)
      for (Type type : block.getArgumentTypes())
        if (failed(checkType(op, type, Any)))
          return failure();
  return success();
}

/// An artifact is linked with nothing that could define a function.
LogicalResult EntryChecker::checkCall(func::CallOp op) const {
  auto callee = SymbolTable::lookupNearestSymbolFrom<func::FuncOp>(
      op, op.getCalleeAttr());
  if (!callee || !callee.isExternal())
    return success();
  InFlightDiagnostic diag = op.emitOpError("expects '")
                            << op.getCallee() << "' to have a body";
  diag.attachNote(callee.getLoc()) << "declared here";
  return diag;
}

/// Kernels read a copy of a global that was made when the artifact was loaded.
static LogicalResult checkGlobal(memref::GlobalOp op) {
  if (op.getConstant() &&
      isa_and_present<ElementsAttr>(op.getInitialValueAttr()))
    return success();
  return op.emitOpError("expects a constant with a value; a call keeps nothing "
                        "for the next one");
}

/// Targets round to nearest only.
static LogicalResult checkRounding(arith::TruncFOp op) {
  std::optional<arith::RoundingMode> mode = op.getRoundingmode();
  if (!mode || *mode == arith::RoundingMode::to_nearest_even)
    return success();
  return op.emitOpError("expects rounding to_nearest_even in an entry, got ")
         << arith::stringifyRoundingMode(*mode);
}

/// These have no form with buffers upstream.
static LogicalResult checkResults(Operation *op, StringRef instead) {
  for (Type type : op->getResultTypes())
    if (isa<TensorType>(type))
      return op->emitOpError("expects no tensors as results in an entry; use ")
             << instead;
  return success();
}

/// What calls itself cannot be inlined, and the buffers that such a function
/// returns have no owner that is known when it is compiled.
static LogicalResult checkRecursion(ModuleOp module) {
  const CallGraph graph(module);
  for (auto it = llvm::scc_begin(&graph); !it.isAtEnd(); ++it) {
    if (!it.hasCycle() || (*it->begin())->isExternal())
      continue;
    Operation *op = (*it->begin())->getCallableRegion()->getParentOp();
    return op->emitOpError("expects a function that does not call itself, "
                           "directly or through others");
  }
  return success();
}

/// What a collective moves: the rows of all ranks' tokens.
static LogicalResult checkTraffic(CollectiveOpInterface op) {
  Value data;
  int64_t rows = 0;
  if (auto dispatch = dyn_cast<DispatchOp>(*op)) {
    data = dispatch.getX();
    rows = dispatch.getTokenBound();
  } else if (auto combine = dyn_cast<CombineOp>(*op)) {
    data = combine.getY();
    rows = combine.getTokenBound();
  } else {
    return success();
  }
  auto type = cast<ShapedType>(data.getType());
  // Both factors are below 2^47: the verifiers bound the first.
  int64_t rowBytes = llvm::divideCeil(type.getElementTypeBitWidth(), 8) *
                     ShapedType::getNumElements(type.getShape().drop_front());
  int64_t bytes = 0;
  if (!llvm::MulOverflow(rows * op.getNumRanks(), rowBytes, bytes) &&
      bytes <= kMaxBytes)
    return success();
  return op->emitOpError("expects at most ")
         << kMaxBytes << " bytes in the rows of all ranks, got " << rows
         << " rows of " << rowBytes << " bytes from each of "
         << op.getNumRanks();
}

LogicalResult EntryChecker::check(Operation *op) const {
  if (isa<ModuleOp>(op))
    return op->emitOpError("expects no module within the module of an entry");
  if (isa_and_present<MoEDialect, symm::SymmDialect>(op->getDialect())) {
    if (failed(checkTypes(op, Any)))
      return failure();
    auto collective = dyn_cast<CollectiveOpInterface>(op);
    return collective ? checkTraffic(collective) : success();
  }
  auto known = getOps().find(op->getName().getStringRef());
  if (known == getOps().end())
    return op->emitOpError("expects to be among the ops that an entry may "
                           "contain (docs/Entries.md)");
  LogicalResult special =
      llvm::TypeSwitch<Operation *, LogicalResult>(op)
          .Case([&](func::CallOp call) { return checkCall(call); })
          .Case([](memref::GlobalOp global) { return checkGlobal(global); })
          .Case([](arith::TruncFOp cast) { return checkRounding(cast); })
          .Case<affine::AffineForOp, affine::AffineIfOp,
                affine::AffineParallelOp>(
              [](auto loop) { return checkResults(loop, "the op of scf"); })
          .Case([](ub::PoisonOp poison) {
            return checkResults(poison, "tensor.empty");
          })
          .Default([](Operation *) { return success(); });
  if (failed(special))
    return failure();
  return checkTypes(op,
                    target == "cuda" ? known->second.cuda : known->second.host);
}

namespace {

struct MoECheckEntriesPass
    : public moe::impl::MoECheckEntriesPassBase<MoECheckEntriesPass> {
  using MoECheckEntriesPassBase::MoECheckEntriesPassBase;

  void runOnOperation() override {
    if (target != "host" && target != "cuda") {
      emitError(getOperation().getLoc(),
                "moe-check-entries expects 'target' to be host or cuda (")
          << target << ")";
      return signalPassFailure();
    }
    EntryChecker checker(target);
    WalkResult checked =
        getOperation()->walk<WalkOrder::PreOrder>([&](Operation *op) {
          return op != getOperation() && failed(checker.check(op))
                     ? WalkResult::interrupt()
                     : WalkResult::advance();
        });
    if (checked.wasInterrupted() || failed(checkRecursion(getOperation())))
      return signalPassFailure();
    markAllAnalysesPreserved();
  }
};

} // namespace
