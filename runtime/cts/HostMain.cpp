//===- HostMain.cpp - the conformance suite on the host backend -----------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RankPool.h"

const moe::rt::cts::BackendUnderTest moe::rt::cts::backendUnderTest = {
    "host", "", 64, true, nullptr, false};

int main(int argc, char **argv) { return moe::rt::cts::runSuite(argc, argv); }
