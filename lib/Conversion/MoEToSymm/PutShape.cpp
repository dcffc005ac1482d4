//===- PutShape.cpp - how rows are shared out to be put
//--------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PutShape.h"

using namespace mlir;
using namespace mlir::moe;

void PutShape::forShares(KernelBuilder &b, Value tickets, Value epoch,
                         Value items, Value haveBegun,
                         llvm::function_ref<void(const Share &)> body) const {
  if (numOwners(b) == 0)
    return;
  Value owners = b.index(numOwners(b)), parts = b.index(team);
  Value turns = b.select(haveBegun, b.mul(items, owners), b.index(0));
  auto putShare = [&](Value share) {
    Value turn = arith::DivUIOp::create(b, share, parts);
    Value member = arith::RemUIOp::create(b, share, parts);
    Value owner =
        b.rotated(b.add(arith::RemUIOp::create(b, turn, owners), b.index(1)));
    body({owner, arith::DivUIOp::create(b, turn, owners), member});
  };
  if (isOneRound) {
    // More than one where fewer blocks run than were planned.
    KernelBuilder::FirstItem first = b.ownItems(putters);
    return b.step(first.item, b.mul(turns, parts), first.begun, putShare);
  }
  auto take = [&](Value share, ValueRange, llvm::function_ref<Value()>) {
    putShare(share);
    return SmallVector<Value>();
  };
  b.ifThen(b.cmp(arith::CmpIPredicate::ult, b.subgroup(), b.index(putters)),
           [&] {
             b.forTickets(tickets, epoch, b.mul(turns, parts),
                          b.ownItems(putters), ValueRange(), take);
           });
}
