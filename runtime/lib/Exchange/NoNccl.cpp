//===- NoNccl.cpp - the place of the NCCL transport -----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/Exchanger.h"

using namespace moe::rt;

Expected<std::unique_ptr<Exchanger>>
moe::rt::createNcclExchanger(const ExchangerSetup &) {
  return Status(MOERT_UNAVAILABLE, "this runtime has no NCCL transport");
}
