//===- IR.cpp - C interface to contexts and modules -----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir-c/IR.h"

#include "ParseModule.h"

#include "moe-mlir/InitAllDialects.h"

#include "mlir/CAPI/IR.h"
#include "mlir/CAPI/Support.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/SourceMgr.h"

using namespace mlir;

MlirContext moeContextCreate() {
  DialectRegistry registry;
  moe::registerAllDialects(registry);
  registerAllExtensions(registry);
  auto *context = new MLIRContext(registry, MLIRContext::Threading::DISABLED);
  context->printOpOnDiagnostic(false);
  return wrap(context);
}

OwningOpRef<ModuleOp> moe::parseModule(StringRef source, StringRef sourceName,
                                       MLIRContext *context) {
  // A copy ends with a zero, which the lexer reads, and is aligned as bytecode
  // may want it.
  auto buffer = llvm::WritableMemoryBuffer::getNewUninitMemBuffer(
      source.size(), sourceName.empty() ? "-" : sourceName, llvm::Align(128));
  if (!buffer) {
    emitError(UnknownLoc::get(context), "no memory for the module's source");
    return {};
  }
  llvm::copy(source, buffer->getBufferStart());
  llvm::SourceMgr sources;
  sources.AddNewSourceBuffer(std::move(buffer), llvm::SMLoc());
  return parseSourceFile<ModuleOp>(sources, context);
}

MlirModule moeModuleParse(MlirContext context, MlirStringRef source,
                          MlirStringRef sourceName) {
  return wrap(
      moe::parseModule(unwrap(source), unwrap(sourceName), unwrap(context))
          .release());
}
