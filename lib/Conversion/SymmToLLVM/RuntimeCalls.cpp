//===- RuntimeCalls.cpp - Calls of runtime functions ----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RuntimeCalls.h"

#include "mlir/Dialect/LLVMIR/FunctionCallUtils.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/xxhash.h"

using namespace mlir;
using namespace mlir::moe;

namespace {

/// What the optimizer may assume of a runtime function.
enum class Behaviour {
  Query,   ///< the same result throughout an entry, no effects
  Opaque,  ///< may read and write memory; may end the entry
  Fresh,   ///< the same; no other pointer leads to the memory it returns
  NoReturn ///< ends the entry
};

struct Signature {
  StringRef name;
  /// One letter per parameter: p pointer, i i64. The result comes first, v for
  /// void.
  StringRef types;
  Behaviour behaviour;
};

} // namespace

static Signature getSignature(RuntimeFunction function) {
  switch (function) {
  case RuntimeFunction::Rank:
    return {"moert_rank", "i", Behaviour::Query};
  case RuntimeFunction::SymmBase:
    return {"moert_symm_base", "p", Behaviour::Query};
  case RuntimeFunction::SymmStride:
    return {"moert_symm_stride", "i", Behaviour::Query};
  case RuntimeFunction::SymmResult:
    return {"moert_symm_result", "piii", Behaviour::Query};
  case RuntimeFunction::AllocResult:
    return {"moert_alloc_result", "piii", Behaviour::Fresh};
  case RuntimeFunction::CollectiveBegin:
    return {"moert_collective_begin", "vppi", Behaviour::Opaque};
  case RuntimeFunction::Phase:
    return {"moert_phase", "vp", Behaviour::Opaque};
  case RuntimeFunction::CollectiveEnd:
    return {"moert_collective_end", "v", Behaviour::Opaque};
  case RuntimeFunction::Wait:
    return {"moert_wait", "vpii", Behaviour::Opaque};
  case RuntimeFunction::Fail:
    return {"moert_fail", "vipiiiiii", Behaviour::NoReturn};
  case RuntimeFunction::AllGather:
    return {"moert_all_gather", "vppi", Behaviour::Opaque};
  case RuntimeFunction::AllToAll:
    return {"moert_all_to_all", "vppi", Behaviour::Opaque};
  case RuntimeFunction::ExchangeBegin:
    return {"moert_exchange_begin", "v", Behaviour::Opaque};
  case RuntimeFunction::ExchangeRows:
    return {"moert_exchange_rows", "vppppppi", Behaviour::Opaque};
  case RuntimeFunction::ExchangeEnd:
    return {"moert_exchange_end", "v", Behaviour::Opaque};
  case RuntimeFunction::Read:
    return {"moert_read", "vppi", Behaviour::Opaque};
  case RuntimeFunction::TableEnd:
    return {"moert_table_end", "ippii", Behaviour::Opaque};
  case RuntimeFunction::AssertionFailed:
    return {"moert_assertion_failed", "vpp", Behaviour::NoReturn};
  }
  llvm_unreachable("unknown runtime function");
}

static Type getType(MLIRContext *context, char letter) {
  switch (letter) {
  case 'p':
    return LLVM::LLVMPointerType::get(context);
  case 'i':
    return IntegerType::get(context, 64);
  default:
    return LLVM::LLVMVoidType::get(context);
  }
}

static void setBehaviour(LLVM::LLVMFuncOp func, Behaviour behaviour) {
  MLIRContext *context = func.getContext();
  auto passthrough = [&](ArrayRef<StringRef> names) {
    SmallVector<Attribute> attrs;
    for (StringRef name : names)
      attrs.push_back(StringAttr::get(context, name));
    func.setPassthroughAttr(ArrayAttr::get(context, attrs));
  };
  switch (behaviour) {
  case Behaviour::Query: {
    constexpr LLVM::ModRefInfo none = LLVM::ModRefInfo::NoModRef;
    func.setMemoryEffectsAttr(LLVM::MemoryEffectsAttr::get(
        context, {none, none, none, none, none, none}));
    func.setNoUnwind(true);
    func.setWillReturn(true);
    passthrough({"speculatable"});
    return;
  }
  case Behaviour::Opaque:
    return;
  case Behaviour::Fresh:
    func.setResultAttr(0, LLVM::LLVMDialect::getNoAliasAttrName(),
                       UnitAttr::get(context));
    return;
  case Behaviour::NoReturn:
    passthrough({"cold", "noreturn"});
    return;
  }
}

static LLVM::LLVMFunctionType getFunctionType(MLIRContext *context,
                                              Signature signature) {
  SmallVector<Type> params;
  for (char letter : signature.types.drop_front())
    params.push_back(getType(context, letter));
  return LLVM::LLVMFunctionType::get(getType(context, signature.types.front()),
                                     params);
}

LogicalResult moe::checkRuntimeNames(ModuleOp module) {
  for (auto function = static_cast<int>(RuntimeFunction::Rank);
       function <= static_cast<int>(RuntimeFunction::AssertionFailed);
       ++function) {
    Signature signature = getSignature(static_cast<RuntimeFunction>(function));
    Operation *existing = module.lookupSymbol(signature.name);
    if (!existing)
      continue;
    LLVM::LLVMFunctionType type =
        getFunctionType(module.getContext(), signature);
    auto func = dyn_cast<LLVM::LLVMFuncOp>(existing);
    if (!func || !func.isExternal() || func.getFunctionType() != type)
      return existing->emitOpError("takes the name of a runtime function; "
                                   "expects a declaration of type ")
             << type;
  }
  return success();
}

FailureOr<Value> moe::callRuntime(OpBuilder &builder, Location loc,
                                  RuntimeFunction function, ValueRange args) {
  auto module = builder.getBlock()->getParentOp()->getParentOfType<ModuleOp>();
  Signature signature = getSignature(function);
  LLVM::LLVMFunctionType type =
      getFunctionType(builder.getContext(), signature);
  bool isNew = !module.lookupSymbol(signature.name);
  FailureOr<LLVM::LLVMFuncOp> func = LLVM::lookupOrCreateFn(
      builder, module, signature.name, type.getParams(), type.getReturnType());
  if (failed(func))
    return failure();
  if (isNew)
    setBehaviour(*func, signature.behaviour);
  auto call = LLVM::CallOp::create(builder, loc, *func, args);
  return call.getNumResults() == 0 ? Value() : call.getResult();
}

/// Address of a constant whose name is `prefix` and a hash of its contents,
/// `bytes`. Equal ones are one.
static FailureOr<Value> createConstant(OpBuilder &builder, Location loc,
                                       StringRef prefix, StringRef bytes,
                                       Type type, Attribute value) {
  auto module = builder.getBlock()->getParentOp()->getParentOfType<ModuleOp>();
  std::string name = (prefix + llvm::utohexstr(llvm::xxh3_64bits(bytes),
                                               /*LowerCase=*/true))
                         .str();
  if (Operation *existing = module.lookupSymbol(name)) {
    auto global = dyn_cast<LLVM::GlobalOp>(existing);
    if (!global || global.getValueOrNull() != value)
      return existing->emitOpError("takes a name that a constant needs");
  } else {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(module.getBody());
    LLVM::GlobalOp::create(builder, loc, type, /*isConstant=*/true,
                           LLVM::Linkage::Internal, name, value);
  }
  return LLVM::AddressOfOp::create(
             builder, loc, LLVM::LLVMPointerType::get(builder.getContext()),
             name)
      .getResult();
}

FailureOr<Value> moe::createStringConstant(OpBuilder &builder, Location loc,
                                           StringRef text) {
  std::string bytes = (text + Twine('\0')).str();
  auto type = LLVM::LLVMArrayType::get(builder.getIntegerType(8), bytes.size());
  return createConstant(builder, loc, "moe_str_", text, type,
                        builder.getStringAttr(bytes));
}

FailureOr<Value> moe::createTableConstant(OpBuilder &builder, Location loc,
                                          ArrayRef<int32_t> numbers) {
  StringRef bytes(reinterpret_cast<const char *>(numbers.data()),
                  numbers.size() * sizeof(int32_t));
  auto type = LLVM::LLVMArrayType::get(builder.getI32Type(), numbers.size());
  return createConstant(builder, loc, "moe_table_", bytes, type,
                        builder.getI32TensorAttr(numbers));
}
