//===- KernelLowering.h - symm ops of a kernel ------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CONVERSION_SYMMTONVVM_KERNELLOWERING_H
#define MOE_LIB_CONVERSION_SYMMTONVVM_KERNELLOWERING_H

#include "AssertLowering.h"

#include "moe-mlir/Dialect/Symm/IR/Symm.h"

#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/PatternMatch.h"
#include "llvm/ADT/SetVector.h"

namespace mlir::moe {

/// The strings of a module that records refer to by index.
class DeviceStrings {
public:
  int32_t getIndex(StringAttr text) {
    strings.insert(text);
    return std::distance(strings.begin(), llvm::find(strings, text));
  }
  ArrayRef<Attribute> get() const { return strings.getArrayRef(); }

private:
  llvm::SmallSetVector<Attribute, 16> strings;
};

/// Where in the program a kernel is launched, for its error records.
struct LaunchPlace {
  int64_t site = -1;
  /// The number of the collective where it is an argument of the function that
  /// launches: several collectives call that one. Otherwise null.
  Value siteArgument;
  StringAttr phase; ///< null: none yet
};

/// Lowers the symm ops and assertions of one kernel. The kernel gets four more
/// parameters: the rank, the bytes between the workspaces of two ranks, the
/// bound of waits and the error record; and a fifth, the number of the
/// collective, where that is not the same for all launches.
class KernelLowering {
public:
  KernelLowering(gpu::GPUFuncOp kernel, const LLVMTypeConverter &converter,
                 DeviceStrings &strings, AssertionSites &assertions,
                 LaunchPlace place);

  LogicalResult run();
  /// Whether the kernel accesses memory of other ranks.
  bool reachesPeers() { return !stride.use_empty(); }

private:
  LogicalResult lower(Operation *op);
  void lower(symm::PeerOp op);
  void lower(symm::NextEpochOp op);
  void lower(symm::SignalOp op);
  void lower(symm::WaitOp op);
  void lower(symm::CheckOp op);
  void lower(symm::PutEachOp op);
  void lower(symm::StageInitOp op);
  void lower(symm::StageExpectOp op);
  void lower(symm::StageArriveOp op);
  void lower(symm::StageWaitOp op);
  void lower(symm::FetchOp op);
  void lower(symm::PutWaitOp op);
  void lower(symm::BulkFenceOp op);
  void lower(symm::JoinLoadsOp op);
  void putStage(symm::PutEachOp op);
  int64_t maxHeldVectors();
  void lower(symm::GridBarrierOp op);
  void lower(symm::PostOp op);
  void lower(symm::CollectOp op);
  void lower(symm::TakeOp op);
  void lower(symm::MarkOp op);
  void lower(symm::FailedOp op);
  void lower(cf::AssertOp op);
  void leaveAfterError();

  // Values.
  Value i32(int32_t value);
  Value i64(int64_t value);
  Value toI64(Value index);
  Value toI32(Value index);
  Value phaseIndex();
  Value siteNumber();
  Value opaqueZero();
  Value call(StringRef name, Type result, ValueRange args);
  void replaceOrErase(Operation *op, Value value);

  // Addresses in workgroup memory.
  Value elementAddress(Value buffer, ValueRange indices);
  Value counterAddress(Value counters, Value index);

  // Addresses, in global memory.
  Type globalPointer();
  Value toGlobal(Value pointer);
  /// Address of row `row` of `buffer`; rows are contiguous.
  Value rowAddress(Value buffer, Value row);
  Value offsetBytes(Value pointer, Value bytes);
  /// What lies at `pointer` on this rank, on rank `peer` (i64).
  Value onPeer(Value pointer, Value peer);
  /// Where this lane's row goes.
  Value targetAddress(symm::PutEachOp op);
  int64_t rowBytes(MemRefType type);

  IRRewriter rewriter;
  gpu::GPUFuncOp kernel;
  const LLVMTypeConverter &converter;
  DeviceStrings &strings;
  AssertionSites &assertions;
  LaunchPlace place;
  Location loc;
  Value rank, stride, timeout, status, site;
};

/// Copies a row of `bytes` bytes at `source`, the same on all lanes of a
/// subgroup, to the address that each of the first `lanes` lanes has in
/// `target`, 0 for none. Addresses are i64, in global memory; `rotation` is the
/// lane (i32, less than `lanes`) to start with. The row is shared by `team`
/// subgroups, of which this is number `member` (i32). `width` divides the bytes
/// and the addresses. A lane has at most `maxHeld` vectors in flight. Where the
/// source is `coherent`, others may have written it since the kernel began.
void createRowCopies(OpBuilder &builder, Location loc, Value source,
                     Value target, Value rotation, int64_t lanes, Value member,
                     int64_t team, int64_t bytes, int64_t width,
                     int64_t maxHeld, bool coherent);

} // namespace mlir::moe

#endif // MOE_LIB_CONVERSION_SYMMTONVVM_KERNELLOWERING_H
