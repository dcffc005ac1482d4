//===- CollectiveLowering.cpp - patterns of collectives -------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CollectiveLowering.h"

#include "moe-mlir/Dialect/Coll/IR/Coll.h"
#include "moe-mlir/Dialect/Symm/IR/Symm.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

void moe::addProtocolDialects(ConversionTarget &target) {
  target.addIllegalDialect<MoEDialect>();
  target.addLegalDialect<
      arith::ArithDialect, coll::CollDialect, func::FuncDialect,
      gpu::GPUDialect, linalg::LinalgDialect, math::MathDialect,
      memref::MemRefDialect, NVVM::NVVMDialect, scf::SCFDialect,
      symm::SymmDialect, vector::VectorDialect>();
}
