//===- PtxMeetings.cpp - barriers and subgroups of kernels in PTX ---------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PtxAlu.h"
#include "PtxGrid.h"

using namespace moe::standin;

void Grid::arrive(Thread &thread, const Instruction &op, State state) {
  thread.state = state;
  thread.at = &op;
  for (int i = 0; i < op.numSrc && i < 4; ++i) {
    // shfl's third operand says how lanes are divided: not at all.
    bool isClamp = op.op == Op::Shfl && i == 2;
    uint64_t value = read(thread, op.src[i]);
    if (isClamp && value != 31)
      fail(thread, "a shuffle among parts of a subgroup");
    if (!isClamp)
      thread.operands[i == 3 ? 2 : i] = value;
  }
  if (state == State::AtMeeting)
    return meetSubgroup(thread);
  ++thread.block->numAtBarrier;
  meetBlock(*thread.block);
}

void Grid::release(Thread &thread, uint64_t result) {
  const Instruction &op = *thread.at;
  if (op.numDst > 0)
    write(thread, op.dst[0], result);
  if (op.numDst > 1)
    write(thread, op.dst[1], 1);
  thread.state = State::Running;
  ++thread.frames.back().pc;
}

/// Goes on when all threads of the block that are left are at a barrier.
void Grid::meetBlock(Block &block) {
  if (block.numAtBarrier + block.numEnded < block.threads.size())
    return;
  const Thread *first = nullptr;
  bool all = true, any = false;
  for (Thread &thread : block.threads) {
    if (thread.state == State::Ended)
      continue;
    first = first ? first : &thread;
    if (thread.operands[0] != 0)
      fail(thread, "another barrier than number 0");
    if (thread.at->op != first->at->op || thread.at->flag != first->at->flag)
      fail(thread, "is at another barrier than the rest of its block");
    all &= (thread.operands[1] & 1) != 0;
    any |= (thread.operands[1] & 1) != 0;
  }
  block.numAtBarrier = 0;
  for (Thread &thread : block.threads)
    if (thread.state == State::AtBarrier)
      release(thread, thread.at->flag ? all : any);
}

/// Goes on when all lanes that one of them names are at the same instruction.
void Grid::meetSubgroup(Thread &thread) {
  const Instruction &op = *thread.at;
  auto maskOf = [&](const Thread &each) {
    return lowBits(each.operands[op.op == Op::BarWarp ? 0
                                 : op.op == Op::Shfl  ? 2
                                                      : 1],
                   subgroup);
  };
  uint64_t mask = maskOf(thread);
  if (!(mask >> thread.lane() & 1))
    fail(thread, "is not among the lanes that it names");
  size_t first = size_t(thread.number - thread.lane());
  Thread *lanes[subgroup] = {};
  for (int i = 0; i < subgroup; ++i) {
    if (!(mask >> i & 1))
      continue;
    if (first + i >= thread.block->threads.size())
      fail(thread, "names lanes that there are not");
    Thread &lane = thread.block->threads[first + i];
    if (lane.state == State::Ended)
      fail(thread, "names lane " + std::to_string(i) + ", which has ended");
    if (lane.state != State::AtMeeting || lane.at != thread.at)
      return;
    if (maskOf(lane) != mask)
      fail(thread, "names other lanes than lane " + std::to_string(i));
    lanes[i] = &lane;
  }
  uint64_t ballot = 0, sum = 0;
  for (int i = 0; i < subgroup; ++i)
    if (lanes[i]) {
      ballot |= (lanes[i]->operands[0] & 1) << i;
      sum += lanes[i]->operands[0];
    }
  uint64_t results[subgroup] = {};
  for (int i = 0; i < subgroup; ++i) {
    if (!lanes[i])
      continue;
    const Thread *source = lanes[lanes[i]->operands[1] % subgroup];
    if (op.op == Op::Shfl && !source)
      fail(*lanes[i], "shuffles from a lane that is not there");
    results[i] = op.op == Op::Shfl   ? lowBits(source->operands[0], 32)
                 : op.op == Op::Vote ? ballot
                                     : lowBits(sum, 32);
  }
  for (int i = 0; i < subgroup; ++i)
    if (lanes[i])
      release(*lanes[i], results[i]);
}
