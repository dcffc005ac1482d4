//===- PtxAlu.cpp - arithmetic of PTX -------------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PtxAlu.h"
#include "PtxFloat.h"

#include <algorithm>
#include <cstdlib>

using namespace moe::standin;

//===----------------------------------------------------------------------===//
// Conversions and comparisons
//===----------------------------------------------------------------------===//

static uint64_t convert(const Instruction &op, const uint64_t *src) {
  if (isFloat(op.type) || isFloat(op.from) || op.type == Type::F16x2 ||
      op.type == Type::BF16x2)
    return convertFloats(op, src);
  uint64_t bits = lowBits(src[0], bitsOf(op.from));
  return isSigned(op.from) ? static_cast<uint64_t>(loadSigned(op.from, bits))
                           : bits;
}

static bool compareAny(const Instruction &op, const uint64_t *src) {
  if (isFloat(op.type))
    return compareFloats(op, src);
  if (isSigned(op.type))
    return compare(op.cmp, loadSigned(op.type, src[0]),
                   loadSigned(op.type, src[1]));
  int bits = bitsOf(op.type);
  return compare(op.cmp, lowBits(src[0], bits), lowBits(src[1], bits));
}

//===----------------------------------------------------------------------===//
// Integers
//===----------------------------------------------------------------------===//

static uint64_t multiply(const Instruction &op, const uint64_t *src) {
  int bits = bitsOf(op.type);
  using Wide = unsigned __int128;
  Wide product;
  if (isSigned(op.type))
    product =
        static_cast<Wide>(static_cast<__int128>(loadSigned(op.type, src[0])) *
                          loadSigned(op.type, src[1]));
  else
    product = static_cast<Wide>(lowBits(src[0], bits)) * lowBits(src[1], bits);
  // A wide product is twice as wide as its type, and keeps all bits.
  return static_cast<uint64_t>(op.part == Part::High ? product >> bits
                                                     : product);
}

static uint64_t divide(const Instruction &op, const uint64_t *src,
                       bool remainder) {
  int bits = bitsOf(op.type);
  if (isSigned(op.type)) {
    int64_t a = loadSigned(op.type, src[0]), b = loadSigned(op.type, src[1]);
    if (b == 0 || (b == -1 && a == INT64_MIN))
      return b == 0 ? ~uint64_t(0) : remainder ? 0 : uint64_t(a);
    return static_cast<uint64_t>(remainder ? a % b : a / b);
  }
  uint64_t a = lowBits(src[0], bits), b = lowBits(src[1], bits);
  if (b == 0)
    return ~uint64_t(0); // Unspecified, and no fault.
  return remainder ? a % b : a / b;
}

static uint64_t shiftRight(const Instruction &op, const uint64_t *src) {
  int bits = bitsOf(op.type);
  auto by = static_cast<int>(std::min<uint64_t>(lowBits(src[1], 32), 64));
  if (isSigned(op.type))
    return static_cast<uint64_t>(loadSigned(op.type, src[0]) >>
                                 std::min(by, 63));
  return by >= bits ? 0 : lowBits(src[0], bits) >> by;
}

/// Above the field, and where it reaches past the end of the value, stands its
/// sign, which is the last bit of both; zeros if it is unsigned or empty.
static uint64_t extractBits(const Instruction &op, const uint64_t *src) {
  auto position = static_cast<int>(src[1] & 255);
  auto count = static_cast<int>(src[2] & 255);
  int bits = bitsOf(op.type);
  uint64_t value = lowBits(src[0], bits);
  int last = std::min(position + count, bits) - 1;
  bool isNegative = isSigned(op.type) && count > 0 && (value >> last & 1) != 0;
  uint64_t above = isNegative ? ~uint64_t(0) : 0;
  if (position >= bits || count == 0)
    return above;
  int length = last - position + 1;
  uint64_t field = lowBits(value >> position, length);
  return length == 64 ? field : field | above << length;
}

static uint64_t permute(const uint64_t *src) {
  uint64_t bytes = lowBits(src[0], 32) | lowBits(src[1], 32) << 32, result = 0;
  for (int i = 0; i < 4; ++i) {
    uint64_t selector = src[2] >> (4 * i) & 15;
    uint64_t byte = bytes >> (8 * (selector & 7)) & 255;
    if (selector & 8)
      byte = byte & 128 ? 255 : 0;
    result |= byte << (8 * i);
  }
  return result;
}

/// Shifts the upper word, or to the right the lower one, and fills it up from
/// the other.
static uint64_t funnelShift(const Instruction &op, const uint64_t *src) {
  uint64_t both = lowBits(src[0], 32) | lowBits(src[1], 32) << 32;
  uint64_t by = src[2] & 31;
  return op.flag ? both >> by : both << by >> 32;
}

static uint64_t choose(const Instruction &op, const uint64_t *src) {
  int bits = bitsOf(op.type);
  bool isLess = isSigned(op.type)
                    ? loadSigned(op.type, src[0]) < loadSigned(op.type, src[1])
                    : lowBits(src[0], bits) < lowBits(src[1], bits);
  return isLess == (op.op == Op::Min) ? src[0] : src[1];
}

static uint64_t evaluateInteger(const Instruction &op, const uint64_t *src) {
  int bits = bitsOf(op.type);
  switch (op.op) {
  case Op::Abs:
    return static_cast<uint64_t>(std::abs(loadSigned(op.type, src[0])));
  case Op::Add:
    return src[0] + src[1];
  case Op::And:
    return src[0] & src[1];
  case Op::Bfe:
    return extractBits(op, src);
  case Op::Clz: {
    uint64_t value = lowBits(src[0], bits);
    return value ? static_cast<uint64_t>(__builtin_clzll(value) - (64 - bits))
                 : static_cast<uint64_t>(bits);
  }
  case Op::Div:
    return divide(op, src, /*remainder=*/false);
  case Op::Mad:
    return multiply(op, src) + src[2];
  case Op::Max:
  case Op::Min:
    return choose(op, src);
  case Op::Mul:
    return multiply(op, src);
  case Op::Neg:
    return -src[0];
  case Op::Not:
    return ~src[0];
  case Op::Or:
    return src[0] | src[1];
  case Op::Popc:
    return static_cast<uint64_t>(__builtin_popcountll(lowBits(src[0], bits)));
  case Op::Prmt:
    return permute(src);
  case Op::Rem:
    return divide(op, src, /*remainder=*/true);
  case Op::Shf:
    return funnelShift(op, src);
  case Op::Shl: {
    uint64_t by = lowBits(src[1], 32);
    return by >= uint64_t(bits) ? 0 : src[0] << by;
  }
  case Op::Shr:
    return shiftRight(op, src);
  case Op::Sub:
    return src[0] - src[1];
  default:
    return src[0] ^ src[1];
  }
}

//===----------------------------------------------------------------------===//
// All of them
//===----------------------------------------------------------------------===//

/// The type of both halves of a packed type; None for another one.
static Type halfOf(Type type) {
  switch (type) {
  case Type::F16x2:
    return Type::F16;
  case Type::BF16x2:
    return Type::BF16;
  case Type::S16x2:
    return Type::S16;
  case Type::U16x2:
    return Type::U16;
  default:
    return Type::None;
  }
}

bool moe::standin::canEvaluate(const Instruction &op) {
  if (op.type == Type::None || op.from == Type::None)
    return false;
  Type half = halfOf(op.type), type = half == Type::None ? op.type : half;
  switch (op.op) {
  case Op::Cvt:
    // Floats become integers only with a rounding that says how. From f64 to
    // less than f32 would be rounded twice.
    if (op.from == Type::F64 && (type == Type::F16 || type == Type::BF16))
      return false;
    return half == Type::None
               ? isFloat(type) || !isFloat(op.from) || op.round != Round::None
               : isFloat(half) && op.from == Type::F32;
  case Op::Selp:
  case Op::Setp:
    return half == Type::None;
  case Op::Copysign:
  case Op::Fma:
  case Op::Rcp:
  case Op::Sqrt:
    return op.type == Type::F32 || op.type == Type::F64;
  case Op::Div:
    return !isFloat(type) ? half == Type::None
                          : op.type == Type::F32 || op.type == Type::F64;
  case Op::Shf:
    return op.type == Type::B32;
  case Op::Max:
  case Op::Min:
    return isFloat(type) || !op.flag;
  case Op::Abs:
  case Op::Add:
  case Op::Mul:
  case Op::Neg:
  case Op::Sub:
    return op.part != Part::Wide || bitsOf(type) < 64;
  default:
    return !isFloat(type) && half == Type::None;
  }
}

static uint64_t evaluateOne(const Instruction &op, const uint64_t *src) {
  int bits = bitsOf(op.type) * (op.part == Part::Wide ? 2 : 1);
  return lowBits(isFloat(op.type) ? evaluateFloat(op, src)
                                  : evaluateInteger(op, src),
                 bits);
}

static uint64_t evaluateHalves(const Instruction &op, const uint64_t *src) {
  Instruction half = op;
  half.type = half.from = halfOf(op.type);
  uint64_t upper[3] = {};
  for (int i = 0; i < op.numSrc && i < 3; ++i)
    upper[i] = lowBits(src[i], 32) >> 16;
  return evaluateOne(half, upper) << 16 | evaluateOne(half, src);
}

uint64_t moe::standin::evaluate(const Instruction &op, const uint64_t *src) {
  switch (op.op) {
  case Op::Setp:
    return compareAny(op, src);
  case Op::Selp:
    return lowBits(src[2] & 1 ? src[0] : src[1], bitsOf(op.type));
  case Op::Cvt:
    return lowBits(convert(op, src), bitsOf(op.type));
  default:
    return halfOf(op.type) == Type::None ? evaluateOne(op, src)
                                         : evaluateHalves(op, src);
  }
}
