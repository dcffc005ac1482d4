//===- FibersTest.cpp - kernels on a runtime of one rank ------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "FibersTest.h"

#include <csetjmp>

static jmp_buf callExit;
static int64_t failCode;
std::string failWhat;

extern "C" int64_t moert_rank() { return 0; }
extern "C" void moert_phase(const char *) {}
extern "C" void moert_fail(int64_t code, const char *what, int64_t, int64_t,
                           int64_t, int64_t, int64_t, int64_t) {
  failCode = code;
  failWhat = what;
  _longjmp(callExit, 1);
}
/// Whoever asks has waited in vain for long.
extern "C" void moert_wait(const uint64_t *flag, uint64_t value, int64_t peer) {
  if (__atomic_load_n(flag, __ATOMIC_ACQUIRE) < value)
    moert_fail(MOERT_TIMEOUT, "signal", int64_t(value), int64_t(value),
               int64_t(*flag), peer, -1, -1);
}

int64_t runOnce(Kernel kernel, Memory &memory) {
  failCode = MOERT_OK;
  if (_setjmp(callExit) == 0)
    moe_fiber_launch(kernel, &memory, kBlocks, kThreads, kSharedBytes);
  return failCode;
}

Outcome runMany(Kernel kernel, bool (*isRight)(const Memory &), int64_t runs) {
  static Memory memory;
  Outcome outcome;
  for (int64_t run = 0; run < runs; ++run) {
    memset(&memory, 0, sizeof(memory));
    for (int64_t i = 0; i < 8; ++i)
      memset(memory.rows[i], int(i + 1), kBytes);
    int64_t code = runOnce(kernel, memory);
    if (code == MOERT_INTERNAL)
      ++outcome.rejected;
    else if (code != MOERT_OK)
      ++outcome.other;
    else
      ++(isRight(memory) ? outcome.right : outcome.wrong);
  }
  return outcome;
}

int main(int argc, char **argv) {
  setenv("MOE_FIBER_SEED", "1", /*overwrite=*/0);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
