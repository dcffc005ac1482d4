//===- Passes.cpp - C interface to the passes -----------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir-c/Passes.h"

#include "moe-mlir/InitAllPasses.h"
#include "moe-mlir/Target/Driver/Options.h"

#include "mlir/CAPI/IR.h"
#include "mlir/CAPI/Pass.h"
#include "mlir/CAPI/Support.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Pass/PassInstrumentation.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/Support/Regex.h"

using namespace mlir;

void moeRegisterAllPasses() {
  // The registry is global and has no lock.
  static const bool once = [] {
    mlir::registerAllPasses();
    mlir::moe::registerMoEPasses();
    return true;
  }();
  (void)once;
}

namespace {
class Observer : public PassInstrumentation {
public:
  explicit Observer(MoePassObserver callbacks) : callbacks(callbacks) {}

  void runBeforePass(Pass *pass, Operation *op) override {
    if (callbacks.before)
      callbacks.before(wrap(pass->getArgument()), wrap(op), callbacks.userData);
  }
  void runAfterPass(Pass *pass, Operation *op) override {
    end(pass, op, /*succeeded=*/true);
  }
  void runAfterPassFailed(Pass *pass, Operation *op) override {
    end(pass, op, /*succeeded=*/false);
  }

private:
  void end(Pass *pass, Operation *op, bool succeeded) {
    if (callbacks.after)
      callbacks.after(wrap(pass->getArgument()), wrap(op), succeeded,
                      callbacks.userData);
  }

  MoePassObserver callbacks;
};
} // namespace

void moePassManagerAddObserver(MlirPassManager manager,
                               MoePassObserver observer) {
  unwrap(manager)->addInstrumentation(std::make_unique<Observer>(observer));
}

MlirLogicalResult moeContextEnableRemarks(MlirContext context,
                                          MlirStringRef categories) {
  moe::CompileSettings settings;
  settings.remarks = unwrap(categories).str();
  std::string wrong;
  if (!llvm::Regex(settings.remarks).isValid(wrong))
    return mlirLogicalResultFailure();
  return wrap(moe::setUpRemarks(*unwrap(context), settings));
}
