//===- Lowerings.h - collectives between ranks that share memory *- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_CONVERSION_MOETOSYMM_LOWERINGS_H
#define MOE_MLIR_LIB_CONVERSION_MOETOSYMM_LOWERINGS_H

#include "../MoEProtocols/KernelBuilder.h"

namespace mlir::moe {

/// How a combine by expert that pushes asks for the only row of a token, where
/// the rank that has it must know that it is the only one: by this minus its
/// number. -1 stands for no row.
constexpr int64_t kOnlyRow = -2;

/// Lowerings to the work of one thread, one file each.
void lowerDispatch(DispatchOp op, ProtocolBuilder &b);
void lowerCombine(CombineOp op, ProtocolBuilder &b);
/// With expert_major, where it pushes.
void lowerCombineOfPartials(CombineOp op, ProtocolBuilder &b);
void lowerAllToAllv(AllToAllvOp op, ProtocolBuilder &b);

/// Lowerings to kernels, one file each.
void lowerDispatchToKernel(DispatchOp op, KernelBuilder &b);
void lowerCombineToKernel(CombineOp op, KernelBuilder &b);
void lowerAllToAllvToKernel(AllToAllvOp op, KernelBuilder &b);

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_CONVERSION_MOETOSYMM_LOWERINGS_H
