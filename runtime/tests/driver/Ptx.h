//===- Ptx.h - PTX as the stand-in executes it ------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The part of PTX that compilers make of the project's kernels. Anything else
/// is an error of the module that has it.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_TESTS_DRIVER_PTX_H
#define MOE_RUNTIME_TESTS_DRIVER_PTX_H

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace moe::standin {

enum class Type : uint8_t {
  None,
  Pred,
  B8,
  U8,
  S8,
  B16,
  U16,
  S16,
  F16,
  BF16,
  B32,
  U32,
  S32,
  F32,
  F16x2,
  BF16x2,
  S16x2,
  U16x2,
  B64,
  U64,
  S64,
  F64
};

constexpr int typeBits[] = {0,  1,  8,  8,  8,  16, 16, 16, 16, 16, 32,
                            32, 32, 32, 32, 32, 32, 32, 64, 64, 64, 64};
inline int bitsOf(Type type) { return typeBits[static_cast<int>(type)]; }
inline bool isSigned(Type type) {
  return type == Type::S8 || type == Type::S16 || type == Type::S32 ||
         type == Type::S64;
}

enum class Op : uint8_t {
  Abs,
  Add,
  And,
  Atom,
  Bar,
  BarRed,
  BarWarp,
  Bfe,
  Bra,
  BulkCommit,
  BulkIn,
  BulkOut,
  BulkWait,
  Call,
  Clz,
  Copysign,
  Cvt,
  Cvta,
  Div,
  Fence,
  Exit,
  Fma,
  Ld,
  Mad,
  Max,
  MbarArrive,
  MbarInit,
  MbarWait,
  Min,
  Mov,
  Mul,
  Neg,
  Not,
  Or,
  Popc,
  Prmt,
  Rcp,
  Redux,
  Rem,
  Ret,
  Selp,
  Setp,
  Shf,
  Shfl,
  Shl,
  Shr,
  Sqrt,
  St,
  Sub,
  Vote,
  Xor
};

enum class Space : uint8_t { Generic, Global, Shared, Param, Const };
enum class Part : uint8_t { Low, High, Wide };
/// Of a float to an integer, which may be a float again.
enum class Round : uint8_t { None, Even, Zero, Down, Up };
enum class Cmp : uint8_t { Eq, Ne, Lt, Le, Gt, Ge, Num, Nan };
enum class AtomOp : uint8_t { Add, And, Cas, Exch, Max, Min, Or };
enum class Special : uint8_t {
  ThreadId,
  NumThreads,
  BlockId,
  NumBlocks,
  Lane,
  GlobalTimer,
  Zero,
  One
};

struct Operand {
  enum Kind : uint8_t {
    None,
    Sink,   ///< "_"
    Reg,    ///< number `index`; `value` is added to it in an address
    Imm,    ///< `value`
    Read,   ///< Special(index)
    Param,  ///< byte `value` of the frame's parameters
    Shared, ///< byte `value` of the block's memory
  };
  Kind kind = None;
  int index = 0;
  int64_t value = 0;
};

struct Instruction {
  Op op = Op::Ret;
  Type type = Type::None; ///< of the result
  Type from = Type::None; ///< of what it is made of, where that is another
  Space space = Space::Generic;
  Part part = Part::Low;
  Round round = Round::None;
  Cmp cmp = Cmp::Eq;
  AtomOp atom = AtomOp::Add;
  /// A store that releases, a load that acquires or is volatile.
  bool isOrdered = false;
  bool isUnordered = false; ///< a comparison that NaN satisfies
  bool flag = false; ///< arrive: expects bytes; bulk wait: reads only; a vote
                     ///< or bar.red: of all, not any; max, min: passes NaN on;
                     ///< shf: to the right
  int8_t numDst = 0, numSrc = 0;
  Operand dst[4];
  Operand src[6];
  int guard = -1; ///< predicate register
  bool isNegated = false;
  int target = -1; ///< of a branch: an instruction; of a call: one of `calls`
  int line = 0;
};

struct Function;

struct Call {
  std::string name;
  const Function *callee = nullptr;
  std::vector<int> args; ///< offsets among the caller's parameters
  int result = -1;
};

/// A variable in parameter space.
struct ParamSlot {
  int offset;
  int bytes;
};

struct Function {
  std::string name;
  std::vector<ParamSlot> params;
  int result = -1; ///< offset
  int paramBytes = 0;
  int numRegs = 0;
  std::vector<Instruction> code;
  std::vector<Call> calls;
};

/// A module's text, parsed.
struct Program {
  std::map<std::string, std::unique_ptr<Function>> functions, kernels;
  /// Static memory of a block, of all kernels together; dynamic memory follows.
  int sharedBytes = 0;
  /// Variables in constant memory, by words; their addresses are those here.
  std::deque<std::vector<uint64_t>> constants;
};

/// Null, and a reason, for text that this does not know.
std::unique_ptr<Program> parsePtx(const std::string &text, std::string &error);

} // namespace moe::standin

#endif // MOE_RUNTIME_TESTS_DRIVER_PTX_H
