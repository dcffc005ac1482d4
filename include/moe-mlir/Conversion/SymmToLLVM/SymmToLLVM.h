//===- SymmToLLVM.h - symm dialect to LLVM dialect --------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_CONVERSION_SYMMTOLLVM_SYMMTOLLVM_H
#define MOE_MLIR_CONVERSION_SYMMTOLLVM_SYMMTOLLVM_H

#include <string>

#include "mlir/IR/Location.h"
#include "llvm/ADT/StringRef.h"

namespace mlir {
class LLVMTypeConverter;
class RewritePatternSet;
} // namespace mlir

namespace mlir::moe {

/// Module attribute that lists the collectives of a module by site number:
/// an array of {op = "moe.dispatch", location = "layer.mlir:12:8"}. Assertions
/// in kernels, which `convert-symm-to-nvvm` notes, follow.
inline constexpr llvm::StringLiteral kSitesAttrName = "symm.sites";

/// On a `symm.collective_begin`: the text of the attributes of the op that was
/// lowered, for messages about artifacts that differ in them.
inline constexpr llvm::StringLiteral kSiteAttributesName = "symm.attributes";

/// Lets `converter` map memrefs in `#symm.space` to ordinary descriptors.
void addSymmToLLVMTypeConversions(LLVMTypeConverter &converter);

/// Patterns that lower all symm ops to the LLVM dialect, `scf` and calls of the
/// runtime.
void populateSymmToLLVMConversionPatterns(const LLVMTypeConverter &converter,
                                          RewritePatternSet &patterns);

/// Patterns that end the entry with an error of the runtime where a `cf.assert`
/// does not hold.
void populateAssertToRuntimePatterns(RewritePatternSet &patterns);

/// The first place in a source file that `loc` names; of a call, that of the
/// callee. Null when there is none.
FileLineColLoc findFileLocation(Location loc);

/// The place in a source file that `loc` names, as "file:line:column" with the
/// file's name without its folder; "unknown" when it names none.
std::string describeLocation(Location loc);

} // namespace mlir::moe

#endif // MOE_MLIR_CONVERSION_SYMMTOLLVM_SYMMTOLLVM_H
