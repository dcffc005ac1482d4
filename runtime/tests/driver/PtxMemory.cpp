//===- PtxMemory.cpp - memory and bulk copies of kernels in PTX -----------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PtxAlu.h"
#include "PtxGrid.h"

#include <algorithm>
#include <cstring>

using namespace moe::standin;

//===----------------------------------------------------------------------===//
// Loads and stores
//===----------------------------------------------------------------------===//

char *Grid::sharedAt(const Thread &thread, uint64_t address,
                     size_t bytes) const {
  std::vector<uint64_t> &shared = thread.block->shared;
  size_t size = shared.size() * sizeof(uint64_t);
  if (address > size || bytes > size - address)
    fail(thread, "byte " + std::to_string(int64_t(address)) +
                     " of shared memory, of which there are " +
                     std::to_string(size));
  return reinterpret_cast<char *>(shared.data()) + address;
}

bool Grid::isConstant(uint64_t address, size_t bytes) const {
  for (const std::vector<uint64_t> &words : program.constants) {
    auto begin = reinterpret_cast<uint64_t>(words.data());
    size_t size = words.size() * sizeof(uint64_t);
    if (address >= begin && address - begin < size)
      return bytes <= size - (address - begin);
  }
  return false;
}

char *Grid::address(Thread &thread, const Instruction &op,
                    const Operand &operand, size_t bytes) {
  uint64_t at = read(thread, operand);
  if (operand.kind == Operand::Reg)
    at += static_cast<uint64_t>(operand.value);
  bool isShared = op.space == Space::Shared;
  if (operand.kind == Operand::Param &&
      size_t(operand.value) + bytes >
          thread.frames.back().params.size() * sizeof(uint64_t))
    fail(thread, "a place outside of its parameters");
  if (at % bytes != 0)
    fail(thread, "an address that is not aligned to " + std::to_string(bytes) +
                     " bytes");
  // Shared addresses fit 32 bits, and may come in 64.
  if (isShared)
    return sharedAt(thread, lowBits(at, 32), bytes);
  if (op.space == Space::Const && !isConstant(at, bytes))
    fail(thread, "a place that is in no constant");
  if (at < 4096)
    fail(thread, "the address " + std::to_string(at));
  return reinterpret_cast<char *>(at);
}

static uint64_t loadBytes(const char *from, size_t bytes, bool isOrdered) {
  uint64_t value = 0;
  if (isOrdered && bytes == 8)
    return __atomic_load_n(reinterpret_cast<const uint64_t *>(from),
                           __ATOMIC_ACQUIRE);
  if (isOrdered && bytes == 4)
    return __atomic_load_n(reinterpret_cast<const uint32_t *>(from),
                           __ATOMIC_ACQUIRE);
  std::memcpy(&value, from, bytes);
  return value;
}

static void storeBytes(char *to, uint64_t value, size_t bytes, bool isOrdered) {
  if (isOrdered && bytes == 8)
    __atomic_store_n(reinterpret_cast<uint64_t *>(to), value, __ATOMIC_RELEASE);
  else if (isOrdered && bytes == 4)
    __atomic_store_n(reinterpret_cast<uint32_t *>(to),
                     static_cast<uint32_t>(value), __ATOMIC_RELEASE);
  else
    std::memcpy(to, &value, bytes);
}

void Grid::load(Thread &thread, const Instruction &op) {
  size_t bytes = size_t(bitsOf(op.type)) / 8;
  const char *from = address(thread, op, op.src[0], bytes * op.numDst);
  for (int i = 0; i < op.numDst; ++i) {
    uint64_t value = loadBytes(from + i * bytes, bytes, op.isOrdered);
    if (isSigned(op.type)) {
      auto unused = static_cast<int>(64 - 8 * bytes);
      value = static_cast<uint64_t>(static_cast<int64_t>(value << unused) >>
                                    unused);
    }
    write(thread, op.dst[i], value);
  }
}

void Grid::store(Thread &thread, const Instruction &op) {
  size_t bytes = size_t(bitsOf(op.type)) / 8;
  int count = op.numSrc - 1;
  char *to = address(thread, op, op.src[0], bytes * count);
  for (int i = 0; i < count; ++i)
    storeBytes(to + i * bytes, read(thread, op.src[1 + i]), bytes,
               op.isOrdered);
}

template <typename T>
static T atomicBytes(AtomOp atom, T *at, T value, T other) {
  T before = __atomic_load_n(at, __ATOMIC_ACQUIRE);
  for (;;) {
    T after = before;
    switch (atom) {
    case AtomOp::Add:
      after = before + value;
      break;
    case AtomOp::And:
      after = before & value;
      break;
    case AtomOp::Cas:
      after = before == value ? other : before;
      break;
    case AtomOp::Exch:
      after = value;
      break;
    case AtomOp::Max:
      after = std::max(before, value);
      break;
    case AtomOp::Min:
      after = std::min(before, value);
      break;
    case AtomOp::Or:
      after = before | value;
      break;
    }
    if (__atomic_compare_exchange_n(at, &before, after, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE))
      return before;
  }
}

void Grid::atomic(Thread &thread, const Instruction &op) {
  size_t bytes = size_t(bitsOf(op.type)) / 8;
  char *at = address(thread, op, op.src[0], bytes);
  uint64_t value = read(thread, op.src[1]);
  uint64_t other = op.numSrc > 2 ? read(thread, op.src[2]) : 0;
  uint64_t before =
      bytes == 8
          ? atomicBytes(op.atom, reinterpret_cast<uint64_t *>(at), value, other)
          : atomicBytes(op.atom, reinterpret_cast<uint32_t *>(at),
                        static_cast<uint32_t>(value),
                        static_cast<uint32_t>(other));
  write(thread, op.dst[0], before);
}

//===----------------------------------------------------------------------===//
// Counters of arrivals and bytes (mbarrier)
//===----------------------------------------------------------------------===//

namespace {
/// What the eight bytes of a counter hold.
struct Counter {
  uint16_t arrivals;  ///< that a phase takes
  uint16_t missing;   ///< arrivals in this phase
  int32_t bytes : 31; ///< that are still to come
  uint32_t phase : 1;
};
static_assert(sizeof(Counter) == 8);
} // namespace

static void advance(Counter &counter) {
  if (counter.missing != 0 || counter.bytes != 0)
    return;
  counter.missing = counter.arrivals;
  counter.phase ^= 1;
}

void Grid::counterOp(Thread &thread, const Instruction &op) {
  Instruction shared = op;
  shared.space = Space::Shared;
  auto *counter = reinterpret_cast<Counter *>(
      address(thread, shared, op.src[0], sizeof(Counter)));
  uint64_t operand = op.numSrc > 1 ? lowBits(read(thread, op.src[1]), 32) : 0;
  switch (op.op) {
  case Op::MbarInit:
    *counter = {static_cast<uint16_t>(operand), static_cast<uint16_t>(operand),
                0, 0};
    break;
  case Op::MbarArrive:
    if (counter->missing == 0)
      fail(thread, "more arrivals than the counter has in a phase");
    if (op.flag)
      counter->bytes += static_cast<int32_t>(operand);
    --counter->missing;
    advance(*counter);
    break;
  default:
    // The phase of this parity is over when the other one has begun.
    write(thread, op.dst[0], counter->phase != (operand & 1));
    break;
  }
}

void Grid::completeBytes(const Thread &thread, int64_t counter, int64_t bytes) {
  auto *at = reinterpret_cast<Counter *>(
      sharedAt(thread, uint64_t(counter), sizeof(Counter)));
  at->bytes -= static_cast<int32_t>(bytes);
  advance(*at);
}

//===----------------------------------------------------------------------===//
// Bulk copies
//===----------------------------------------------------------------------===//

/// [to], [from], bytes, and for a copy into shared memory [counter].
void Grid::beginCopy(Thread &thread, const Instruction &op) {
  bool isIn = op.op == Op::BulkIn;
  uint64_t bytes = lowBits(read(thread, op.src[2]), 32);
  auto at = [&](int operand) {
    return read(thread, op.src[operand]) +
           static_cast<uint64_t>(op.src[operand].kind == Operand::Reg
                                     ? op.src[operand].value
                                     : 0);
  };
  uint64_t to = at(0), from = at(1);
  if (bytes % 16 || to % 16 || from % 16)
    fail(thread, "a bulk copy that is not aligned to 16 bytes");
  Copy copy{};
  copy.thread = thread.number;
  copy.bytes = bytes;
  copy.to = isIn ? sharedAt(thread, lowBits(to, 32), bytes)
                 : reinterpret_cast<char *>(to);
  copy.from = isIn ? reinterpret_cast<const char *>(from)
                   : sharedAt(thread, lowBits(from, 32), bytes);
  copy.counter = isIn ? static_cast<int64_t>(lowBits(at(3), 32)) : -1;
  copy.group = thread.groups + 1;
  thread.block->copies.push_back(copy);
}

void Grid::finish(Block &block, size_t index) {
  Copy copy = std::move(block.copies[index]);
  block.copies.erase(block.copies.begin() + static_cast<ptrdiff_t>(index));
  std::memcpy(copy.to, copy.isRead ? copy.taken.data() : copy.from, copy.bytes);
  if (copy.counter >= 0)
    completeBytes(block.threads[copy.thread], copy.counter,
                  static_cast<int64_t>(copy.bytes));
}

/// Until no more than the given number of the thread's groups are left, or have
/// to be read: that happens now, as late as it may.
void Grid::waitForCopies(Thread &thread, const Instruction &op) {
  int left = static_cast<int>(read(thread, op.src[0]));
  std::deque<Copy> &copies = thread.block->copies;
  for (size_t i = 0; i < copies.size();) {
    bool isDue = copies[i].thread == thread.number && copies[i].counter < 0 &&
                 copies[i].group <= thread.groups - left;
    if (isDue && !op.flag) {
      finish(*thread.block, i);
      continue;
    }
    if (isDue && !copies[i].isRead) {
      copies[i].taken.assign(copies[i].from, copies[i].from + copies[i].bytes);
      copies[i].isRead = true;
    }
    ++i;
  }
}
