//===- PtxGridTest.cpp - kernels of the stand-in --------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PtxGrid.h"

#include <array>
#include <cstring>
#include <gtest/gtest.h>

using namespace moe::standin;

/// A kernel that gets an address in %rd0, with its thread in %r0 and %rd1.
static std::string kernelText(const std::string &body) {
  return ".version 8.0\n.target sm_90\n.address_size 64\n"
         ".visible .entry k(.param .u64 k_param_0)\n{\n"
         ".reg .b64 %rd<10>;\n.reg .b32 %r<10>;\n.reg .pred %p<4>;\n"
         ".shared .align 16 .b8 memory[1024];\n"
         "ld.param.b64 %rd0, [k_param_0];\n"
         "mov.u32 %r0, %tid.x;\ncvt.u64.u32 %rd1, %r0;\n" +
         body + "ret;\n}\n";
}

static std::unique_ptr<Program> parse(const std::string &text) {
  std::string error;
  auto program = parsePtx(text, error);
  EXPECT_TRUE(program) << error;
  return program;
}

/// Runs the kernel with the address of `memory`.
static void runAt(void *memory, const Program &program, int64_t blocks,
                  int64_t threads, uint64_t seed) {
  std::vector<char> arguments(sizeof(memory));
  std::memcpy(arguments.data(), &memory, sizeof(memory));
  const Function &kernel = *program.kernels.at("k");
  Grid(program, kernel, {blocks, threads, 0}, arguments, seed).run();
}

/// Runs it under many schedules; the words it leaves each time are the same.
static std::vector<uint32_t> runKernel(const std::string &body, int64_t blocks,
                                       int64_t threads,
                                       std::vector<uint32_t> words) {
  std::unique_ptr<Program> program = parse(kernelText(body));
  std::vector<uint32_t> first;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    std::vector<uint32_t> memory = words;
    runAt(memory.data(), *program, blocks, threads, seed);
    if (seed > 0) {
      EXPECT_EQ(memory, first) << "seed " << seed;
    }
    first = memory;
  }
  return first;
}

static std::string faultOf(const std::string &body, int64_t threads = 32) {
  try {
    runKernel(body, 1, threads, std::vector<uint32_t>(256));
  } catch (const Fault &fault) {
    return fault.what();
  }
  return "no fault";
}

static void expectFault(const std::string &body, const char *what,
                        int64_t threads = 32) {
  std::string fault = faultOf(body, threads);
  EXPECT_NE(fault.find(what), std::string::npos) << fault;
}

/// Address of word %r0 in %rd2.
static const char myWord[] = "shl.b64 %rd2, %rd1, 2;\n"
                             "add.s64 %rd2, %rd0, %rd2;\n";

TEST(PtxGrid, ThreadsOfABlockExchangeThroughSharedMemory) {
  std::string body = std::string(myWord) + "shl.b32 %r1, %r0, 2;\n"
                                           "st.shared.b32 [%r1], %r0;\n"
                                           "bar.sync 0;\n"
                                           "sub.s32 %r2, 252, %r1;\n"
                                           "ld.shared.b32 %r3, [%r2];\n"
                                           "st.global.b32 [%rd2], %r3;\n";
  std::vector<uint32_t> result =
      runKernel(body, 1, 64, std::vector<uint32_t>(64));
  for (uint32_t i = 0; i < 64; ++i)
    EXPECT_EQ(result[i], 63 - i);
}

TEST(PtxGrid, LanesShuffleVoteAndSum) {
  std::string body = std::string(myWord) +
                     "shfl.sync.idx.b32 %r1|%p0, %r0, 3, 31, -1;\n"
                     "setp.lt.u32 %p1, %r0, 5;\n"
                     "vote.sync.ballot.b32 %r2, %p1, -1;\n"
                     "redux.sync.add.s32 %r3, %r0, -1;\n"
                     "add.s32 %r4, %r1, %r2;\n"
                     "add.s32 %r4, %r4, %r3;\n"
                     "st.global.b32 [%rd2], %r4;\n";
  std::vector<uint32_t> result =
      runKernel(body, 1, 32, std::vector<uint32_t>(32));
  EXPECT_EQ(result, std::vector<uint32_t>(32, 3 + 31 + 31 * 16));
}

TEST(PtxGrid, BlocksAddUp) {
  EXPECT_EQ(
      runKernel("atom.global.add.u64 %rd2, [%rd0], %rd1;\n", 3, 64, {0, 0})[0],
      3u * 63 * 32);
}

/// Also from a function, whose caller does not go on.
TEST(PtxGrid, ExitEndsTheThread) {
  std::string text =
      kernelText(std::string(myWord) + "setp.lt.u32 %p0, %r0, 10;\n"
                                       "@%p0 exit;\n"
                                       "call.uni leave, ();\n"
                                       "st.global.b32 [%rd2], 1;\n");
  text.insert(text.find(".visible .entry"),
              ".func leave()\n{\nexit;\nret;\n}\n");
  std::unique_ptr<Program> program = parse(text);
  ASSERT_TRUE(program);
  std::vector<uint32_t> memory(32);
  runAt(memory.data(), *program, 1, 32, /*seed=*/1);
  EXPECT_EQ(memory, std::vector<uint32_t>(32));
  std::vector<uint32_t> rest =
      runKernel(std::string(myWord) + "setp.lt.u32 %p0, %r0, 10;\n"
                                      "@%p0 exit;\n"
                                      "st.global.b32 [%rd2], 1;\n",
                1, 32, std::vector<uint32_t>(32));
  for (uint32_t i = 0; i < 32; ++i)
    EXPECT_EQ(rest[i], i < 10 ? 0u : 1u);
}

TEST(PtxGrid, FunctionsHaveParametersAndResults) {
  std::string twice = ".func (.param .b32 func_retval0) twice(\n"
                      ".param .b32 twice_param_0\n)\n{\n.reg .b32 %r<3>;\n"
                      "ld.param.b32 %r1, [twice_param_0];\n"
                      "add.s32 %r2, %r1, %r1;\n"
                      "st.param.b32 [func_retval0], %r2;\nret;\n}\n";
  std::string text = kernelText("{\n.param .b32 param0;\n.param .b32 retval0;\n"
                                "st.param.b32 [param0], 21;\n"
                                "call.uni (retval0), twice, (param0);\n"
                                "ld.param.b32 %r1, [retval0];\n}\n"
                                "st.global.b32 [%rd0], %r1;\n");
  uint32_t word = 0;
  runAt(&word, *parse(twice + text), 1, 1, 1);
  EXPECT_EQ(word, 42u);
}

TEST(PtxGrid, ConstantsAreRead) {
  std::string table = ".const .align 8 .b8 table[16] = {1, 0, 0, 0, 2};\n"
                      ".const .align 4 .b32 words[2] = {7, -1};\n";
  std::string text = table + kernelText("ld.const.b32 %r1, [table+4];\n"
                                        "ld.const.b32 %r2, [words+4];\n"
                                        "mov.b64 %rd2, table;\n"
                                        "ld.const.b64 %rd3, [%rd2+8];\n"
                                        "cvt.u32.u64 %r3, %rd3;\n"
                                        "add.s32 %r1, %r1, %r2;\n"
                                        "add.s32 %r1, %r1, %r3;\n"
                                        "st.global.b32 [%rd0], %r1;\n");
  uint32_t word = 0;
  runAt(&word, *parse(text), 1, 1, 1);
  EXPECT_EQ(word, 1u);

  std::string beyond = table + kernelText("ld.const.b64 %rd3, [table+16];\n");
  EXPECT_THROW(runAt(&word, *parse(beyond), 1, 1, 1), Fault);
}

TEST(PtxGrid, BulkCopiesCountTheirBytes) {
  std::string body = "setp.ne.b32 %p0, %r0, 0;\n"
                     "@%p0 bra $done;\n"
                     "mbarrier.init.shared.b64 [memory+512], 1;\n"
                     "mbarrier.arrive.expect_tx.shared::cta.b64 _, "
                     "[memory+512], 64;\n"
                     "mov.b64 %rd3, memory;\n"
                     "add.s64 %rd4, %rd3, 512;\n"
                     "cp.async.bulk.shared::cluster.global.mbarrier::"
                     "complete_tx::bytes [%rd3], [%rd0], 64, [%rd4];\n"
                     "$wait:\n"
                     "mbarrier.try_wait.parity.shared::cta.b64 %p1, "
                     "[memory+512], 0;\n"
                     "@!%p1 bra $wait;\n"
                     "add.s64 %rd5, %rd0, 64;\n"
                     "cp.async.bulk.global.shared::cta.bulk_group [%rd5], "
                     "[%rd3], 64;\n"
                     "cp.async.bulk.commit_group;\n"
                     "cp.async.bulk.wait_group 0;\n"
                     "$done:\n";
  std::vector<uint32_t> words(32);
  for (uint32_t i = 0; i < 16; ++i)
    words[i] = i + 1;
  // Bulk copies want 16 bytes of alignment.
  alignas(16) uint32_t memory[32];
  std::copy(words.begin(), words.end(), memory);
  runAt(memory, *parse(kernelText(body)), 1, 32, 3);
  for (uint32_t i = 0; i < 32; ++i)
    EXPECT_EQ(memory[i], i % 16 + 1);
}

TEST(PtxGrid, CopiesThatHaveReadMayWriteLater) {
  // Once the source has been read it may change; only a full wait brings the
  // target about.
  std::string body = "setp.ne.b32 %p0, %r0, 0;\n@%p0 bra $done;\n"
                     "st.shared.v4.b32 [memory], {1, 2, 3, 4};\n"
                     "mov.b64 %rd3, memory;\n"
                     "cp.async.bulk.global.shared::cta.bulk_group [%rd0], "
                     "[%rd3], 16;\n"
                     "cp.async.bulk.commit_group;\n"
                     "cp.async.bulk.wait_group.read 0;\n"
                     "st.shared.b32 [memory], 9;\n"
                     "ld.global.b32 %r1, [%rd0];\n";
  std::string full = body + "cp.async.bulk.wait_group 0;\n"
                            "ld.global.b32 %r1, [%rd0];\n";
  std::string store = "st.global.b32 [%rd0+16], %r1;\n$done:\n";
  auto seen = [](const std::string &text) {
    std::unique_ptr<Program> program = parse(kernelText(text));
    alignas(16) uint32_t memory[8] = {};
    int numLate = 0;
    for (uint64_t seed = 0; seed < 50; ++seed) {
      memory[0] = 0;
      runAt(memory, *program, 1, 1, seed);
      EXPECT_EQ(memory[0], 1u);
      numLate += memory[4] == 0;
    }
    return numLate;
  };
  EXPECT_GT(seen(body + store), 0);
  EXPECT_EQ(seen(full + store), 0);
}

TEST(PtxGrid, FaultsAreFound) {
  expectFault("setp.lt.u32 %p0, %r0, 16;\n@%p0 bra $skip;\nbar.sync 0;\n"
              "$skip:\nbar.warp.sync -1;\n",
              "waits for threads that do not come");
  expectFault("setp.lt.u32 %p0, %r0, 16;\n@%p0 bra $one;\n"
              "bar.sync 0;\nbra.uni $done;\n$one:\n"
              "bar.red.and.pred %p1, 0, %p0;\n$done:\n",
              "another barrier than the rest");
  expectFault("st.shared.b32 [memory+1024], 1;\n",
              "byte 1024 of shared memory");
  expectFault("ld.global.b64 %rd3, [%rd0+4];\n", "not aligned to 8 bytes");
  expectFault("mov.b64 %rd3, 8;\nst.global.b32 [%rd3], 1;\n", "the address 8");
  expectFault("setp.eq.b32 %p0, %r0, 7;\n@%p0 bra $done;\n"
              "bar.warp.sync -1;\n$done:\n",
              "lane 7, which has ended");
  expectFault("shfl.sync.idx.b32 %r1, %r0, 0, 31, -1;\n",
              "lanes that there are not", 16);
  expectFault("mbarrier.init.shared.b64 [memory], 1;\nbar.sync 0;\n"
              "setp.ge.u32 %p0, %r0, 2;\n@%p0 bra $done;\n"
              "cp.async.bulk.global.shared::cta.bulk_group [%rd0+8], [memory], "
              "16;\n$done:\n",
              "not aligned to 16 bytes");
  expectFault("setp.ne.b32 %p0, %r0, 0;\n@%p0 bra $done;\n"
              "and.b64 %rd3, %rd0, -16;\nadd.s64 %rd3, %rd3, 16;\n"
              "cp.async.bulk.global.shared::cta.bulk_group [%rd3], [memory], "
              "16;\n$done:\n",
              "ends before its bulk copies");
}

TEST(PtxParser, ErrorsNameTheLine) {
  for (auto [text, what] :
       {std::pair(".version 8.0\n.entry k()\n{\nfoo.b32 %r1;\n}\n",
                  "line 4: the instruction foo.b32"),
        {".version 8.0\n.entry k()\n{\nbra $nowhere;\n}\n", "label $nowhere"},
        {".version 8.0\n.entry k()\n{\nmov.b32 %r1, 1;\n}\n",
         "line 4: register %r1"},
        {".version 8.0\n.entry k()\n{\ncall.uni f;\n}\n", "function f"},
        {".version 8.0\n.entry k(", "expected '.param'"},
        {".version 8.0\n.entry k()\n{\n", "the text ends early"}}) {
    std::string error;
    EXPECT_FALSE(parsePtx(text, error)) << text;
    EXPECT_NE(error.find(what), std::string::npos) << error;
  }
}
