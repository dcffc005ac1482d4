//===- DispatchMarks.cpp - rows by expert of few tokens, counted ----------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DispatchRows.h"

#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace mlir::moe;

/// Sets a bit for each key and token, so that repeated experts of a token count
/// once, and checks all ids (placement_s2). Experts and weights of the block's
/// own tokens are merged beside that.
void DispatchRows::markTokens() {
  Type id = cast<MemRefType>(op.getTopkIdx().getType()).getElementType();
  int64_t words = wordsPerKey();
  marks = b.workgroup({numKeys() * words}, b.getI32Type());
  status = b.workgroup({1}, b.getI32Type());
  b.forThreads(b.index(numKeys() * words),
               [&](Value word) { b.store(b.i32(0), marks, {word}); });
  b.onThread(b.index(0), [&] { b.store(b.i32(0), status, b.index(0)); });
  routeTokens();
  Value perToken = b.index(topK), lanes = b.index(kSubgroupSize);
  b.forThreads(b.mul(numTokens, perToken), [&](Value i) {
    Value token = arith::DivUIOp::create(b, i, perToken);
    Value k = arith::RemUIOp::create(b, i, perToken);
    Value expert = b.load(op.getTopkIdx(), {token, k});
    Value isNone = b.cmp(Pred::eq, expert, b.integer(id, -1));
    Value key = b.toIndex(expert);
    Value inRange = b.cmp(Pred::ult, key, b.index(placement.numExperts));
    b.ifThen(inRange, [&] {
      Value word = b.add(b.mul(key, b.index(words)),
                         arith::DivUIOp::create(b, token, lanes));
      symm::MarkOp::create(b, marks, word, bitOf(token));
    });
    // In each block, so that the first one has recorded why it then tells all
    // ranks that this one has failed.
    Value isFine = arith::OrIOp::create(b, inRange, isNone);
    b.check(isFine, symm::Failure::invalid_expert, "expert id",
            {b.index(placement.numExperts - 1), expert, Value(), b.index(-1),
             token, k});
    b.ifThen(b.cmp(Pred::eq, isFine, b.integer(b.getI1Type(), 0)),
             [&] { b.store(b.i32(1), status, b.index(0)); });
  });
  b.syncBlock();
}

Value DispatchRows::numMarked(Value key) {
  Value first = b.mul(key, b.index(wordsPerKey())), sum = b.index(0);
  for (int64_t word = 0; word < wordsPerKey(); ++word)
    sum = b.add(sum, b.countBits(b.load(marks, {b.add(first, b.index(word))})));
  return sum;
}

Value DispatchRows::numMarkedBefore(Value token, Value key) {
  Value ownWord = arith::DivUIOp::create(b, token, b.index(kSubgroupSize));
  Value below = b.sub(bitOf(token), b.i32(1));
  Value first = b.mul(key, b.index(wordsPerKey())), sum = b.index(0);
  for (int64_t word = 0; word < wordsPerKey(); ++word) {
    Value here = b.index(word);
    Value mask = b.select(b.cmp(Pred::eq, here, ownWord), below, b.i32(-1));
    mask = b.select(b.cmp(Pred::ugt, here, ownWord), b.i32(0), mask);
    Value marked = b.load(marks, {b.add(first, here)});
    sum = b.add(sum, b.countBits(arith::AndIOp::create(b, marked, mask)));
  }
  return sum;
}
