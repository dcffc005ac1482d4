//===- Agreement.h - what ranks need before they use NCCL -------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LIB_NCCL_AGREEMENT_H
#define MOE_RUNTIME_LIB_NCCL_AGREEMENT_H

#include "Library.h"
#include "moe-runtime/Exchanger.h"

namespace moe::rt::nccl {

/// Collective. The library, where all ranks have one, a GPU each, and either
/// all lend a communicator or none does: NCCL would wait for ranks that differ.
Expected<const Library *> openTogether(const ExchangerSetup &setup);

} // namespace moe::rt::nccl

#endif // MOE_RUNTIME_LIB_NCCL_AGREEMENT_H
