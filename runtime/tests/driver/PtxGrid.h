//===- PtxGrid.h - the threads of a kernel in PTX ---------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Executes a kernel. Which thread of which block goes on, and for how long, is
/// drawn by lot; memory of blocks and registers hold noise at first; bulk
/// copies happen some time after they are begun. Addresses of shared memory
/// count from the block's, all others are those of this process.
///
/// What a GPU would call a fault ends the kernel with an exception.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_TESTS_DRIVER_PTXGRID_H
#define MOE_RUNTIME_TESTS_DRIVER_PTXGRID_H

#include "Ptx.h"

#include <deque>
#include <stdexcept>

namespace moe::standin {

struct Fault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Random numbers that follow from a seed.
class Lot {
public:
  explicit Lot(uint64_t seed) : state(seed) {}
  uint64_t next();
  /// 0 .. limit - 1.
  uint64_t below(uint64_t limit) { return next() % limit; }

private:
  uint64_t state;
};

struct GridShape {
  int64_t blocks, threads, sharedBytes;
};

class Grid {
public:
  /// `arguments` are the bytes of the kernel's parameters.
  Grid(const Program &program, const Function &kernel, const GridShape &shape,
       const std::vector<char> &arguments, uint64_t seed);
  /// Throws a Fault.
  void run();

private:
  static constexpr int subgroup = 32;

  struct Frame {
    const Function *function;
    int pc = 0;
    std::vector<uint64_t> registers;
    std::vector<uint64_t> params; ///< words that hold the bytes
  };
  enum class State : uint8_t { Running, AtBarrier, AtMeeting, Ended };
  /// A bulk copy that has been begun.
  struct Copy {
    int thread;
    char *to;
    const char *from;
    size_t bytes;
    int64_t counter; ///< shared address of what counts its bytes, or -1
    int group = 0;   ///< of its thread
    bool isRead = false;
    std::vector<char> taken; ///< what has been read
  };
  struct Block;
  struct Thread {
    Block *block;
    int number;
    State state = State::Running;
    const Instruction *at = nullptr; ///< where it meets others
    uint64_t operands[3] = {};
    std::vector<Frame> frames;
    int groups = 0; ///< of bulk copies, that it has closed

    int lane() const { return number % subgroup; }
  };
  struct Block {
    int64_t number;
    std::vector<uint64_t> shared;
    std::vector<Thread> threads;
    std::deque<Copy> copies;
    size_t numAtBarrier = 0, numEnded = 0;
  };

  [[noreturn]] void fail(const Thread &thread, const std::string &what) const;

  // Threads.
  bool goOn(Thread &thread, int steps);
  void execute(Thread &thread, const Instruction &op);
  void call(Thread &thread, const Instruction &op);
  void leave(Thread &thread);
  uint64_t read(const Thread &thread, const Operand &operand) const {
    return operand.kind == Operand::Reg
               ? thread.frames.back().registers[operand.index]
               : readOther(thread, operand);
  }
  uint64_t readOther(const Thread &thread, const Operand &operand) const;
  void write(Thread &thread, const Operand &operand, uint64_t value);
  void move(Thread &thread, const Instruction &op);

  // Where they meet.
  void arrive(Thread &thread, const Instruction &op, State state);
  void release(Thread &thread, uint64_t result);
  void meetBlock(Block &block);
  void meetSubgroup(Thread &thread);

  // Memory.
  char *sharedAt(const Thread &thread, uint64_t address, size_t bytes) const;
  bool isConstant(uint64_t address, size_t bytes) const;
  char *address(Thread &thread, const Instruction &op, const Operand &operand,
                size_t bytes);
  void load(Thread &thread, const Instruction &op);
  void store(Thread &thread, const Instruction &op);
  void atomic(Thread &thread, const Instruction &op);
  void counterOp(Thread &thread, const Instruction &op);
  void beginCopy(Thread &thread, const Instruction &op);
  void finish(Block &block, size_t index);
  void waitForCopies(Thread &thread, const Instruction &op);
  void completeBytes(const Thread &thread, int64_t counter, int64_t bytes);

  const Program &program;
  const Function &kernel;
  GridShape shape;
  Lot lot;
  uint64_t seed;
  std::deque<Block> blocks;
};

} // namespace moe::standin

#endif // MOE_RUNTIME_TESTS_DRIVER_PTXGRID_H
