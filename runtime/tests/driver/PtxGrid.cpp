//===- PtxGrid.cpp - the threads of a kernel in PTX -----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PtxGrid.h"

#include "PtxAlu.h"

#include <algorithm>
#include <cstring>
#include <ctime>

using namespace moe::standin;

/// What a register holds before it is written.
static constexpr uint64_t noise = 0xfeedfacecafebeef;

uint64_t Lot::next() {
  // SplitMix64.
  uint64_t z = state += 0x9e3779b97f4a7c15;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

Grid::Grid(const Program &program, const Function &kernel,
           const GridShape &shape, const std::vector<char> &arguments,
           uint64_t seed)
    : program(program), kernel(kernel), shape(shape), lot(seed), seed(seed) {
  size_t words = (size_t(program.sharedBytes + shape.sharedBytes) + 7) / 8;
  for (int64_t b = 0; b < shape.blocks; ++b) {
    Block &block = blocks.emplace_back();
    block.number = b;
    for (size_t i = 0; i < words; ++i)
      block.shared.push_back(lot.next());
    block.threads.resize(size_t(shape.threads));
    for (int64_t t = 0; t < shape.threads; ++t) {
      Thread &thread = block.threads[t];
      thread.block = &block;
      thread.number = static_cast<int>(t);
      Frame &frame = thread.frames.emplace_back();
      frame.function = &kernel;
      frame.registers.resize(kernel.numRegs, noise);
      frame.params.resize((kernel.paramBytes + 7) / 8);
      std::memcpy(frame.params.data(), arguments.data(), arguments.size());
    }
  }
}

void Grid::fail(const Thread &thread, const std::string &what) const {
  std::string text = "kernel " + kernel.name + ", block " +
                     std::to_string(thread.block->number) + ", thread " +
                     std::to_string(thread.number);
  if (!thread.frames.empty()) {
    const Frame &frame = thread.frames.back();
    text += ", " + frame.function->name + " line " +
            std::to_string(frame.function->code[frame.pc].line);
  }
  throw Fault(text + ": " + what + " (seed " + std::to_string(seed) + ")");
}

//===----------------------------------------------------------------------===//
// Scheduling
//===----------------------------------------------------------------------===//

static void pause() {
  timespec time{0, 20000};
  nanosleep(&time, nullptr);
}

void Grid::run() {
  for (;;) {
    size_t numRunning = 0, numAsking = 0, numCopied = 0;
    // Some rounds are of short turns, others of long ones.
    uint64_t turn = uint64_t(4) << lot.below(10);
    size_t first = lot.below(blocks.size());
    for (size_t b = 0; b < blocks.size(); ++b) {
      Block &block = blocks[(first + b) % blocks.size()];
      size_t count = block.threads.size(), begin = lot.below(count);
      for (size_t t = 0; t < count; ++t) {
        Thread &thread = block.threads[(begin + t) % count];
        if (thread.state != State::Running)
          continue;
        ++numRunning;
        numAsking += goOn(thread, static_cast<int>(1 + lot.below(turn)));
      }
      if (!block.copies.empty() && lot.below(2) == 0) {
        finish(block, lot.below(block.copies.size()));
        ++numCopied;
      }
    }
    if (numRunning + numCopied > 0) {
      // Those that are asked for need the CPU.
      if (numAsking == numRunning && numCopied == 0)
        pause();
      continue;
    }
    bool hasCopies = false;
    const Thread *waiting = nullptr;
    for (Block &block : blocks) {
      hasCopies |= !block.copies.empty();
      for (Thread &thread : block.threads)
        waiting = thread.state == State::Ended ? waiting : &thread;
    }
    if (hasCopies)
      continue;
    if (!waiting)
      return;
    fail(*waiting, "waits for threads that do not come");
  }
}

/// Whether the thread may be waiting by asking again and again.
bool Grid::goOn(Thread &thread, int steps) {
  bool isAsking = false;
  for (; steps > 0 && thread.state == State::Running; --steps) {
    Frame &frame = thread.frames.back();
    const Instruction &op = frame.function->code[frame.pc];
    if (op.guard >= 0 &&
        (frame.registers[op.guard] & 1) == uint64_t(op.isNegated)) {
      ++frame.pc;
      continue;
    }
    execute(thread, op);
    if (op.isOrdered || op.op == Op::MbarWait) {
      isAsking = true;
      steps = std::min(steps, 8);
    }
  }
  return isAsking;
}

void Grid::execute(Thread &thread, const Instruction &op) {
  Frame &frame = thread.frames.back();
  switch (op.op) {
  case Op::Bra:
    frame.pc = op.target;
    return;
  case Op::Call:
    return call(thread, op);
  case Op::Exit:
    // From functions it is in as well.
    thread.frames.resize(1);
    return leave(thread);
  case Op::Ret:
    return leave(thread);
  case Op::Bar:
  case Op::BarRed:
    return arrive(thread, op, State::AtBarrier);
  case Op::BarWarp:
  case Op::Redux:
  case Op::Shfl:
  case Op::Vote:
    return arrive(thread, op, State::AtMeeting);
  case Op::Mov:
    move(thread, op);
    break;
  case Op::Cvta: {
    uint64_t value = read(thread, op.src[0]);
    if (op.space == Space::Shared) {
      auto base = reinterpret_cast<uint64_t>(thread.block->shared.data());
      value = op.flag ? value + base : value - base;
    }
    write(thread, op.dst[0], value);
    break;
  }
  case Op::Ld:
    load(thread, op);
    break;
  case Op::St:
    store(thread, op);
    break;
  case Op::Atom:
    atomic(thread, op);
    break;
  case Op::Fence:
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    break;
  case Op::MbarArrive:
  case Op::MbarInit:
  case Op::MbarWait:
    counterOp(thread, op);
    break;
  case Op::BulkIn:
  case Op::BulkOut:
    beginCopy(thread, op);
    break;
  case Op::BulkCommit:
    ++thread.groups;
    break;
  case Op::BulkWait:
    waitForCopies(thread, op);
    break;
  default: {
    uint64_t src[3] = {};
    for (int i = 0; i < std::min<int>(op.numSrc, 3); ++i)
      src[i] = read(thread, op.src[i]);
    uint64_t result = evaluate(op, src);
    write(thread, op.dst[0], result);
    if (op.op == Op::Setp && op.numDst > 1)
      write(thread, op.dst[1], !result);
    break;
  }
  }
  ++frame.pc;
}

//===----------------------------------------------------------------------===//
// Values and calls
//===----------------------------------------------------------------------===//

static uint64_t timeNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return uint64_t(now.tv_sec) * 1000000000 + uint64_t(now.tv_nsec);
}

uint64_t Grid::readOther(const Thread &thread, const Operand &operand) const {
  switch (operand.kind) {
  case Operand::Imm:
  case Operand::Shared:
    return static_cast<uint64_t>(operand.value);
  case Operand::Param:
    return reinterpret_cast<uint64_t>(thread.frames.back().params.data()) +
           static_cast<uint64_t>(operand.value);
  case Operand::Read:
    switch (static_cast<Special>(operand.index)) {
    case Special::ThreadId:
      return uint64_t(thread.number);
    case Special::NumThreads:
      return uint64_t(shape.threads);
    case Special::BlockId:
      return uint64_t(thread.block->number);
    case Special::NumBlocks:
      return uint64_t(shape.blocks);
    case Special::Lane:
      return uint64_t(thread.lane());
    case Special::GlobalTimer:
      return timeNs();
    case Special::Zero:
      return 0;
    case Special::One:
      return 1;
    }
    return 0;
  default:
    fail(thread, "an operand is missing");
  }
}

void Grid::write(Thread &thread, const Operand &operand, uint64_t value) {
  if (operand.kind == Operand::Reg)
    thread.frames.back().registers[operand.index] = value;
}

/// One value, or as many parts as make one up.
void Grid::move(Thread &thread, const Instruction &op) {
  int bits = bitsOf(op.type);
  uint64_t value = 0;
  for (int i = 0; i < op.numSrc; ++i) {
    int part = bits / op.numSrc;
    value |= lowBits(read(thread, op.src[i]), part) << (i * part);
  }
  for (int i = 0; i < op.numDst; ++i) {
    int part = bits / op.numDst;
    write(thread, op.dst[i], lowBits(value >> (i * part), part));
  }
}

void Grid::call(Thread &thread, const Instruction &op) {
  const Call &call = thread.frames.back().function->calls[op.target];
  const Function &callee = *call.callee;
  Frame frame;
  frame.function = &callee;
  frame.registers.resize(callee.numRegs, noise);
  frame.params.resize((callee.paramBytes + 7) / 8);
  const char *from =
      reinterpret_cast<const char *>(thread.frames.back().params.data());
  char *to = reinterpret_cast<char *>(frame.params.data());
  // Variadic calls may have one argument more.
  for (size_t i = 0; i < std::min(call.args.size(), callee.params.size()); ++i)
    std::memcpy(to + callee.params[i].offset, from + call.args[i],
                callee.params[i].bytes);
  thread.frames.push_back(std::move(frame));
}

void Grid::leave(Thread &thread) {
  if (thread.frames.size() > 1) {
    Frame callee = std::move(thread.frames.back());
    thread.frames.pop_back();
    Frame &caller = thread.frames.back();
    const Instruction &op = caller.function->code[caller.pc];
    int to = caller.function->calls[op.target].result;
    int from = callee.function->result;
    if (to >= 0 && from >= 0)
      caller.params[to / 8] = callee.params[from / 8];
    ++caller.pc;
    return;
  }
  for (const Copy &copy : thread.block->copies)
    if (copy.thread == thread.number && copy.counter < 0 && !copy.isRead)
      fail(thread, "ends before its bulk copies have read their source");
  thread.state = State::Ended;
  ++thread.block->numEnded;
  meetBlock(*thread.block);
}
