//===- PtxParser.h - PTX text -----------------------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_TESTS_DRIVER_PTXPARSER_H
#define MOE_RUNTIME_TESTS_DRIVER_PTXPARSER_H

#include "Ptx.h"
#include "PtxTokens.h"

#include <map>
#include <memory>
#include <utility>

namespace moe::standin {

class PtxParser {
public:
  explicit PtxParser(const std::string &text) : tokens(text) {}

  std::unique_ptr<Program> run();

private:
  [[noreturn]] void fail(const std::string &what) const { tokens.fail(what); }
  const std::string &peek() const { return tokens.peek(); }
  std::string take() { return tokens.take(); }
  bool accept(const char *text) { return tokens.accept(text); }
  void expect(const char *text) { tokens.expect(text); }

  void parseFunction(bool isKernel);
  void parseParams(bool isResult);
  void parseShared();
  void parseConstant();
  int addParam(const std::string &name, int bytes, int alignment);
  void parseParamVariable(std::string &name, int &bytes, int &alignment);
  void parseBody();
  void parseStatement();
  void parseRegisters();
  void parseCall(Instruction &op);
  void parseOperands(Instruction &op);
  Operand parseOperand();
  Operand parseAddress();
  int64_t parseNumber(std::string text);

  PtxTokens tokens;
  std::unique_ptr<Program> program;
  Function *function = nullptr;
  std::map<std::string, int> registers, paramNames, labels, shared;
  std::map<std::string, uint64_t> constants;
  std::vector<std::pair<int, std::string>> branches;
};

} // namespace moe::standin

#endif // MOE_RUNTIME_TESTS_DRIVER_PTXPARSER_H
