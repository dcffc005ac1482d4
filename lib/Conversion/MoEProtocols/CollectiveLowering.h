//===- CollectiveLowering.h - patterns of collectives ---------- -*- C++
//-*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_COLLECTIVELOWERING_H
#define MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_COLLECTIVELOWERING_H

#include "moe-mlir/Conversion/SiteNumbers.h"
#include "moe-mlir/Dialect/MoE/IR/MoE.h"

#include "mlir/Transforms/DialectConversion.h"

#include <functional>

namespace mlir::moe {

/// What ranks do is known of a collective in its memref form, whose grid is
/// resolved. `lower` builds it before the op, which is number `site`; `sites`
/// has to outlive the pattern.
template <typename OpTy>
class CollectiveLowering : public OpConversionPattern<OpTy> {
public:
  using Lower = std::function<void(OpTy, OpBuilder &, int64_t site)>;

  CollectiveLowering(MLIRContext *context, const SiteNumbers &sites,
                     Lower lower)
      : OpConversionPattern<OpTy>(context), sites(sites),
        lower(std::move(lower)) {}

  LogicalResult
  matchAndRewrite(OpTy op, typename OpTy::Adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    if (op.isTensorForm())
      return rewriter.notifyMatchFailure(op, "not in memref form");
    if (op.getNumRanks() == 0)
      return rewriter.notifyMatchFailure(op, "its grid is not resolved");
    if (failed(checkOperands(op, rewriter)))
      return failure();
    lower(op, rewriter, sites.lookup(op));
    rewriter.eraseOp(op);
    return success();
  }

protected:
  /// What a protocol asks of the buffers of an op.
  virtual LogicalResult checkOperands(OpTy op,
                                      ConversionPatternRewriter &) const {
    return success();
  }

private:
  const SiteNumbers &sites;
  Lower lower;
};

/// Collectives are to be lowered, to the dialects that protocols are made of.
void addProtocolDialects(ConversionTarget &target);

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_CONVERSION_MOEPROTOCOLS_COLLECTIVELOWERING_H
