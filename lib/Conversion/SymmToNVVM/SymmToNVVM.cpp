//===- SymmToNVVM.cpp - symm ops of a kernel ------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DeviceLibrary.h"
#include "KernelLowering.h"

#include "moe-mlir/Conversion/SymmToNVVM/SymmToNVVM.h"

#include "mlir/Conversion/LLVMCommon/MemRefBuilder.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Interfaces/DataLayoutInterfaces.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::moe;

/// Address space of global memory.
static constexpr unsigned kGlobalSpace = 1;

KernelLowering::KernelLowering(gpu::GPUFuncOp kernel,
                               const LLVMTypeConverter &converter,
                               DeviceStrings &strings,
                               AssertionSites &assertions, LaunchPlace place)
    : rewriter(kernel.getContext()), kernel(kernel), converter(converter),
      strings(strings), assertions(assertions), place(place),
      loc(kernel.getLoc()) {}

//===----------------------------------------------------------------------===//
// Values and addresses
//===----------------------------------------------------------------------===//

Value KernelLowering::i32(int32_t value) {
  return arith::ConstantIntOp::create(rewriter, loc, value, 32);
}

Value KernelLowering::i64(int64_t value) {
  return arith::ConstantIntOp::create(rewriter, loc, value, 64);
}

Value KernelLowering::toI64(Value index) {
  return arith::IndexCastOp::create(rewriter, loc, rewriter.getI64Type(),
                                    index);
}

Value KernelLowering::toI32(Value index) {
  return arith::IndexCastOp::create(rewriter, loc, rewriter.getI32Type(),
                                    index);
}

Value KernelLowering::phaseIndex() {
  return i32(place.phase ? strings.getIndex(place.phase) : -1);
}

Value KernelLowering::siteNumber() {
  return site ? site : i32(static_cast<int32_t>(place.site));
}

Value KernelLowering::call(StringRef name, Type result, ValueRange args) {
  auto op = LLVM::CallOp::create(
      rewriter, loc, result ? TypeRange(result) : TypeRange(),
      FlatSymbolRefAttr::get(rewriter.getContext(), name), args);
  return result ? op.getResult() : Value();
}

/// For an op whose result is optional.
void KernelLowering::replaceOrErase(Operation *op, Value value) {
  if (op->getNumResults() == 0)
    return rewriter.eraseOp(op);
  rewriter.replaceOp(op, value);
}

Type KernelLowering::globalPointer() {
  return LLVM::LLVMPointerType::get(rewriter.getContext(), kGlobalSpace);
}

Value KernelLowering::toGlobal(Value pointer) {
  return LLVM::AddrSpaceCastOp::create(rewriter, loc, globalPointer(), pointer);
}

int64_t KernelLowering::rowBytes(MemRefType type) {
  return ShapedType::getNumElements(type.getShape().drop_front()) *
         DataLayout::closest(kernel)
             .getTypeSize(converter.convertType(type.getElementType()))
             .getFixedValue();
}

Value KernelLowering::rowAddress(Value buffer, Value row) {
  auto type = cast<MemRefType>(buffer.getType());
  Value descriptor = UnrealizedConversionCastOp::create(
                         rewriter, loc, converter.convertType(type), buffer)
                         .getResult(0);
  Value base =
      MemRefDescriptor(descriptor).bufferPtr(rewriter, loc, converter, type);
  Value bytes =
      arith::MulIOp::create(rewriter, loc, toI64(row), i64(rowBytes(type)));
  return offsetBytes(toGlobal(base), bytes);
}

Value KernelLowering::offsetBytes(Value pointer, Value bytes) {
  return LLVM::GEPOp::create(rewriter, loc, pointer.getType(),
                             rewriter.getI8Type(), pointer,
                             ArrayRef<LLVM::GEPArg>{bytes});
}

Value KernelLowering::onPeer(Value pointer, Value peer) {
  Value ranks = arith::SubIOp::create(rewriter, loc, peer, rank);
  return offsetBytes(pointer,
                     arith::MulIOp::create(rewriter, loc, ranks, stride));
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

void KernelLowering::lower(symm::PeerOp op) {
  auto type = cast<MemRefType>(op.getBuffer().getType());
  Value given = UnrealizedConversionCastOp::create(
                    rewriter, loc, converter.convertType(type), op.getBuffer())
                    .getResult(0);
  MemRefDescriptor descriptor(given);
  Value pointer =
      onPeer(descriptor.alignedPtr(rewriter, loc), toI64(op.getRank()));
  descriptor.setAllocatedPtr(rewriter, loc, pointer);
  descriptor.setAlignedPtr(rewriter, loc, pointer);
  rewriter.replaceOpWithNewOp<UnrealizedConversionCastOp>(op, op.getType(),
                                                          Value(descriptor));
}

/// The widest access of up to 16 bytes that rows of `type` are aligned to.
static int64_t getAccessWidth(MemRefType type, int64_t rowBytes,
                              int64_t elementBytes) {
  SmallVector<int64_t> strides;
  int64_t offset;
  if (failed(type.getStridesAndOffset(strides, offset)) ||
      ShapedType::isDynamic(offset))
    return elementBytes;
  int64_t offsetBytes = offset * elementBytes;
  return std::min<int64_t>(
      16, static_cast<int64_t>(
              llvm::MinAlign(rowBytes, offsetBytes == 0 ? 16 : offsetBytes)));
}

int64_t KernelLowering::maxHeldVectors() {
  auto size = kernel.getKnownBlockSize();
  return getMaxHeldVectors(size ? size->front() : 1);
}

Value KernelLowering::targetAddress(symm::PutEachOp op) {
  Value row = rowAddress(op.getTarget(), op.getTo());
  if (!symm::isSymmetric(op.getTarget().getType()))
    return row;
  return onPeer(row, toI64(op.getRank()));
}

void KernelLowering::lower(symm::PutEachOp op) {
  if (symm::isStage(op.getSource().getType()))
    return putStage(op);
  auto sourceType = cast<MemRefType>(op.getSource().getType());
  auto targetType = cast<MemRefType>(op.getTarget().getType());
  int64_t bytes = rowBytes(sourceType);
  int64_t elementBytes =
      DataLayout::closest(kernel)
          .getTypeSize(converter.convertType(sourceType.getElementType()))
          .getFixedValue();
  elementBytes = std::min<int64_t>(elementBytes, 16);
  int64_t width = std::min(getAccessWidth(sourceType, bytes, elementBytes),
                           getAccessWidth(targetType, bytes, elementBytes));

  auto address = [&](Value pointer) -> Value {
    return LLVM::PtrToIntOp::create(rewriter, loc, rewriter.getI64Type(),
                                    pointer);
  };
  Value source = address(rowAddress(op.getSource(), op.getFrom()));
  Value target = address(targetAddress(op));
  Value exists = arith::CmpIOp::create(rewriter, loc, arith::CmpIPredicate::sge,
                                       toI64(op.getTo()), i64(0));
  target = arith::SelectOp::create(rewriter, loc, exists, target, i64(0));
  Value rotation =
      arith::RemUIOp::create(rewriter, loc, toI32(op.getRotation()),
                             i32(static_cast<int32_t>(op.getLanes())));
  Value member = op.getMember() ? toI32(op.getMember()) : i32(0);
  createRowCopies(rewriter, loc, source, target, rotation, op.getLanes(),
                  member, op.getTeam(), bytes * op.getRows(), width,
                  maxHeldVectors(), op.getCoherent());
  rewriter.eraseOp(op);
}

void KernelLowering::lower(symm::NextEpochOp op) {
  Value pointer = rowAddress(op.getCounter(),
                             arith::ConstantIndexOp::create(rewriter, loc, 0));
  Value last =
      LLVM::LoadOp::create(rewriter, loc, rewriter.getI64Type(), pointer);
  Value next = arith::AddIOp::create(rewriter, loc, last, i64(1));
  LLVM::StoreOp::create(rewriter, loc, next, pointer);
  rewriter.replaceOp(op, next);
}

//===----------------------------------------------------------------------===//
// Synchronisation
//===----------------------------------------------------------------------===//

void KernelLowering::lower(symm::SignalOp op) {
  Value flag =
      onPeer(rowAddress(op.getFlags(), op.getIndex()), toI64(op.getRank()));
  // Release is cumulative: it covers what the other threads of the block stored
  // before its last barrier.
  LLVM::StoreOp::create(rewriter, loc, op.getValue(), flag, /*alignment=*/8,
                        /*isVolatile=*/false, /*isNonTemporal=*/false,
                        /*isInvariantGroup=*/false,
                        op.getRelaxed() ? LLVM::AtomicOrdering::monotonic
                                        : LLVM::AtomicOrdering::release);
  rewriter.eraseOp(op);
}

void KernelLowering::lower(symm::WaitOp op) {
  Value flag = rowAddress(op.getFlags(), op.getIndex());
  Value what = i32(strings.getIndex(rewriter.getStringAttr("signal")));
  Value seen = call(kWaitName, rewriter.getI64Type(),
                    {flag, op.getValue(), timeout, status, siteNumber(),
                     phaseIndex(), what, toI32(op.getPeer())});
  replaceOrErase(op, seen);
}

void KernelLowering::lower(symm::GridBarrierOp op) {
  Value counter = rowAddress(op.getCounter(),
                             arith::ConstantIndexOp::create(rewriter, loc, 0));
  Value what = i32(strings.getIndex(rewriter.getStringAttr("blocks arrived")));
  Value met =
      call(kGridBarrierName, rewriter.getI1Type(),
           {counter, timeout, status, siteNumber(), phaseIndex(), what});
  replaceOrErase(op, met);
}

void KernelLowering::lower(symm::PostOp op) {
  Value bits = i64(32);
  Type i64Type = rewriter.getI64Type();
  Value word = arith::OrIOp::create(
      rewriter, loc, arith::ShLIOp::create(rewriter, loc, op.getEpoch(), bits),
      arith::ExtUIOp::create(rewriter, loc, i64Type, op.getValue()));
  Value address = rowAddress(op.getWords(), op.getIndex());
  LLVM::StoreOp::create(rewriter, loc, word, address, /*alignment=*/8,
                        /*isVolatile=*/false, /*isNonTemporal=*/false,
                        /*isInvariantGroup=*/false,
                        LLVM::AtomicOrdering::monotonic, "device");
  rewriter.eraseOp(op);
}

void KernelLowering::lower(symm::CollectOp op) {
  Value address = rowAddress(op.getWords(), op.getIndex());
  Value what =
      i32(strings.getIndex(rewriter.getStringAttr("signal of a block")));
  Value word = call(kCollectName, rewriter.getI64Type(),
                    {address, op.getEpoch(), timeout, status, siteNumber(),
                     phaseIndex(), what});
  Value value =
      arith::TruncIOp::create(rewriter, loc, rewriter.getI32Type(), word);
  Value tag = arith::ShRUIOp::create(rewriter, loc, word, i64(32));
  Type tagType = rewriter.getI32Type();
  Value isPosted = arith::CmpIOp::create(
      rewriter, loc, arith::CmpIPredicate::eq,
      arith::TruncIOp::create(rewriter, loc, tagType, tag),
      arith::TruncIOp::create(rewriter, loc, tagType, op.getEpoch()));
  rewriter.replaceOp(op, {value, isPosted});
}

void KernelLowering::lower(symm::TakeOp op) {
  Value word = rowAddress(op.getCounters(), op.getIndex());
  rewriter.replaceOpWithNewOp<LLVM::AtomicRMWOp>(
      op, LLVM::AtomicBinOp::add, word, i64(1), LLVM::AtomicOrdering::monotonic,
      "device", /*alignment=*/8);
}

void KernelLowering::lower(symm::MarkOp op) {
  Value word = elementAddress(op.getWords(), op.getIndex());
  LLVM::AtomicRMWOp::create(rewriter, loc, LLVM::AtomicBinOp::_or, word,
                            op.getBits(), LLVM::AtomicOrdering::monotonic,
                            "block", /*alignment=*/4);
  rewriter.eraseOp(op);
}

//===----------------------------------------------------------------------===//
// Errors
//===----------------------------------------------------------------------===//

void KernelLowering::lower(symm::CheckOp op) {
  Value yes = arith::ConstantIntOp::create(rewriter, loc, 1, 1);
  Value fails = arith::XOrIOp::create(rewriter, loc, op.getCondition(), yes);
  auto branch = scf::IfOp::create(rewriter, loc, fails);
  rewriter.setInsertionPointToStart(branch.thenBlock());
  auto narrowed = [&](Value value) { return value ? toI32(value) : i32(-1); };
  Value least = op.getLeast() ? op.getLeast() : i64(INT64_MIN);
  call(kRecordName, {},
       {status, i32(static_cast<int32_t>(op.getFailure())), siteNumber(),
        phaseIndex(), i32(strings.getIndex(op.getWhatAttr())),
        narrowed(op.getPeer()), op.getExpected(), op.getSeen(), least,
        narrowed(op.getToken()), narrowed(op.getSlot())});
  rewriter.eraseOp(op);
}

void KernelLowering::lower(symm::FailedOp op) {
  Value code = LLVM::LoadOp::create(rewriter, loc, rewriter.getI32Type(),
                                    status, /*alignment=*/4,
                                    /*isVolatile=*/true);
  rewriter.replaceOpWithNewOp<arith::CmpIOp>(op, arith::CmpIPredicate::ne, code,
                                             i32(0));
}

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

LogicalResult KernelLowering::lower(Operation *op) {
  rewriter.setInsertionPoint(op);
  loc = op->getLoc();
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case<symm::PeerOp, symm::NextEpochOp, symm::SignalOp, symm::WaitOp,
            symm::CheckOp, symm::PutEachOp, symm::GridBarrierOp, symm::FailedOp,
            symm::PostOp, symm::CollectOp, symm::TakeOp, symm::MarkOp,
            symm::StageInitOp, symm::StageExpectOp, symm::StageArriveOp,
            symm::StageWaitOp, symm::FetchOp, symm::PutWaitOp,
            symm::BulkFenceOp, symm::JoinLoadsOp, cf::AssertOp>([&](auto op) {
        lower(op);
        return success();
      })
      .Case([&](symm::RankOp op) {
        rewriter.replaceOpWithNewOp<arith::IndexCastOp>(
            op, rewriter.getIndexType(), rank);
        return success();
      })
      .Case([&](symm::PhaseOp op) {
        place.phase = op.getPhaseAttr();
        rewriter.eraseOp(op);
        return success();
      })
      .Default([](Operation *op) {
        return op->emitOpError("is not supported in a GPU kernel");
      });
}

LogicalResult KernelLowering::run() {
  Type i64Type = rewriter.getI64Type();
  Type pointer = LLVM::LLVMPointerType::get(rewriter.getContext());
  unsigned first = kernel.getNumArguments();
  SmallVector<Type> types = {i64Type, i64Type, i64Type, pointer};
  if (place.siteArgument)
    types.push_back(rewriter.getI32Type());
  for (Type type : types)
    if (failed(kernel.insertArgument(kernel.getNumArguments(), type,
                                     /*argAttrs=*/{}, kernel.getLoc())))
      return failure();
  rank = kernel.getArgument(first);
  stride = kernel.getArgument(first + 1);
  timeout = kernel.getArgument(first + 2);
  if (place.siteArgument)
    site = kernel.getArgument(first + 4);
  rewriter.setInsertionPointToStart(&kernel.getBody().front());
  status = toGlobal(kernel.getArgument(first + 3));

  // In the order of the text: a phase begins where its op stands.
  SmallVector<Operation *> ops;
  bool isExchange = false;
  kernel.walk<WalkOrder::PreOrder>([&](Operation *op) {
    bool isSymm = isa_and_present<symm::SymmDialect>(op->getDialect());
    isExchange |= isSymm;
    if (isSymm || isa<cf::AssertOp>(op))
      ops.push_back(op);
  });
  // One block per multiprocessor is enough: registers before occupancy.
  if (isExchange)
    kernel->setAttr(NVVM::NVVMDialect::getMinctasmAttrName(),
                    rewriter.getI32IntegerAttr(1));
  else
    leaveAfterError();
  for (Operation *op : ops)
    if (failed(lower(op)))
      return failure();
  return success();
}
