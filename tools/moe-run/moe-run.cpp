//===- moe-run.cpp - run an artifact on several ranks ---------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Launch.h"
#include "Options.h"
#include "Report.h"
#include "Signals.h"
#include "StandardStream.h"

#include <cstdio>
#include <new>

using namespace moe::rt;
using namespace moe::run;

static int runMain(int argc, char **argv) {
  prepareProcess();
  Options options;
  std::string usageError;
  if (!parseOptions(argc, argv, options, usageError))
    return launch(options, usageError + "\n" + usage());
  if (!options.help && !options.probe)
    return launch(options, "");
  Status status = print(options.help ? usage() : probe() + "\n");
  if (!status.isOk())
    printError(status.message());
  return status.isOk() ? 0 : 1;
}

int main(int argc, char **argv) {
  try {
    return runMain(argc, argv);
  } catch (const std::bad_alloc &) {
    std::fputs("moe-run: error: out of memory\n", stderr);
    return 1;
  }
}
