//===- KernelsToFibers.cpp - kernels as functions that fibers execute -----===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Conversion/Passes.h"

#include "FiberLowering.h"
#include "moe-mlir/Conversion/SymmToLLVM/SymmToLLVM.h"

#include "mlir/Conversion/GPUCommon/GPUCommonPass.h"
#include "mlir/Conversion/LLVMCommon/MemRefBuilder.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/AttrTypeSubElements.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Interfaces/DataLayoutInterfaces.h"
#include "mlir/Transforms/RegionUtils.h"
#include "llvm/Support/MathExtras.h"

namespace mlir::moe {
#define GEN_PASS_DEF_MOEKERNELSTOFIBERSPASS
#include "moe-mlir/Conversion/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

/// What every buffer of a block is aligned to.
static constexpr int64_t kSharedAlignment = 128;

/// The kernel's parameters: what it captures, the memory of the block, numbers
/// of the block and the thread, and how many of both there are.
enum Param { Captures, Shared, BlockId, ThreadId, NumBlocks, NumThreads };

namespace {

class LaunchConversion {
public:
  LaunchConversion(gpu::LaunchOp launch, const LLVMTypeConverter &converter)
      : launch(launch), converter(converter), builder(launch),
        loc(launch.getLoc()) {}

  LogicalResult run(StringRef name, int64_t &site);

private:
  LogicalResult checkShape();
  Type capturesType() {
    SmallVector<Type> types;
    for (Value value : captured)
      types.push_back(converter.convertType(value.getType()));
    return LLVM::LLVMStructType::getLiteral(builder.getContext(), types);
  }
  Value fieldAddress(Value captures, int64_t index) {
    return LLVM::GEPOp::create(
        builder, loc, captures.getType(), capturesType(), captures,
        ArrayRef<LLVM::GEPArg>{0, static_cast<int32_t>(index)});
  }
  Value cast(Value value, Type type) {
    if (value.getType() == type)
      return value;
    return UnrealizedConversionCastOp::create(builder, loc, type, value)
        .getResult(0);
  }
  Value toI64(Value value) {
    return arith::IndexCastOp::create(builder, loc, builder.getI64Type(),
                                      value);
  }
  func::FuncOp createFunction(StringRef name);
  void moveBody();
  LogicalResult createCall();

  gpu::LaunchOp launch;
  const LLVMTypeConverter &converter;
  OpBuilder builder;
  Location loc;
  SetVector<Value> captured;
  FiberKernel kernel;
};

} // namespace

LogicalResult LaunchConversion::checkShape() {
  for (Value size : {launch.getGridSizeY(), launch.getGridSizeZ(),
                     launch.getBlockSizeY(), launch.getBlockSizeZ()})
    if (!matchPattern(size, m_One()))
      return launch.emitOpError("expects a grid and blocks of one dimension");
  if (launch.hasClusterSize() || launch.getAsyncToken() ||
      launch.getNumPrivateAttributions() > 0 || !launch.getBody().hasOneBlock())
    return launch.emitOpError("is not supported as fibers: it has clusters, "
                              "a token, private memory or several blocks");
  return success();
}

func::FuncOp LaunchConversion::createFunction(StringRef name) {
  auto module = launch->getParentOfType<ModuleOp>();
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToEnd(module.getBody());
  Type pointer = LLVM::LLVMPointerType::get(builder.getContext());
  Type i64 = builder.getI64Type();
  auto function = func::FuncOp::create(
      builder, loc, name,
      builder.getFunctionType({pointer, pointer, i64, i64, i64, i64}, {}));
  function.setPrivate();
  function.addEntryBlock();
  return function;
}

/// The body of the launch becomes that of the function; what the body has from
/// outside is loaded first.
void LaunchConversion::moveBody() {
  OpBuilder::InsertionGuard guard(builder);
  func::FuncOp function = kernel.function;
  Block &entry = function.getBody().front();
  builder.setInsertionPointToStart(&entry);
  kernel.shared = function.getArgument(Shared);
  for (auto [index, value] : llvm::enumerate(captured)) {
    Value loaded = LLVM::LoadOp::create(
        builder, loc, converter.convertType(value.getType()),
        fieldAddress(function.getArgument(Captures), index));
    replaceAllUsesInRegionWith(value, cast(loaded, value.getType()),
                               launch.getBody());
  }

  auto param = [&](Param index) -> Value {
    return arith::IndexCastOp::create(builder, loc, builder.getIndexType(),
                                      function.getArgument(index));
  };
  Value zero = arith::ConstantIndexOp::create(builder, loc, 0);
  Value one = arith::ConstantIndexOp::create(builder, loc, 1);
  for (auto [dims, x, other] :
       {std::tuple(launch.getBlockIds(), param(BlockId), zero),
        std::tuple(launch.getThreadIds(), param(ThreadId), zero),
        std::tuple(launch.getGridSize(), param(NumBlocks), one),
        std::tuple(launch.getBlockSize(), param(NumThreads), one)}) {
    dims.x.replaceAllUsesWith(x);
    dims.y.replaceAllUsesWith(other);
    dims.z.replaceAllUsesWith(other);
  }
  for (BlockArgument buffer : launch.getWorkgroupAttributions()) {
    auto type = llvm::cast<MemRefType>(buffer.getType());
    Value start = LLVM::GEPOp::create(
        builder, loc, kernel.shared.getType(), builder.getI8Type(),
        kernel.shared,
        ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(kernel.staticBytes)});
    Value descriptor =
        MemRefDescriptor::fromStaticShape(builder, loc, converter, type, start);
    buffer.replaceAllUsesWith(cast(descriptor, type));
    int64_t bytes =
        type.getNumElements() *
        DataLayout::closest(launch)
            .getTypeSize(converter.convertType(type.getElementType()))
            .getFixedValue();
    kernel.staticBytes += llvm::alignTo(bytes, kSharedAlignment);
  }
  Block &body = launch.getBody().front();
  entry.getOperations().splice(entry.end(), body.getOperations());
  Operation *terminator = entry.getTerminator();
  builder.setInsertionPoint(terminator);
  func::ReturnOp::create(builder, loc);
  terminator->erase();
}

LogicalResult LaunchConversion::createCall() {
  Type pointer = LLVM::LLVMPointerType::get(builder.getContext());
  Value captures;
  {
    // In the first block, so that a loop does not grow the stack.
    OpBuilder::InsertionGuard guard(builder);
    auto around = launch->getParentOfType<FunctionOpInterface>();
    builder.setInsertionPointToStart(&around.getFunctionBody().front());
    Value one = LLVM::ConstantOp::create(builder, loc, builder.getI64Type(),
                                         builder.getI64IntegerAttr(1));
    captures =
        LLVM::AllocaOp::create(builder, loc, pointer, capturesType(), one);
  }
  builder.setInsertionPoint(launch);
  for (auto [index, value] : llvm::enumerate(captured))
    LLVM::StoreOp::create(builder, loc,
                          cast(value, converter.convertType(value.getType())),
                          fieldAddress(captures, index));
  Value bytes =
      arith::ConstantIntOp::create(builder, loc, kernel.staticBytes, 64);
  if (Value dynamic = launch.getDynamicSharedMemorySize()) {
    Value wide =
        arith::ExtUIOp::create(builder, loc, builder.getI64Type(), dynamic);
    bytes = arith::AddIOp::create(builder, loc, bytes, wide);
  }
  Value function =
      func::ConstantOp::create(builder, loc, kernel.function.getFunctionType(),
                               kernel.function.getSymName());
  return callFibers(builder, loc, "launch", "vppiii",
                    {cast(function, pointer), captures,
                     toI64(launch.getGridSizeX()),
                     toI64(launch.getBlockSizeX()), bytes});
}

LogicalResult LaunchConversion::run(StringRef name, int64_t &site) {
  if (failed(checkShape()))
    return failure();
  getUsedValuesDefinedAbove(launch.getBody(), captured);
  for (Value value : captured)
    if (!converter.convertType(value.getType()))
      return launch.emitOpError("captures a value of type ") << value.getType();
  kernel.function = createFunction(name);
  moveBody();
  if (failed(createCall()))
    return failure();
  launch.erase();
  return FiberLowering(kernel, converter, site).run();
}

/// Memory of a block is memory like any other.
static void dropWorkgroupSpace(func::FuncOp function) {
  AttrTypeReplacer replacer;
  replacer.addReplacement([](MemRefType type) -> std::optional<Type> {
    if (!gpu::GPUDialect::isWorkgroupMemoryAddressSpace(type.getMemorySpace()))
      return std::nullopt;
    return MemRefType::get(type.getShape(), type.getElementType(),
                           type.getLayout());
  });
  replacer.recursivelyReplaceElementsIn(function, /*replaceAttrs=*/true,
                                        /*replaceLocs=*/false,
                                        /*replaceTypes=*/true);
}

namespace {

struct MoEKernelsToFibersPass
    : public moe::impl::MoEKernelsToFibersPassBase<MoEKernelsToFibersPass> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    SmallVector<gpu::LaunchOp> launches;
    module.walk([&](gpu::LaunchOp launch) { launches.push_back(launch); });

    LLVMTypeConverter converter(&getContext());
    addSymmToLLVMTypeConversions(converter);
    populateGpuMemorySpaceAttributeConversions(
        converter, [](gpu::AddressSpace) -> unsigned { return 0; });
    SymbolTable symbols(module);
    int64_t site = 0;
    for (auto [index, launch] : llvm::enumerate(launches)) {
      auto around = launch->getParentOfType<FunctionOpInterface>();
      std::string name = (around.getName() + "_fiber_" + Twine(index)).str();
      if (failed(LaunchConversion(launch, converter).run(name, site)))
        return signalPassFailure();
      dropWorkgroupSpace(module.lookupSymbol<func::FuncOp>(name));
    }
  }
};

} // namespace
