//===- CallMathFunctions.cpp - math ops as calls of a library -------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/Transforms/Passes.h"

#include "MapElements.h"
#include "moe-mlir/Target/Math/Math.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/TypeUtilities.h"
#include "llvm/ADT/StringSwitch.h"

namespace mlir::moe {
#define GEN_PASS_DEF_MOECALLMATHFUNCTIONSPASS
#include "moe-mlir/Target/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

/// The function of C that `op` stands for, without the suffix of its type;
/// empty where there is none, or an instruction on every target.
static StringRef getFunctionName(Operation *op) {
  if (isa<arith::RemFOp>(op))
    return "fmod";
  if (isa<math::PowFOp>(op))
    return "pow";
  if (isa<math::AcosOp, math::AcoshOp, math::AsinOp, math::AsinhOp,
          math::AtanOp, math::Atan2Op, math::AtanhOp, math::CbrtOp, math::CosOp,
          math::CoshOp, math::ErfOp, math::ErfcOp, math::ExpOp, math::Exp2Op,
          math::ExpM1Op, math::FPowIOp, math::LogOp, math::Log10Op,
          math::Log1pOp, math::Log2Op, math::RsqrtOp, math::SinOp, math::SinhOp,
          math::TanOp, math::TanhOp>(op))
    return op->getName().stripDialect();
  return {};
}

namespace {

/// Declares functions in a module, each once.
class Declarations {
public:
  explicit Declarations(Operation *module) : symbols(module) {}

  /// The function of the math library, or with `isLibM` of the C library, that
  /// is called `name` there.
  LLVM::LLVMFuncOp get(StringRef name, LLVM::LLVMFunctionType type,
                       bool isLibM) {
    MLIRContext *context = type.getContext();
    auto key = StringAttr::get(context, (isLibM ? "c." : "") + name);
    LLVM::LLVMFuncOp &function = functions[key];
    if (function)
      return function;
    OpBuilder builder(context);
    function =
        LLVM::LLVMFuncOp::create(builder, symbols.getOp()->getLoc(),
                                 ("moe.math." + key.getValue()).str(), type);
    function.setPassthroughAttr(builder.getArrayAttr(builder.getStrArrayAttr(
        {isLibM ? kLibMFunctionAttrName : kMathFunctionAttrName, name})));
    function.setNoUnwind(true);
    function.setWillReturn(true);
    using LLVM::ModRefInfo;
    auto none = ModRefInfo::NoModRef;
    function.setMemoryEffectsAttr(LLVM::MemoryEffectsAttr::get(
        context, {none, none, none, none, none, none}));
    // Another name, if the user has one of this name.
    symbols.insert(function, symbols.getOp()->getRegion(0).front().begin());
    return function;
  }

private:
  SymbolTable symbols;
  llvm::DenseMap<StringAttr, LLVM::LLVMFuncOp> functions;
};

/// Replaces the ops of one module.
class Caller {
public:
  Caller(Operation *module, bool isKernels)
      : declarations(module), isKernels(isKernels) {}

  LogicalResult replace(Operation *op) {
    StringRef name = getFunctionName(op);
    if (name.empty())
      return success();
    Type type = op->getResult(0).getType();
    Type element = getElementTypeOrSelf(type);
    if (!isScalarOrVector(type) || !(element.isF32() || element.isF64()))
      return success();
    IRRewriter rewriter(op);
    Location loc = op->getLoc();
    if (element.isF64() && name == "rsqrt") {
      rewriter.replaceOp(op, expandRsqrt(rewriter, loc, op->getOperand(0)));
      return success();
    }
    if (element.isF64() && isKernels && name != "fmod")
      return op->emitOpError("expects f32 or a smaller float in a kernel (")
             << type << ')';
    if (auto power = dyn_cast<math::FPowIOp>(op)) {
      auto integer =
          dyn_cast<IntegerType>(getElementTypeOrSelf(power.getRhs().getType()));
      if (integer && integer.getWidth() > 64)
        return op->emitOpError("expects a power of at most 64 bits (")
               << power.getRhs().getType() << ')';
    }
    rewriter.replaceOp(op, mapElements(rewriter, loc, op->getOperands(), type,
                                       [&](ValueRange elements) {
                                         return call(rewriter, loc, name,
                                                     elements);
                                       }));
    return success();
  }

private:
  static Value expandRsqrt(OpBuilder &builder, Location loc, Value value) {
    Type type = value.getType();
    TypedAttr one = builder.getF64FloatAttr(1.0);
    if (auto vector = dyn_cast<VectorType>(type))
      one = DenseElementsAttr::get(vector, Attribute(one));
    return arith::DivFOp::create(builder, loc,
                                 arith::ConstantOp::create(builder, loc, one),
                                 math::SqrtOp::create(builder, loc, value));
  }

  Value call(OpBuilder &builder, Location loc, StringRef name,
             ValueRange operands) {
    SmallVector<Value> args(operands);
    Type type = args.front().getType();
    bool isF64 = type.isF64();
    // What is no function of C is one of ours.
    bool isLibM = isF64 && name != "fmod" && name != "fpowi";
    if (name == "fpowi" && !args[1].getType().isInteger(64))
      args[1] = toI64(builder, loc, args[1]);
    std::string function = name.str();
    if (isF64 && !isLibM)
      function += "_f64";
    SmallVector<Type> types = llvm::to_vector(ValueRange(args).getTypes());
    LLVM::LLVMFuncOp callee = declarations.get(
        function, LLVM::LLVMFunctionType::get(type, types), isLibM);
    return LLVM::CallOp::create(builder, loc, callee, args).getResult();
  }

  static Value toI64(OpBuilder &builder, Location loc, Value value) {
    Type i64 = builder.getI64Type();
    if (value.getType().isIndex())
      return arith::IndexCastOp::create(builder, loc, i64, value);
    return arith::ExtSIOp::create(builder, loc, i64, value);
  }

  Declarations declarations;
  bool isKernels;
};

struct MoECallMathFunctionsPass
    : public moe::impl::MoECallMathFunctionsPassBase<MoECallMathFunctionsPass> {
  void runOnOperation() override {
    for (auto kernels : getOperation().getOps<gpu::GPUModuleOp>())
      if (failed(replaceIn(kernels, /*isKernels=*/true)))
        return signalPassFailure();
    if (failed(replaceIn(getOperation(), /*isKernels=*/false)))
      signalPassFailure();
  }

  /// Replaces what is in `module`, but in no GPU module in it.
  static LogicalResult replaceIn(Operation *module, bool isKernels) {
    SmallVector<Operation *> ops;
    module->walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (op != module && isa<gpu::GPUModuleOp>(op))
        return WalkResult::skip();
      ops.push_back(op);
      return WalkResult::advance();
    });
    Caller caller(module, isKernels);
    for (Operation *op : ops)
      if (failed(caller.replace(op)))
        return failure();
    return success();
  }
};

} // namespace
