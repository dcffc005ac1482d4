//===- DispatchKernelPad.cpp - rows that no rank has put, by a kernel -----===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DispatchKernel.h"

using namespace mlir;
using namespace mlir::moe;

/// With `reuse`: what rows there are is known when all blocks of all ranks are
/// done, which the blocks of this rank have waited for together.
void DispatchKernel::padByRuns() {
  b.phase("pad");
  Value haveMetAgain =
      symm::GridBarrierOp::create(b, b.getI1Type(), barrierCounter).getMet();
  // Each lane looks at a row, as long as that leaves no subgroup without any.
  // Rows that are far apart: those that were put are neighbours.
  int64_t lanes = std::clamp<int64_t>(
      llvm::divideCeil(capacity, maxSubgroups()), 1, kSubgroupSize);
  Value groups = b.index(llvm::divideCeil(capacity, lanes));
  auto rowAt = [&](Value lane, Value group) {
    return b.add(b.mul(lane, groups), group);
  };
  b.ifThen(haveMetAgain, [&] {
    KernelBuilder::FirstItem own = b.ownItems(b.numSubgroups());
    b.step(own.item, groups, own.begun, [&](Value group) {
      Value row = rowAt(b.lane(), group), no = b.integer(b.getI1Type(), 0);
      Value isRow = b.both(b.cmp(Pred::ult, b.lane(), b.index(lanes)),
                           b.cmp(Pred::ult, row, b.index(capacity)));
      auto look = scf::IfOp::create(b, TypeRange{b.getI1Type()}, isRow,
                                    /*withElseRegion=*/true);
      {
        OpBuilder::InsertionGuard guard(b);
        b.setInsertionPointToStart(look.thenBlock());
        scf::YieldOp::create(b, padding->isEmpty(row, epoch));
        b.setInsertionPointToStart(look.elseBlock());
        scf::YieldOp::create(b, no);
      }
      Value empty = b.ballot(look.getResult(0));
      b.loop(lanes, [&](Value lane) {
        Value bit = arith::ShLIOp::create(b, b.i32(1),
                                          b.fromIndex(lane, b.getI32Type()));
        Value isEmpty =
            b.cmp(Pred::ne, arith::AndIOp::create(b, empty, bit), b.i32(0));
        b.ifThen(isEmpty, [&] { padRow(rowAt(lane, group)); });
      });
    });
  });
}
