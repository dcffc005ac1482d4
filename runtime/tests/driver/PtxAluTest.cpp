//===- PtxAluTest.cpp - arithmetic of the stand-in ------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PtxAlu.h"
#include "PtxOpcode.h"

#include <cmath>
#include <cstring>
#include <gtest/gtest.h>

using namespace moe::standin;

static uint64_t compute(const std::string &opcode,
                        std::initializer_list<uint64_t> operands) {
  Instruction op;
  EXPECT_TRUE(parseOpcode(opcode, op) && isArithmetic(op.op) && canEvaluate(op))
      << opcode;
  uint64_t src[3] = {};
  std::copy(operands.begin(), operands.end(), src);
  op.numSrc = static_cast<int8_t>(operands.size());
  return evaluate(op, src);
}

TEST(PtxAlu, Integers) {
  // What is above a type in a register does not count.
  EXPECT_EQ(compute("add.s32", {0xffffffff, 2}), 1u);
  EXPECT_EQ(compute("add.s64", {~0ull, 2}), 1u);
  EXPECT_EQ(compute("sub.s16", {3, 5}), 0xfffeu);
  EXPECT_EQ(compute("add.s16x2", {0x0001ffff, 0x00010002}), 0x00020001u);
  EXPECT_EQ(compute("mul.wide.s32", {0xffffffff, 3}), uint64_t(-3));
  EXPECT_EQ(compute("mul.wide.u32", {0xffffffff, 3}), 0x2fffffffdu);
  EXPECT_EQ(compute("mul.hi.u64", {~0ull, ~0ull}), ~1ull);
  EXPECT_EQ(compute("mul.hi.s64", {~0ull, 5}), ~0ull);
  EXPECT_EQ(compute("mad.lo.s32", {7, 6, 0xffffffff}), 41u);
  EXPECT_EQ(compute("div.u32", {0xffffffff, 2}), 0x7fffffffu);
  EXPECT_EQ(compute("rem.u64", {23, 7}), 2u);
  EXPECT_EQ(compute("max.s32", {0xffffffff, 1}), 1u);
  EXPECT_EQ(compute("max.u32", {0xffffffff, 1}), 0xffffffffu);
  EXPECT_EQ(compute("min.s64", {~0ull, 1}), ~0ull);
  EXPECT_EQ(compute("not.pred", {1}), 0u);
}

TEST(PtxAlu, Bits) {
  EXPECT_EQ(compute("shl.b32", {1, 32}), 0u);
  EXPECT_EQ(compute("shl.b64", {1, 63}), 1ull << 63);
  EXPECT_EQ(compute("shr.u32", {0x80000000, 31}), 1u);
  EXPECT_EQ(compute("shr.u64", {~0ull, 64}), 0u);
  EXPECT_EQ(compute("shr.s64", {~0ull - 1, 200}), ~0ull);
  EXPECT_EQ(compute("bfe.u32", {0xabcd1234, 8, 8}), 0x12u);
  EXPECT_EQ(compute("bfe.u64", {0xabcdull << 40, 40, 12}), 0xbcdu);
  EXPECT_EQ(compute("bfe.u32", {~0ull, 28, 8}), 0xfu);
  EXPECT_EQ(compute("bfe.u32", {~0ull, 40, 8}), 0u);
  EXPECT_EQ(compute("bfe.s32", {0x8f00, 8, 8}), 0xffffff8fu);
  EXPECT_EQ(compute("bfe.s32", {0x7f00, 8, 8}), 0x7fu);
  EXPECT_EQ(compute("bfe.s32", {0x80000000, 28, 8}), 0xfffffff8u);
  EXPECT_EQ(compute("bfe.s32", {0x80000000, 40, 8}), 0xffffffffu);
  EXPECT_EQ(compute("bfe.s32", {0x80000000, 40, 0}), 0u);
  EXPECT_EQ(compute("bfe.s32", {0xff, 0, 0}), 0u);
  EXPECT_EQ(compute("bfe.s64", {0x80ull << 32, 32, 8}), ~0x7full);
  EXPECT_EQ(compute("bfe.s64", {~1ull, 0, 64}), ~1ull);
  EXPECT_EQ(compute("bfe.s64", {1ull << 63, 63, 255}), ~0ull);
  EXPECT_EQ(compute("clz.b32", {1}), 31u);
  EXPECT_EQ(compute("clz.b32", {0}), 32u);
  EXPECT_EQ(compute("popc.b32", {0xff00ff0000000fff}), 12u);
  EXPECT_EQ(compute("prmt.b32", {0x33221100, 0x77665544, 0x5410}), 0x55441100u);
  EXPECT_EQ(compute("prmt.b32", {0x80, 0, 0x7778}), 0xffu);
  EXPECT_EQ(compute("selp.b32", {5, 6, 0}), 6u);
}

TEST(PtxAlu, Conversions) {
  EXPECT_EQ(compute("cvt.s64.s32", {0x80000000}), 0xffffffff80000000u);
  EXPECT_EQ(compute("cvt.u64.u32", {0xdead80000000}), 0x80000000u);
  EXPECT_EQ(compute("cvt.s16.s8", {0xfe}), 0xfffeu);
  EXPECT_EQ(compute("cvt.rn.f32.u32", {0xffffffff}), 0x4f800000u);
  EXPECT_EQ(compute("cvt.rn.f32.s32", {0xffffffff}), 0xbf800000u);
  // 1, the smallest normal and subnormal number, infinity, and not a number.
  for (auto [half, single] : {std::pair<uint64_t, uint64_t>(0x3c00, 0x3f800000),
                              {0x0400, 0x38800000},
                              {0x8001, 0xb3800000},
                              {0x7c00, 0x7f800000}}) {
    EXPECT_EQ(compute("cvt.f32.f16", {half}), single);
    EXPECT_EQ(compute("cvt.rn.f16.f32", {single}), half);
  }
  EXPECT_EQ(compute("cvt.rn.f16.f32", {0x7fc00001}), 0x7fffu);
  // Ties go to the even one; what rounds up to a power of two; what is too
  // large.
  EXPECT_EQ(compute("cvt.rn.f16.f32", {0x3f801000}), 0x3c00u);
  EXPECT_EQ(compute("cvt.rn.f16.f32", {0x3f803000}), 0x3c02u);
  EXPECT_EQ(compute("cvt.rn.f16.f32", {0x3fffffff}), 0x4000u);
  EXPECT_EQ(compute("cvt.rn.f16.f32", {0x387fffff}), 0x0400u);
  EXPECT_EQ(compute("cvt.rn.f16.f32", {0x477ff000}), 0x7c00u);
  EXPECT_EQ(compute("cvt.rn.bf16x2.f32", {0x3f808000, 0x3f818000}),
            0x3f803f82u);
}

TEST(PtxAlu, Rounding) {
  // 2.5, -2.5, 3.5 and -0.5, to even, towards zero, down and up.
  for (auto [value, even, zero, down, up] :
       {std::array<uint64_t, 5>{0x40200000, 0x40000000, 0x40000000, 0x40000000,
                                0x40400000},
        {0xc0200000, 0xc0000000, 0xc0000000, 0xc0400000, 0xc0000000},
        {0x40600000, 0x40800000, 0x40400000, 0x40400000, 0x40800000},
        {0xbf000000, 0x80000000, 0x80000000, 0xbf800000, 0x80000000}}) {
    EXPECT_EQ(compute("cvt.rni.f32.f32", {value}), even);
    EXPECT_EQ(compute("cvt.rzi.f32.f32", {value}), zero);
    EXPECT_EQ(compute("cvt.rmi.f32.f32", {value}), down);
    EXPECT_EQ(compute("cvt.rpi.f32.f32", {value}), up);
  }
  EXPECT_EQ(compute("cvt.rzi.s32.f32", {0xc0200000}), 0xfffffffeu);
  EXPECT_EQ(compute("cvt.rzi.u32.f32", {0x40600000}), 3u);
  EXPECT_EQ(compute("cvt.rzi.s64.f32", {0xc0200000}), ~uint64_t(1));
  // Out of range, and no number.
  EXPECT_EQ(compute("cvt.rzi.s32.f32", {0x7f800000}), 0x7fffffffu);
  EXPECT_EQ(compute("cvt.rzi.s32.f32", {0xff800000}), 0x80000000u);
  EXPECT_EQ(compute("cvt.rzi.u32.f32", {0x7f800000}), 0xffffffffu);
  EXPECT_EQ(compute("cvt.rzi.u32.f32", {0xbf800000}), 0u);
  EXPECT_EQ(compute("cvt.rzi.s32.f32", {0x7fc00000}), 0u);
  EXPECT_EQ(compute("cvt.rzi.s64.f32", {0x7fc00000}), uint64_t(1) << 63);
}

TEST(PtxAlu, FloatingPoint) {
  EXPECT_EQ(compute("div.rn.f32", {0x40a00000, 0x40000000}), 0x40200000u);
  EXPECT_EQ(compute("sqrt.rn.f32", {0x40800000}), 0x40000000u);
  EXPECT_EQ(compute("add.rn.f32", {0x3f800000, 0x33800000}), 0x3f800000u);
  EXPECT_EQ(compute("mul.rn.f32", {0x40000000, 0x40400000}), 0x40c00000u);
  EXPECT_EQ(compute("add.rn.f32", {0x7f800000, 0xff800000}), 0x7fffffffu);
  EXPECT_EQ(compute("abs.f32", {0xbf800000}), 0x3f800000u);
  EXPECT_EQ(compute("add.rn.f16x2", {0x3c004000, 0x3c003c00}), 0x40004200u);
  // Not a number is neither less nor not less, unless the comparison says so.
  EXPECT_EQ(compute("setp.lt.f32", {0x7fc00000, 0}), 0u);
  EXPECT_EQ(compute("setp.geu.f32", {0x7fc00000, 0}), 1u);
  EXPECT_EQ(compute("setp.nan.f32", {0x7fc00000, 0}), 1u);
  EXPECT_EQ(compute("setp.eq.f32", {0x80000000, 0}), 1u);
}

static uint64_t bitsOfDouble(double value) {
  uint64_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

TEST(PtxAlu, DoublePrecision) {
  auto d = bitsOfDouble;
  const uint64_t nan = 0x7fffffffffffffff, smallest = 1;
  EXPECT_EQ(compute("add.rn.f64", {d(1), d(0x1p-53)}), d(1));
  EXPECT_EQ(compute("add.rn.f64", {d(1), d(0x1p-52)}), d(0x1.0000000000001p0));
  EXPECT_EQ(compute("sub.rn.f64", {d(INFINITY), d(INFINITY)}), nan);
  EXPECT_EQ(compute("mul.rn.f64", {d(0x1p-1074), d(0.75)}), smallest);
  EXPECT_EQ(compute("div.rn.f64", {d(1), d(3)}), d(1.0 / 3));
  EXPECT_EQ(compute("rcp.rn.f64", {d(-0.0)}), d(-INFINITY));
  EXPECT_EQ(compute("sqrt.rn.f64", {d(2)}), d(0x1.6a09e667f3bcdp0));
  // Rounded once: the product alone would be 1.
  EXPECT_EQ(compute("fma.rn.f64", {d(1 + 0x1p-30), d(1 - 0x1p-30), d(-1)}),
            d(-0x1p-60));
  EXPECT_EQ(compute("neg.f64", {d(0)}), d(-0.0));
  EXPECT_EQ(compute("abs.f64", {d(-2)}), d(2));
  EXPECT_EQ(compute("copysign.f64", {d(-0.0), d(3)}), d(-3));
  EXPECT_EQ(compute("copysign.f32", {0, 0xc0400000}), 0x40400000u);
  EXPECT_EQ(compute("setp.lt.f64", {d(-1), d(1)}), 1u);
  EXPECT_EQ(compute("setp.neu.f64", {nan, nan}), 1u);
  EXPECT_EQ(compute("selp.f64", {d(1), d(2), 0}), d(2));
  // To and from other types.
  EXPECT_EQ(compute("cvt.f64.f32", {0x00000001}), d(0x1p-149));
  EXPECT_EQ(compute("cvt.rn.f32.f64", {d(1 + 0x1p-24)}), 0x3f800000u);
  EXPECT_EQ(compute("cvt.rn.f32.f64", {d(1 + 0x1p-24 + 0x1p-50)}), 0x3f800001u);
  EXPECT_EQ(compute("cvt.rn.f32.f64", {d(0x1.8p-149)}), 2u);
  EXPECT_EQ(compute("cvt.rn.f64.s32", {0xffffffff}), d(-1));
  EXPECT_EQ(compute("cvt.rn.f64.s64", {(1ull << 53) + 1}), d(0x1p53));
  EXPECT_EQ(compute("cvt.rzi.s32.f64", {d(-2.75)}), 0xfffffffeu);
  EXPECT_EQ(compute("cvt.rzi.s32.f64", {d(1e10)}), 0x7fffffffu);
  EXPECT_EQ(compute("cvt.rzi.s64.f64", {d(0x1p62)}), 1ull << 62);
  EXPECT_EQ(compute("cvt.rmi.f64.f64", {d(-2.5)}), d(-3));
  EXPECT_EQ(compute("cvt.rzi.f64.f64", {d(-0.5)}), d(-0.0));
}

TEST(PtxAlu, MinimaAndMaximaKnowNanAndSignedZeros) {
  const uint64_t nan = 0x7fc00000, one = 0x3f800000, minusZero = 0x80000000;
  EXPECT_EQ(compute("max.f32", {nan, one}), one);
  EXPECT_EQ(compute("min.f32", {one, nan}), one);
  EXPECT_EQ(compute("max.NaN.f32", {nan, one}), 0x7fffffffu);
  EXPECT_EQ(compute("min.NaN.f32", {one, nan}), 0x7fffffffu);
  for (const char *larger : {"max.f32", "max.NaN.f32"}) {
    EXPECT_EQ(compute(larger, {minusZero, 0}), 0u);
    EXPECT_EQ(compute(larger, {0, minusZero}), 0u);
  }
  for (const char *smaller : {"min.f32", "min.NaN.f32"}) {
    EXPECT_EQ(compute(smaller, {minusZero, 0}), minusZero);
    EXPECT_EQ(compute(smaller, {0, minusZero}), minusZero);
  }
}

TEST(PtxAlu, FunnelShifts) {
  EXPECT_EQ(compute("shf.l.wrap.b32", {0x80000001, 0x12345678, 4}),
            0x23456788u);
  EXPECT_EQ(compute("shf.r.wrap.b32", {0x80000001, 0x12345678, 4}),
            0x88000000u);
  EXPECT_EQ(compute("shf.l.wrap.b32", {0x80000001, 0x12345678, 32}),
            0x12345678u);
}

TEST(PtxAlu, UnknownInstructionsAreRefused) {
  for (const char *opcode : {"add.rz.f64",
                             "cvt.rn.f16.f64",
                             "sqrt.approx.f64",
                             "rcp.approx.f32",
                             "shf.l.clamp.b32",
                             "max.NaN.s32",
                             "st.const.b32",
                             "cvt.rn.s32.f32",
                             "div.approx.f32",
                             "sqrt.approx.f32",
                             "sqrt.rn.f16",
                             "add.sat.s32",
                             "sin.approx.f32",
                             "ld.global.ca.b32",
                             "bfe.f32",
                             "cvt.rz.f16.f32",
                             "fma.rn.f16",
                             "atom.global.max.s32",
                             "atom.global.add.f32",
                             "atom.global.cas.b16",
                             "vote.sync.all.pred",
                             "fma.rn.s32",
                             "and.f32"}) {
    Instruction op;
    EXPECT_FALSE(parseOpcode(opcode, op) &&
                 (!isArithmetic(op.op) || canEvaluate(op)))
        << opcode;
  }
}
