//===- moe-run.cpp - run an artifact on several ranks ---------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Options.h"
#include "Report.h"
#include "Supervisor.h"

#include <cstdio>
#include <cstdlib>
#include <new>

using namespace moe::rt;
using namespace moe::run;

static int runMain(int argc, char **argv) {
  Options options;
  std::string error;
  if (!parseOptions(argc, argv, options, error)) {
    printError(error + "\n" + usage());
    return 2;
  }
  if (options.help || options.probe) {
    Status status = print(options.help ? usage() : probe() + "\n");
    if (!status.isOk())
      printError(status.message());
    return status.isOk() ? 0 : 1;
  }
  return std::getenv("OMPI_COMM_WORLD_SIZE") ? runMpiRank(options)
                                             : runSupervised(options);
}

int main(int argc, char **argv) {
  try {
    return runMain(argc, argv);
  } catch (const std::bad_alloc &) {
    std::fputs("moe-run: error: out of memory\n", stderr);
    return 1;
  }
}
