//===- PtxAlu.cpp - arithmetic of PTX -------------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PtxAlu.h"

#include <algorithm>
#include <cmath>
#include <cstring>

using namespace moe::standin;

//===----------------------------------------------------------------------===//
// Floating point
//===----------------------------------------------------------------------===//

template <typename To, typename From> static To bitsAs(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}

static float asFloat(uint64_t bits) {
  return bitsAs<float>(static_cast<uint32_t>(bits));
}

/// A NaN that comes out of arithmetic is always the same one.
static uint64_t fromFloat(float value) {
  return std::isnan(value) ? 0x7fffffff : bitsAs<uint32_t>(value);
}

static float fromHalf(uint64_t bits) {
  int exponent = static_cast<int>(bits >> 10) & 31;
  auto fraction = static_cast<float>(bits & 1023);
  float value = exponent == 0    ? std::ldexp(fraction, -24)
                : exponent == 31 ? (fraction == 0 ? INFINITY : NAN)
                                 : std::ldexp(fraction + 1024, exponent - 25);
  return bits & 0x8000 ? -value : value;
}

/// Rounds to nearest, ties to even.
static uint64_t toHalf(float value) {
  if (std::isnan(value))
    return 0x7fff;
  uint64_t sign = std::signbit(value) ? 0x8000 : 0;
  float size = std::fabs(value);
  if (size >= 65520)
    return sign | 0x7c00;
  int exponent = size < std::ldexp(1.0F, -14) ? -14 : std::ilogb(size);
  // In units of the last place.
  auto units =
      static_cast<uint64_t>(std::nearbyint(std::ldexp(size, 10 - exponent)));
  return sign | (units + (static_cast<uint64_t>(exponent + 14) << 10));
}

static float fromBFloat(uint64_t bits) { return asFloat(bits << 16); }

static uint64_t toBFloat(float value) {
  if (std::isnan(value))
    return 0x7fff;
  uint32_t bits = bitsAs<uint32_t>(value);
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

static bool isFloat(Type type) {
  return type == Type::F16 || type == Type::BF16 || type == Type::F32;
}

static float loadFloat(Type type, uint64_t bits) {
  bits = lowBits(bits, bitsOf(type));
  return type == Type::F16    ? fromHalf(bits)
         : type == Type::BF16 ? fromBFloat(bits)
                              : asFloat(bits);
}

static uint64_t storeFloat(Type type, float value) {
  return type == Type::F16    ? toHalf(value)
         : type == Type::BF16 ? toBFloat(value)
                              : fromFloat(value);
}

/// A sum or a product of halves is exact enough in f32 to be rounded once more.
static uint64_t evaluateFloat(const Instruction &op, const uint64_t *src) {
  Type type = op.type;
  float a = loadFloat(type, src[0]);
  float b = op.numSrc > 1 ? loadFloat(type, src[1]) : 0;
  uint64_t sign = uint64_t(1) << (bitsOf(type) - 1);
  switch (op.op) {
  case Op::Add:
    return storeFloat(type, a + b);
  case Op::Sub:
    return storeFloat(type, a - b);
  case Op::Mul:
    return storeFloat(type, a * b);
  case Op::Div:
    return storeFloat(type, a / b);
  case Op::Sqrt:
    return storeFloat(type, std::sqrt(a));
  case Op::Fma:
    return storeFloat(type, std::fma(a, b, loadFloat(type, src[2])));
  case Op::Abs:
    return lowBits(src[0], bitsOf(type)) & ~sign;
  case Op::Neg:
    return lowBits(src[0], bitsOf(type)) ^ sign;
  case Op::Max:
    return storeFloat(type, std::fmax(a, b));
  default:
    return storeFloat(type, std::fmin(a, b));
  }
}

//===----------------------------------------------------------------------===//
// Conversions and comparisons
//===----------------------------------------------------------------------===//

static int64_t loadSigned(Type type, uint64_t bits) {
  int unused = 64 - bitsOf(type);
  return static_cast<int64_t>(bits << unused) >> unused;
}

static float roundToInteger(Round round, float value) {
  switch (round) {
  case Round::Even: {
    float below = std::floor(value), rest = value - below;
    bool isDown = rest < 0.5f || (rest == 0.5f && std::fmod(below, 2.0f) == 0);
    return std::copysign(isDown ? below : below + 1, value);
  }
  case Round::Zero:
    return std::trunc(value);
  case Round::Down:
    return std::floor(value);
  case Round::Up:
    return std::ceil(value);
  default:
    return value;
  }
}

/// What is out of range becomes the nearest there is; no number becomes zero,
/// or of 64 bits the highest alone.
static uint64_t toInteger(Type type, float value) {
  int bits = bitsOf(type);
  if (std::isnan(value))
    return bits == 64 ? uint64_t(1) << 63 : 0;
  if (isSigned(type)) {
    float limit = std::ldexp(1.0f, bits - 1);
    int64_t most = INT64_MAX >> (64 - bits);
    return static_cast<uint64_t>(value >= limit   ? most
                                 : value < -limit ? -most - 1
                                                  : int64_t(value));
  }
  if (value <= 0)
    return 0;
  return value >= std::ldexp(1.0f, bits) ? lowBits(~uint64_t(0), bits)
                                         : uint64_t(value);
}

static uint64_t convert(const Instruction &op, const uint64_t *src) {
  if (op.type == Type::F16x2 || op.type == Type::BF16x2) {
    Type half = op.type == Type::F16x2 ? Type::F16 : Type::BF16;
    return storeFloat(half, asFloat(src[0])) << 16 |
           storeFloat(half, asFloat(src[1]));
  }
  uint64_t bits = lowBits(src[0], bitsOf(op.from));
  if (isFloat(op.type)) {
    if (isFloat(op.from))
      return storeFloat(op.type,
                        roundToInteger(op.round, loadFloat(op.from, bits)));
    float value = isSigned(op.from)
                      ? static_cast<float>(loadSigned(op.from, bits))
                      : static_cast<float>(bits);
    return storeFloat(op.type, value);
  }
  if (isFloat(op.from))
    return toInteger(op.type,
                     roundToInteger(op.round, loadFloat(op.from, bits)));
  return isSigned(op.from) ? static_cast<uint64_t>(loadSigned(op.from, bits))
                           : bits;
}

template <typename T> static bool compare(Cmp cmp, T a, T b) {
  switch (cmp) {
  case Cmp::Eq:
    return a == b;
  case Cmp::Ne:
    return a != b;
  case Cmp::Lt:
    return a < b;
  case Cmp::Le:
    return a <= b;
  case Cmp::Gt:
    return a > b;
  default:
    return a >= b;
  }
}

static bool compare(const Instruction &op, const uint64_t *src) {
  if (isFloat(op.type)) {
    float a = loadFloat(op.type, src[0]), b = loadFloat(op.type, src[1]);
    bool hasNan = std::isnan(a) || std::isnan(b);
    if (op.cmp == Cmp::Num || op.cmp == Cmp::Nan)
      return hasNan == (op.cmp == Cmp::Nan);
    return hasNan ? op.isUnordered : compare(op.cmp, a, b);
  }
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

static uint64_t extractBits(const Instruction &op, const uint64_t *src) {
  auto position = static_cast<int>(src[1] & 255);
  auto count = static_cast<int>(src[2] & 255);
  if (position >= bitsOf(op.type))
    return 0;
  return lowBits(lowBits(src[0], bitsOf(op.type)) >> position, count);
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
  auto isKnown = [](Type type) {
    return type != Type::None && type != Type::F64;
  };
  if (!isKnown(op.type) || !isKnown(op.from))
    return false;
  Type half = halfOf(op.type), type = half == Type::None ? op.type : half;
  switch (op.op) {
  case Op::Cvt:
    // Floats become integers only with a rounding that says how.
    return half == Type::None
               ? isFloat(type) || !isFloat(op.from) || op.round != Round::None
               : isFloat(half) && op.from == Type::F32;
  case Op::Selp:
  case Op::Setp:
    return half == Type::None;
  case Op::Fma:
  case Op::Sqrt:
    return op.type == Type::F32;
  case Op::Div:
    return !isFloat(type) ? half == Type::None : op.type == Type::F32;
  case Op::Bfe:
    return !isFloat(type) && !isSigned(type);
  case Op::Abs:
  case Op::Add:
  case Op::Max:
  case Op::Min:
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
    return compare(op, src);
  case Op::Selp:
    return lowBits(src[2] & 1 ? src[0] : src[1], bitsOf(op.type));
  case Op::Cvt:
    return lowBits(convert(op, src), bitsOf(op.type));
  default:
    return halfOf(op.type) == Type::None ? evaluateOne(op, src)
                                         : evaluateHalves(op, src);
  }
}
