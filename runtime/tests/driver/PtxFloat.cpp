//===- PtxFloat.cpp - floating point of PTX
//---------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PtxFloat.h"

#include <cmath>
#include <cstring>
#include <type_traits>

using namespace moe::standin;

//===----------------------------------------------------------------------===//
// Values
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

static uint64_t fromDouble(double value) {
  return std::isnan(value) ? ~uint64_t(0) >> 1 : bitsAs<uint64_t>(value);
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

/// Calls `compute` with a value of the C++ type that holds those of `type`.
template <typename Compute>
static auto withHolderOf(Type type, Compute compute) {
  return type == Type::F64 ? compute(double()) : compute(float());
}

template <typename T> static T load(Type type, uint64_t bits) {
  if constexpr (std::is_same_v<T, double>)
    return bitsAs<double>(bits);
  else
    return loadFloat(type, bits);
}

template <typename T> static uint64_t store(Type type, T value) {
  if constexpr (std::is_same_v<T, double>)
    return fromDouble(value);
  else
    return storeFloat(type, value);
}

//===----------------------------------------------------------------------===//
// Arithmetic
//===----------------------------------------------------------------------===//

/// Zeros are ordered by their signs. NaN is the result when `passesNan` says so
/// or both are.
template <typename T> static T maximum(T a, T b, bool passesNan) {
  if (std::isnan(a) || std::isnan(b))
    return passesNan || std::isnan(a) == std::isnan(b) ? T(NAN)
           : std::isnan(a)                             ? b
                                                       : a;
  if (a == b)
    return std::signbit(a) ? b : a;
  return a > b ? a : b;
}

/// A sum or a product of halves is exact enough in f32 to be rounded once more.
template <typename T>
static uint64_t evaluateFloats(const Instruction &op, const uint64_t *src) {
  Type type = op.type;
  T a = load<T>(type, src[0]);
  T b = op.numSrc > 1 ? load<T>(type, src[1]) : 0;
  uint64_t sign = uint64_t(1) << (bitsOf(type) - 1);
  switch (op.op) {
  case Op::Add:
    return store<T>(type, a + b);
  case Op::Sub:
    return store<T>(type, a - b);
  case Op::Mul:
    return store<T>(type, a * b);
  case Op::Div:
    return store<T>(type, a / b);
  case Op::Rcp:
    return store<T>(type, 1 / a);
  case Op::Sqrt:
    return store<T>(type, std::sqrt(a));
  case Op::Fma:
    return store<T>(type, std::fma(a, b, load<T>(type, src[2])));
  case Op::Abs:
    return lowBits(src[0], bitsOf(type)) & ~sign;
  case Op::Neg:
    return lowBits(src[0], bitsOf(type)) ^ sign;
  case Op::Copysign:
    // The sign is that of the first operand.
    return (src[0] & sign) | (lowBits(src[1], bitsOf(type)) & ~sign);
  case Op::Max:
    return store<T>(type, maximum(a, b, op.flag));
  default:
    return store<T>(type, -maximum(-a, -b, op.flag));
  }
}

uint64_t moe::standin::evaluateFloat(const Instruction &op,
                                     const uint64_t *src) {
  return withHolderOf(op.type, [&](auto holder) {
    return evaluateFloats<decltype(holder)>(op, src);
  });
}

bool moe::standin::compareFloats(const Instruction &op, const uint64_t *src) {
  return withHolderOf(op.type, [&](auto holder) {
    using T = decltype(holder);
    T a = load<T>(op.type, src[0]), b = load<T>(op.type, src[1]);
    bool hasNan = std::isnan(a) || std::isnan(b);
    if (op.cmp == Cmp::Num || op.cmp == Cmp::Nan)
      return hasNan == (op.cmp == Cmp::Nan);
    return hasNan ? op.isUnordered : compare(op.cmp, a, b);
  });
}

//===----------------------------------------------------------------------===//
// Conversions
//===----------------------------------------------------------------------===//

template <typename T> static T roundToInteger(Round round, T value) {
  switch (round) {
  case Round::Even: {
    T below = std::floor(value), rest = value - below;
    bool isDown =
        rest < T(0.5) || (rest == T(0.5) && std::fmod(below, T(2)) == 0);
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
template <typename T> static uint64_t toInteger(Type type, T value) {
  int bits = bitsOf(type);
  if (std::isnan(value))
    return bits == 64 ? uint64_t(1) << 63 : 0;
  if (isSigned(type)) {
    T limit = std::ldexp(T(1), bits - 1);
    int64_t most = INT64_MAX >> (64 - bits);
    return static_cast<uint64_t>(value >= limit   ? most
                                 : value < -limit ? -most - 1
                                                  : int64_t(value));
  }
  if (value <= 0)
    return 0;
  return value >= std::ldexp(T(1), bits) ? lowBits(~uint64_t(0), bits)
                                         : uint64_t(value);
}

/// The value in `bits`, of type `op.from`, as one of type `op.type`.
template <typename T>
static uint64_t convertFloat(const Instruction &op, uint64_t bits) {
  T value = roundToInteger(op.round, load<T>(op.from, bits));
  if (!isFloat(op.type))
    return toInteger(op.type, value);
  return op.type == Type::F64 ? fromDouble(value)
                              : storeFloat(op.type, static_cast<float>(value));
}

uint64_t moe::standin::convertFloats(const Instruction &op,
                                     const uint64_t *src) {
  if (op.type == Type::F16x2 || op.type == Type::BF16x2) {
    Type half = op.type == Type::F16x2 ? Type::F16 : Type::BF16;
    return storeFloat(half, asFloat(src[0])) << 16 |
           storeFloat(half, asFloat(src[1]));
  }
  uint64_t bits = lowBits(src[0], bitsOf(op.from));
  if (isFloat(op.from))
    return withHolderOf(op.from, [&](auto holder) {
      return convertFloat<decltype(holder)>(op, bits);
    });
  return withHolderOf(op.type, [&](auto holder) {
    using T = decltype(holder);
    return store<T>(op.type, isSigned(op.from)
                                 ? static_cast<T>(loadSigned(op.from, bits))
                                 : static_cast<T>(bits));
  });
}
