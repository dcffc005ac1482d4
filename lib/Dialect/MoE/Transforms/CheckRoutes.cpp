//===- CheckRoutes.cpp - compare ops with the dispatch of their rows ------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// This is a pass and not part of the verifiers, which look at one op.
///
//===----------------------------------------------------------------------===//

#include "moe-mlir/Dialect/MoE/Transforms/Passes.h"

#include "ValueOrigins.h"
#include "moe-mlir/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Matchers.h"

namespace mlir::moe {
#define GEN_PASS_DEF_MOECHECKROUTESPASS
#include "moe-mlir/Dialect/MoE/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

using Output = DispatchOp::Output;

namespace {

/// Compares ops with the dispatch whose rows they move.
class RouteChecker {
public:
  explicit RouteChecker(Operation *root) : origins(root) {}

  LogicalResult check(CombineOp op);
  /// Of a dispatch with `reuse`.
  LogicalResult check(DispatchOp op);

private:
  /// The dispatch that `value` is a result of, and which result it is; null for
  /// anything else. A buffer may have been written by anybody.
  std::pair<DispatchOp, Output> findDispatch(Value value);
  /// The one that counted the rows: of a `reuse` that of its `send_row`. Null
  /// when it is not known.
  DispatchOp findRoutes(DispatchOp op);
  bool haveSameRoutes(DispatchOp a, DispatchOp b);
  /// Whether the contents of the two are known to be of different origins.
  bool areDifferent(Value a, Value b);

  template <typename OpT>
  LogicalResult checkAttributes(OpT op, DispatchOp dispatch);
  LogicalResult checkPlaces(DispatchOp op, DispatchOp dispatch);
  LogicalResult checkKind(Operation *op, StringRef name, Value value,
                          Output kind);
  LogicalResult checkOperand(Operation *op, StringRef name, Value value,
                             DispatchOp &routes, StringRef &nameOfRoutes);
  template <typename OpT> LogicalResult checkBlocks(OpT op);
  LogicalResult checkTopk(Operation *op, Value topk, DispatchOp dispatch);

  ValueOrigins origins;
};

} // namespace

std::pair<DispatchOp, Output> RouteChecker::findDispatch(Value value) {
  Value origin = origins.getOrigin(value);
  auto op = origin ? origin.getDefiningOp<DispatchOp>() : nullptr;
  if (op)
    for (Output kind : op.getOutputKinds())
      if (op.getOutput(kind) == origin)
        return {op, kind};
  return {nullptr, Output::RecvX};
}

DispatchOp RouteChecker::findRoutes(DispatchOp op) {
  if (!op.isReuse())
    return op;
  auto [dispatch, kind] = findDispatch(op.getReuse().front());
  return kind == Output::SendRow ? dispatch : nullptr;
}

/// Two dispatches of the same experts place their rows alike.
bool RouteChecker::haveSameRoutes(DispatchOp a, DispatchOp b) {
  if (a == b)
    return true;
  auto getAttributes = [](DispatchOp op) {
    return std::tuple(op.getGrid(), op.getNumExperts(), op.getLayout(),
                      op.getOrder(), op.getAlignment(), op.getOverflow(),
                      op.getTokenBound(), op.getNumRows(op.getNumRanks()));
  };
  Value origin = origins.getOrigin(a.getTopkIdx());
  return origin && origin == origins.getOrigin(b.getTopkIdx()) &&
         getAttributes(a) == getAttributes(b);
}

bool RouteChecker::areDifferent(Value a, Value b) {
  Value first = origins.getOrigin(a), second = origins.getOrigin(b);
  if (!first || !second || first == second)
    return false;
  // Two computations may give the same; two arguments of an entry, a dispatch
  // and the source text may not.
  auto isLeaf = [](Value value) {
    if (Operation *op = value.getDefiningOp())
      return isa<DispatchOp>(op) || op->hasTrait<OpTrait::ConstantLike>();
    Block *block = value.getParentBlock();
    auto function = dyn_cast<func::FuncOp>(block->getParentOp());
    return function && function.isPublic() && block->isEntryBlock();
  };
  if (!isLeaf(first) || !isLeaf(second))
    return false;
  Attribute constant, other;
  return !matchPattern(first, m_Constant(&constant)) ||
         !matchPattern(second, m_Constant(&other)) || constant != other;
}

/// `got`, of `op`, is to be what it is of the dispatch whose `send_row` it
/// takes.
template <typename T>
static LogicalResult checkSame(Operation *op, DispatchOp dispatch,
                               StringRef name, const T &got, const T &want) {
  if (got == want)
    return success();
  InFlightDiagnostic diag = op->emitOpError("expects ")
                            << name << " (" << got
                            << ") to be that of the dispatch of 'send_row' ("
                            << want << ")";
  diag.attachNote(dispatch.getLoc()) << "the dispatch is here";
  return diag;
}

/// What a combine and a dispatch with `reuse` have both.
template <typename OpT>
LogicalResult RouteChecker::checkAttributes(OpT op, DispatchOp dispatch) {
  if (failed(checkSame(op, dispatch, "the grid", op.getGrid(),
                       dispatch.getGrid())) ||
      failed(checkSame(op, dispatch, "'num_experts'", op.getNumExperts(),
                       dispatch.getNumExperts())) ||
      failed(checkSame(op, dispatch, "'layout'",
                       stringifyLayout(op.getLayout()),
                       stringifyLayout(dispatch.getLayout()))))
    return failure();
  // A static T takes the place of 'max_tokens'.
  return checkSame(op, dispatch, "the bound of T", op.getTokenBound(),
                   dispatch.getTokenBound());
}

/// What says where a dispatch puts rows, and which of them.
LogicalResult RouteChecker::checkPlaces(DispatchOp op, DispatchOp dispatch) {
  if (failed(checkSame(op, dispatch, "'order'", stringifyOrder(op.getOrder()),
                       stringifyOrder(dispatch.getOrder()))) ||
      failed(checkSame(op, dispatch, "'overflow'",
                       stringifyOverflow(op.getOverflow()),
                       stringifyOverflow(dispatch.getOverflow()))) ||
      failed(checkSame(op, dispatch, "'alignment'", op.getAlignment(),
                       dispatch.getAlignment())))
    return failure();
  return checkSame(op, dispatch, "the number of rows",
                   op.getNumRows(op.getNumRanks()),
                   dispatch.getNumRows(dispatch.getNumRanks()));
}

/// `value`, if it is a result of a dispatch, is to be the one of `kind`.
LogicalResult RouteChecker::checkKind(Operation *op, StringRef name,
                                      Value value, Output kind) {
  auto [dispatch, found] = findDispatch(value);
  if (!dispatch || found == kind)
    return success();
  InFlightDiagnostic diag = op->emitOpError("expects '")
                            << name << "' to be '"
                            << DispatchOp::stringifyOutput(kind)
                            << "' of a dispatch, got its '"
                            << DispatchOp::stringifyOutput(found) << "'";
  diag.attachNote(dispatch.getLoc()) << "the dispatch is here";
  return diag;
}

/// `value`, if it is a result of a dispatch, is to be of one with the routes of
/// the operands before it. The first one that is known sets `routes`.
LogicalResult RouteChecker::checkOperand(Operation *op, StringRef name,
                                         Value value, DispatchOp &routes,
                                         StringRef &nameOfRoutes) {
  DispatchOp dispatch = findDispatch(value).first;
  DispatchOp here = dispatch ? findRoutes(dispatch) : nullptr;
  if (!here)
    return success();
  if (!routes) {
    routes = here;
    nameOfRoutes = name;
  }
  if (haveSameRoutes(routes, here))
    return success();
  InFlightDiagnostic diag = op->emitOpError("expects '")
                            << name << "' to be of the dispatch of '"
                            << nameOfRoutes << "', got that of another one";
  diag.attachNote(routes.getLoc())
      << "the dispatch of '" << nameOfRoutes << "' is here";
  diag.attachNote(here.getLoc()) << "the dispatch of '" << name << "' is here";
  return diag;
}

/// The expert ids are to be those that were dispatched.
LogicalResult RouteChecker::checkTopk(Operation *op, Value topk,
                                      DispatchOp dispatch) {
  if (!topk || !areDifferent(topk, dispatch.getTopkIdx()))
    return success();
  InFlightDiagnostic diag = op->emitOpError(
      "expects expert ids that are 'topk_idx' of the dispatch of 'send_row', "
      "got others");
  diag.attachNote(dispatch.getLoc()) << "the dispatch is here";
  return diag;
}

/// combine_c9
LogicalResult RouteChecker::check(CombineOp op) {
  if (failed(checkKind(op, "send_row", op.getSendRow(), Output::SendRow)) ||
      failed(checkKind(op, "recv_src_idx", op.getRecvSrcIdx(),
                       Output::RecvSrcIdx)) ||
      failed(checkKind(op, "n_tokens_from_rank", op.getNTokensFromRank(),
                       Output::TokensFromRank)) ||
      failed(checkBlocks(op)))
    return failure();
  DispatchOp dispatch = findDispatch(op.getSendRow()).first;
  if (dispatch && (failed(checkAttributes(op, dispatch)) ||
                   failed(checkTopk(op, op.getTopk(), dispatch))))
    return failure();
  DispatchOp routes;
  StringRef name;
  for (auto [operand, value] :
       {std::pair<StringRef, Value>("send_row", op.getSendRow()),
        {"recv_src_idx", op.getRecvSrcIdx()},
        {"n_tokens_from_rank", op.getNTokensFromRank()},
        {"peer_blocks", op.getPeerBlocks()},
        {"peer_rows", op.getPeerRows()},
        {"y", op.getY()},
        {"weights", op.getWeights()}})
    if (value && failed(checkOperand(op, operand, value, routes, name)))
      return failure();
  return success();
}

template <typename OpT> LogicalResult RouteChecker::checkBlocks(OpT op) {
  if (!op.hasBlocks())
    return success();
  return failure(
      failed(checkKind(op, "peer_blocks", op.getPeerBlocks(),
                       Output::PeerBlocks)) ||
      failed(checkKind(op, "peer_rows", op.getPeerRows(), Output::PeerRows)));
}

/// dispatch_c13
LogicalResult RouteChecker::check(DispatchOp op) {
  Value sendRow = op.getReuse().front();
  if (failed(checkKind(op, "send_row", sendRow, Output::SendRow)) ||
      failed(checkBlocks(op)))
    return failure();
  DispatchOp routes;
  StringRef name;
  for (auto [operand, value] :
       {std::pair<StringRef, Value>("send_row", sendRow),
        {"peer_blocks", op.getPeerBlocks()},
        {"peer_rows", op.getPeerRows()}})
    if (value && failed(checkOperand(op, operand, value, routes, name)))
      return failure();
  DispatchOp dispatch = findDispatch(sendRow).first;
  if (!dispatch)
    return success();
  return failure(failed(checkAttributes(op, dispatch)) ||
                 failed(checkPlaces(op, dispatch)) ||
                 failed(checkTopk(op, op.getRoutingTopkIdx(), dispatch)));
}

namespace {

struct MoECheckRoutesPass
    : public moe::impl::MoECheckRoutesPassBase<MoECheckRoutesPass> {
  using MoECheckRoutesPassBase::MoECheckRoutesPassBase;

  void runOnOperation() override {
    RouteChecker checker(getOperation());
    bool hasFailed = false;
    getOperation()->walk([&](Operation *op) {
      if (auto combine = dyn_cast<CombineOp>(op))
        hasFailed |= failed(checker.check(combine));
      else if (auto dispatch = dyn_cast<DispatchOp>(op);
               dispatch && dispatch.isReuse())
        hasFailed |= failed(checker.check(dispatch));
    });
    markAllAnalysesPreserved();
    if (hasFailed)
      signalPassFailure();
  }
};

} // namespace
