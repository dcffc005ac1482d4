//===- PutEachLowering.cpp - Copies of a row by a subgroup ----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "KernelLowering.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;

/// Lanes of a subgroup.
static constexpr int64_t kSubgroupSize = 32;

namespace {

/// Emits the copy of a row in chunks. A chunk is `count` vectors for each lane;
/// vectors of neighbouring lanes are neighbours in memory.
class RowCopies {
public:
  RowCopies(OpBuilder &builder, Location loc, int64_t team, int64_t width,
            int64_t maxHeld, bool coherent)
      : builder(builder), loc(loc), width(width), maxHeld(maxHeld),
        coherent(coherent), numLanes(team * kSubgroupSize) {}

  void run(Value source, Value target, Value rotation, int64_t lanes,
           Value member, int64_t bytes);

private:
  /// Copies `units` consecutive vectors at byte `offset` (i64) of the row.
  void copyChunk(Value offset, int64_t units);
  void forEachTarget(llvm::function_ref<void(Value)> body);
  Value broadcast(Value value, Value lane);
  SmallVector<Value> load(Value address, int64_t offset);
  void store(Value address, int64_t offset, ValueRange words);
  void onLowerLanes(int64_t count, llvm::function_ref<void()> body);

  Value i32(int64_t value) {
    return arith::ConstantIntOp::create(builder, loc, value, 32);
  }
  Value i64(int64_t value) {
    return arith::ConstantIntOp::create(builder, loc, value, 64);
  }
  Value add(Value a, Value b) {
    return arith::AddIOp::create(builder, loc, a, b);
  }

  /// A vector: its type in registers and in PTX.
  int64_t numWords() const { return std::max<int64_t>(width / 4, 1); }
  Type wordType() const {
    // One byte goes through a register of 16 bits.
    return builder.getIntegerType(width >= 4 ? 32 : 16);
  }
  std::string ptxType() const {
    if (width >= 8)
      return llvm::formatv("v{0}.b32", width / 4);
    return llvm::formatv("b{0}", width * 8);
  }
  /// "{$0,$1,$2,$3}", or "$0" for a single word.
  std::string ptxWords(int64_t first) const {
    std::string text = llvm::formatv("${0}", first);
    for (int64_t word = 1; word < numWords(); ++word)
      text += llvm::formatv(",${0}", first + word);
    return numWords() == 1 ? text : "{" + text + "}";
  }
  std::string constraints(StringRef prefix) const {
    std::string one = (prefix + (width >= 4 ? "r" : "h")).str(), text = one;
    for (int64_t word = 1; word < numWords(); ++word)
      text += "," + one;
    return text;
  }

  OpBuilder &builder;
  Location loc;
  int64_t width;
  int64_t maxHeld;  ///< vectors that a lane holds at a time
  bool coherent;    ///< whether others may have written the source
  int64_t numLanes; ///< of the team
  int64_t numTargets = 0;
  /// This lane's vector in the source row, its byte in any row, and the row
  /// this lane has to name.
  Value from, laneOffset, laneId, targetLow, targetHigh, firstTarget;
};

} // namespace

Value RowCopies::broadcast(Value value, Value lane) {
  return NVVM::ShflOp::create(builder, loc, builder.getI32Type(), i32(-1),
                              value, lane, i32(kSubgroupSize - 1),
                              NVVM::ShflKind::idx, UnitAttr());
}

void RowCopies::onLowerLanes(int64_t count, llvm::function_ref<void()> body) {
  Value condition = arith::CmpIOp::create(
      builder, loc, arith::CmpIPredicate::ult, laneId, i32(count));
  auto branch = scf::IfOp::create(builder, loc, condition);
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(branch.thenBlock());
  body();
}

SmallVector<Value> RowCopies::load(Value address, int64_t offset) {
  // Nobody reads a row twice, and what nobody writes while the kernel runs may
  // come by the read-only path.
  std::string text = llvm::formatv(
      "ld.global{0}.L1::no_allocate.{1} {2}, [${3}+{4}];",
      coherent ? "" : ".nc", ptxType(), ptxWords(0), numWords(), offset);
  Type type = wordType();
  if (numWords() > 1)
    type = LLVM::LLVMStructType::getLiteral(
        builder.getContext(), SmallVector<Type>(numWords(), type));
  Value loaded =
      LLVM::InlineAsmOp::create(
          builder, loc, type, address, text,
          constraints("=") + (coherent ? ",l,~{memory}" : ",l"),
          /*has_side_effects=*/true, /*is_align_stack=*/false,
          LLVM::TailCallKind::None, LLVM::AsmDialectAttr(), ArrayAttr())
          .getRes();
  if (numWords() == 1)
    return {loaded};
  SmallVector<Value> words;
  for (int64_t word = 0; word < numWords(); ++word)
    words.push_back(LLVM::ExtractValueOp::create(builder, loc, loaded, word));
  return words;
}

void RowCopies::store(Value address, int64_t offset, ValueRange words) {
  std::string text =
      llvm::formatv("st.global.L1::no_allocate.{0} [$0+{1}], {2};", ptxType(),
                    offset, ptxWords(1));
  SmallVector<Value> operands = {address};
  llvm::append_range(operands, words);
  LLVM::InlineAsmOp::create(builder, loc, TypeRange(), operands, text,
                            "l," + constraints("") + ",~{memory}",
                            /*has_side_effects=*/true, /*is_align_stack=*/false,
                            LLVM::TailCallKind::None, LLVM::AsmDialectAttr(),
                            ArrayAttr());
}

void RowCopies::forEachTarget(llvm::function_ref<void(Value)> body) {
  auto loop = scf::ForOp::create(builder, loc, i32(0), i32(numTargets), i32(1));
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(loop.getBody());
  Value sum = add(loop.getInductionVar(), firstTarget);
  Value rest = arith::SubIOp::create(builder, loc, sum, i32(numTargets));
  Value wraps = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::uge,
                                      sum, i32(numTargets));
  Value lane = arith::SelectOp::create(builder, loc, wraps, rest, sum);
  Type i64Type = builder.getI64Type();
  Value low =
      arith::ExtUIOp::create(builder, loc, i64Type, broadcast(targetLow, lane));
  Value high = arith::ExtUIOp::create(builder, loc, i64Type,
                                      broadcast(targetHigh, lane));
  Value target = arith::OrIOp::create(
      builder, loc, low, arith::ShLIOp::create(builder, loc, high, i64(32)));
  Value exists = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::ne,
                                       target, i64(0));
  auto branch = scf::IfOp::create(builder, loc, exists);
  builder.setInsertionPointToStart(branch.thenBlock());
  body(add(target, laneOffset));
}

void RowCopies::copyChunk(Value offset, int64_t units) {
  Value address = add(from, offset);
  int64_t whole = units / numLanes, rest = units % numLanes;
  int64_t step = numLanes * width;
  SmallVector<SmallVector<Value>> vectors;
  for (int64_t i = 0; i < whole; ++i)
    vectors.push_back(load(address, i * step));
  if (rest) {
    // Lanes past the end read the first lane's vector and do not store it.
    Value inside = arith::CmpIOp::create(
        builder, loc, arith::CmpIPredicate::ult, laneId, i32(rest));
    Value back =
        arith::SelectOp::create(builder, loc, inside, i64(0), laneOffset);
    vectors.push_back(
        load(arith::SubIOp::create(builder, loc, address, back), whole * step));
  }
  forEachTarget([&](Value target) {
    Value to = add(target, offset);
    for (int64_t i = 0; i < whole; ++i)
      store(to, i * step, vectors[i]);
    if (rest)
      onLowerLanes(rest, [&] { store(to, whole * step, vectors[whole]); });
  });
}

void RowCopies::run(Value source, Value target, Value rotation, int64_t lanes,
                    Value member, int64_t bytes) {
  numTargets = lanes;
  firstTarget = rotation;
  laneId = NVVM::LaneIdOp::create(builder, loc, builder.getI32Type());
  if (numLanes > kSubgroupSize)
    laneId = add(laneId, arith::MulIOp::create(builder, loc, member,
                                               i32(kSubgroupSize)));
  laneOffset = arith::MulIOp::create(
      builder, loc,
      arith::ExtUIOp::create(builder, loc, builder.getI64Type(), laneId),
      i64(width));
  from = add(source, laneOffset);
  targetLow =
      arith::TruncIOp::create(builder, loc, builder.getI32Type(), target);
  targetHigh = arith::TruncIOp::create(
      builder, loc, builder.getI32Type(),
      arith::ShRUIOp::create(builder, loc, target, i64(32)));

  // The chunk that leaves the shortest rest, the longest one first.
  int64_t units = bytes / width;
  int64_t perLane = units / numLanes;
  if (units <= maxHeld * numLanes)
    return copyChunk(i64(0), units);
  int64_t held = std::min(std::max<int64_t>(perLane, 1), maxHeld);
  for (int64_t count = held; count > maxHeld / 2; --count)
    if (perLane % count < perLane % held)
      held = count;
  int64_t chunkUnits = held * numLanes, numChunks = units / chunkUnits;
  if (numChunks > 1) {
    auto loop =
        scf::ForOp::create(builder, loc, i64(0), i64(numChunks), i64(1));
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(loop.getBody());
    Value offset = arith::MulIOp::create(builder, loc, loop.getInductionVar(),
                                         i64(chunkUnits * width));
    copyChunk(offset, chunkUnits);
  } else if (numChunks == 1) {
    copyChunk(i64(0), chunkUnits);
  }
  if (int64_t rest = units % chunkUnits)
    copyChunk(i64(numChunks * chunkUnits * width), rest);
}

void moe::createRowCopies(OpBuilder &builder, Location loc, Value source,
                          Value target, Value rotation, int64_t lanes,
                          Value member, int64_t team, int64_t bytes,
                          int64_t width, int64_t maxHeld, bool coherent) {
  if (bytes > 0)
    RowCopies(builder, loc, team, width, maxHeld, coherent)
        .run(source, target, rotation, lanes, member, bytes);
}
