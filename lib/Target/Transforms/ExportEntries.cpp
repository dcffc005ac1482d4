//===- ExportEntries.cpp - Interface of an artifact -----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/Transforms/Passes.h"

#include "moe-mlir/Conversion/SymmToLLVM/SymmToLLVM.h"
#include "moe-mlir/Conversion/SymmToNVVM/SymmToNVVM.h"
#include "moe-mlir/Dialect/Symm/IR/Symm.h"
#include "moe-mlir/Target/GPU/GPU.h"
#include "moe-runtime/ArtifactABI.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Shard/IR/ShardOps.h"
#include "mlir/IR/AttrTypeSubElements.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/xxhash.h"

namespace mlir::moe {
#define GEN_PASS_DEF_MOEEXPORTENTRIESPASS
#include "moe-mlir/Target/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

static constexpr llvm::StringLiteral kManifestName = "moe_artifact_manifest";
static constexpr llvm::StringLiteral kProducer = "moe-mlir 0.1.0";

static std::string getEntrySymbol(StringRef name) {
  return ("moe_entry_" + name).str();
}

/// The name that callers know, which the function may have lost.
static StringRef getEntryName(LLVM::LLVMFuncOp func) {
  auto name = func->getAttrOfType<StringAttr>(kEntryNameAttrName);
  return name ? name.getValue() : func.getName();
}

//===----------------------------------------------------------------------===//
// Manifest
//===----------------------------------------------------------------------===//

/// The extents of a result that callers can know before a call: an extent of
/// an argument ([argument, dimension]), a number, or null.
static void writeExtents(llvm::json::OStream &json, ArrayAttr extents) {
  if (llvm::all_of(extents, llvm::IsaPred<UnitAttr>))
    return;
  json.attributeArray("extents", [&] {
    for (Attribute extent : extents) {
      if (auto source = dyn_cast<DenseI64ArrayAttr>(extent))
        json.array([&] {
          for (int64_t part : source.asArrayRef())
            json.value(part);
        });
      else if (auto number = dyn_cast<IntegerAttr>(extent))
        json.value(number.getInt());
      else
        json.value(nullptr);
    }
  });
}

/// `extents` is what `kResultExtentsAttrName` says, or null.
static void writeTypes(llvm::json::OStream &json, StringRef key,
                       TypeRange types, bool hasDevice,
                       ArrayAttr extents = {}) {
  json.attributeArray(key, [&] {
    for (size_t index = 0; index < types.size(); ++index) {
      auto tensor = cast<RankedTensorType>(types[index]);
      std::string dtype;
      llvm::raw_string_ostream(dtype) << tensor.getElementType();
      json.object([&] {
        json.attribute("dtype", dtype);
        json.attributeArray("shape", [&] {
          for (int64_t extent : tensor.getShape())
            json.value(ShapedType::isDynamic(extent) ? -1 : extent);
        });
        if (isa_and_present<symm::SpaceAttr>(tensor.getEncoding()))
          json.attribute("symmetric", true);
        // Without a device all memory is the host's.
        if (hasDevice && isa_and_present<StringAttr>(tensor.getEncoding()))
          json.attribute("host", true);
        if (extents)
          writeExtents(json, cast<ArrayAttr>(extents[index]));
      });
    }
  });
}

static int64_t getModuleInt(ModuleOp module, StringRef name) {
  auto attr = module->getAttrOfType<IntegerAttr>(name);
  return attr ? attr.getInt() : 0;
}

/// What the manifest says of kernels; nothing for other targets.
static void writeGpu(llvm::json::OStream &json, ModuleOp module) {
  auto gpu = module->getAttrOfType<DictionaryAttr>(kGpuAttrName);
  if (!gpu)
    return;
  json.attributeObject("gpu", [&] {
    for (NamedAttribute attr : gpu) {
      StringRef name = attr.getName();
      if (auto number = dyn_cast<IntegerAttr>(attr.getValue()))
        json.attribute(name, number.getInt());
      else
        json.attribute(name, cast<StringAttr>(attr.getValue()).getValue());
    }
  });
  json.attributeArray("device_strings", [&] {
    if (auto strings = module->getAttrOfType<ArrayAttr>(kDeviceStringsAttrName))
      for (Attribute text : strings)
        json.value(cast<StringAttr>(text).getValue());
  });
}

static std::string createManifest(ModuleOp module,
                                  const MoEExportEntriesPassOptions &options,
                                  ArrayRef<LLVM::LLVMFuncOp> entries) {
  // The code itself, as text without locations, says what the module is.
  std::string text;
  {
    llvm::raw_string_ostream os(text);
    module->print(os, OpPrintingFlags().assumeVerified());
    os << options.target << ' ' << options.cpu << ' ' << options.optLevel;
  }
  std::string hash =
      llvm::utohexstr(llvm::xxh3_64bits(text), /*LowerCase=*/true, 16);

  std::string manifest;
  llvm::raw_string_ostream os(manifest);
  llvm::json::OStream json(os);
  json.object([&] {
    json.attribute("abi_version", MOERT_ARTIFACT_ABI_VERSION);
    json.attribute("producer", kProducer);
    json.attribute("target", options.target);
    json.attribute("cpu", options.cpu);
    writeGpu(json, module);
    json.attribute("hash", hash);
    json.attribute("ranks", getModuleInt(module, kRanksAttrName));
    json.attribute("symm_bytes",
                   getModuleInt(module, symm::kWorkspaceBytesAttrName));
    if (options.transport != "direct")
      json.attribute("transport", options.transport);
    json.attributeArray("entries", [&] {
      for (LLVM::LLVMFuncOp func : entries) {
        auto type = cast<FunctionType>(
            func->getAttrOfType<TypeAttr>(kEntryAttrName).getValue());
        json.object([&] {
          json.attribute("name", getEntryName(func));
          json.attribute("symbol", getEntrySymbol(func.getName()));
          bool hasDevice = options.target == "cuda";
          writeTypes(json, "args", type.getInputs(), hasDevice);
          writeTypes(json, "results", type.getResults(), hasDevice,
                     func->getAttrOfType<ArrayAttr>(kResultExtentsAttrName));
        });
      }
    });
    json.attributeArray("sites", [&] {
      auto sites = module->getAttrOfType<ArrayAttr>(kSitesAttrName);
      for (Attribute attr : sites ? sites.getValue() : ArrayRef<Attribute>()) {
        auto site = cast<DictionaryAttr>(attr);
        auto get = [&](StringRef key) {
          auto value = site.getAs<StringAttr>(key);
          return value ? value.getValue() : StringRef("unknown");
        };
        json.object([&] {
          json.attribute("op", get("op"));
          json.attribute("location", get("location"));
          if (auto attributes = site.getAs<StringAttr>("attributes"))
            json.attribute("attributes", attributes.getValue());
        });
      }
    });
  });
  return manifest;
}

//===----------------------------------------------------------------------===//
// Entries
//===----------------------------------------------------------------------===//

static Type getDescriptorType(MLIRContext *context, int64_t rank) {
  Type ptr = LLVM::LLVMPointerType::get(context);
  Type i64 = IntegerType::get(context, 64);
  SmallVector<Type> fields = {ptr, ptr, i64};
  if (rank > 0)
    fields.append(2, LLVM::LLVMArrayType::get(i64, rank));
  return LLVM::LLVMStructType::getLiteral(context, fields);
}

/// Number of values a descriptor becomes in a function's signature.
static int64_t getNumDescriptorFields(int64_t rank) { return 3 + 2 * rank; }

static Value loadDescriptorPointer(OpBuilder &builder, Location loc, Value args,
                                   int64_t index) {
  Value slot = LLVM::GEPOp::create(builder, loc, args.getType(), args.getType(),
                                   args, ArrayRef<LLVM::GEPArg>{index});
  return LLVM::LoadOp::create(builder, loc, args.getType(), slot);
}

/// Appends the fields of the descriptor at `pointer` to `fields`. The offset is
/// added to the pointer: entries take memrefs that start at their pointer.
static void loadDescriptor(OpBuilder &builder, Location loc, Value pointer,
                           RankedTensorType tensor,
                           SmallVectorImpl<Value> &fields) {
  int64_t rank = tensor.getRank();
  Value descriptor = LLVM::LoadOp::create(
      builder, loc, getDescriptorType(builder.getContext(), rank), pointer);
  auto extract = [&](ArrayRef<int64_t> position) -> Value {
    return LLVM::ExtractValueOp::create(builder, loc, descriptor, position);
  };
  Value aligned = extract({1});
  Type element = builder.getIntegerType(
      llvm::divideCeil(tensor.getElementTypeBitWidth(), 8) * 8);
  fields.push_back(extract({0}));
  fields.push_back(LLVM::GEPOp::create(builder, loc, aligned.getType(), element,
                                       aligned,
                                       ArrayRef<LLVM::GEPArg>{extract({2})}));
  fields.push_back(LLVM::ConstantOp::create(builder, loc, builder.getI64Type(),
                                            builder.getI64IntegerAttr(0)));
  for (int64_t array : {3, 4})
    for (int64_t dim = 0; dim < rank; ++dim)
      fields.push_back(extract({array, dim}));
}

/// Emits `moe_entry_<name>` for `func`, whose signature is that of the memref
/// lowering: arguments with each descriptor as separate values, and one
/// descriptor, or a struct of them, as the result.
static LogicalResult exportEntry(OpBuilder &builder, ModuleOp module,
                                 LLVM::LLVMFuncOp func, StringRef symbol) {
  MLIRContext *context = builder.getContext();
  Location loc = func.getLoc();
  auto type = cast<FunctionType>(
      func->getAttrOfType<TypeAttr>(kEntryAttrName).getValue());
  int64_t numParams = 0;
  for (Type input : type.getInputs())
    numParams +=
        getNumDescriptorFields(cast<RankedTensorType>(input).getRank());
  if (numParams != func.getNumArguments())
    return func.emitOpError("expects ")
           << numParams << " arguments for the entry's type (" << type << ", "
           << func.getNumArguments() << " found)";
  if (Operation *other = module.lookupSymbol(symbol))
    return other->emitOpError("takes the name of an entry's symbol");

  builder.setInsertionPointToEnd(module.getBody());
  Type ptr = LLVM::LLVMPointerType::get(context);
  auto wrapper = LLVM::LLVMFuncOp::create(
      builder, loc, symbol,
      LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(context), ptr));
  Block *body = wrapper.addEntryBlock(builder);
  builder.setInsertionPointToStart(body);
  Value args = body->getArgument(0);

  SmallVector<Value> operands;
  int64_t index = 0;
  for (Type input : type.getInputs())
    loadDescriptor(builder, loc,
                   loadDescriptorPointer(builder, loc, args, index++),
                   cast<RankedTensorType>(input), operands);
  auto call = LLVM::CallOp::create(builder, loc, func, operands);
  for (auto [position, result] : llvm::enumerate(type.getResults())) {
    Value value = call.getResult();
    if (type.getNumResults() > 1)
      value = LLVM::ExtractValueOp::create(builder, loc, value,
                                           static_cast<int64_t>(position));
    if (value.getType() !=
        getDescriptorType(context, cast<RankedTensorType>(result).getRank()))
      return func.emitOpError("expects a memref descriptor as result ")
             << position << " (" << value.getType() << ")";
    LLVM::StoreOp::create(builder, loc, value,
                          loadDescriptorPointer(builder, loc, args, index++));
  }
  LLVM::ReturnOp::create(builder, loc, ValueRange());
  return success();
}

/// Makes what is defined in `module` internal, under names that no library
/// function has: a function of the user's called "exp" is not that of libm.
static void internalize(ModuleOp module) {
  llvm::DenseMap<StringAttr, FlatSymbolRefAttr> renamed;
  for (Operation &op : *module.getBody()) {
    if (auto func = dyn_cast<LLVM::LLVMFuncOp>(op)) {
      if (func.isExternal())
        continue;
      func.setLinkage(LLVM::Linkage::Internal);
    } else if (auto global = dyn_cast<LLVM::GlobalOp>(op)) {
      if (!global.getValueOrNull() && !global.getInitializerBlock())
        continue;
      // The runtime looks for it.
      if (global.getSymName() == kGpuImageName)
        continue;
      global.setLinkage(LLVM::Linkage::Internal);
    } else {
      continue;
    }
    StringAttr name = SymbolTable::getSymbolName(&op);
    auto local =
        StringAttr::get(module.getContext(), "local." + name.getValue());
    SymbolTable::setSymbolName(&op, local);
    renamed[name] = FlatSymbolRefAttr::get(local);
  }
  AttrTypeReplacer replacer;
  replacer.addReplacement(
      [&](FlatSymbolRefAttr ref) -> std::optional<Attribute> {
        FlatSymbolRefAttr local = renamed.lookup(ref.getAttr());
        return local ? std::optional<Attribute>(local) : std::nullopt;
      });
  replacer.recursivelyReplaceElementsIn(module);
}

/// Drops what earlier passes noted for this one.
static void dropNotes(ModuleOp module, ArrayRef<LLVM::LLVMFuncOp> entries) {
  for (StringRef name :
       {StringRef(kRanksAttrName), StringRef(kSitesAttrName),
        StringRef(symm::kWorkspaceBytesAttrName), StringRef(kGpuAttrName),
        StringRef(kDeviceStringsAttrName)})
    module->removeAttr(name);
  for (LLVM::LLVMFuncOp func : entries) {
    func->removeAttr(kEntryAttrName);
    func->removeAttr(kEntryNameAttrName);
    func->removeAttr(kResultExtentsAttrName);
  }
}

namespace {

struct MoEExportEntriesPass
    : public moe::impl::MoEExportEntriesPassBase<MoEExportEntriesPass> {
  using MoEExportEntriesPassBase::MoEExportEntriesPassBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    for (auto grid : llvm::make_early_inc_range(module.getOps<shard::GridOp>()))
      grid.erase();

    SmallVector<LLVM::LLVMFuncOp> entries;
    SmallVector<std::string> symbols;
    for (auto func : module.getOps<LLVM::LLVMFuncOp>())
      if (func->hasAttr(kEntryAttrName)) {
        entries.push_back(func);
        symbols.push_back(getEntrySymbol(func.getName()));
      }
    std::string manifest =
        createManifest(module, {target, cpu, optLevel, transport}, entries);

    internalize(module);
    OpBuilder builder(&getContext());
    for (auto [func, symbol] : llvm::zip_equal(entries, symbols))
      if (failed(exportEntry(builder, module, func, symbol)))
        return signalPassFailure();
    dropNotes(module, entries);

    builder.setInsertionPointToEnd(module.getBody());
    manifest.push_back('\0');
    LLVM::GlobalOp::create(
        builder, module.getLoc(),
        LLVM::LLVMArrayType::get(builder.getI8Type(), manifest.size()),
        /*isConstant=*/true, LLVM::Linkage::External, kManifestName,
        builder.getStringAttr(manifest));
  }
};

} // namespace
