//===- PtxStatement.cpp - statements of PTX -------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PtxAlu.h"
#include "PtxOpcode.h"
#include "PtxParser.h"

#include <algorithm>
#include <cctype>

using namespace moe::standin;

Operand PtxParser::parseOperand() {
  Operand operand;
  bool isNegative = accept("-");
  std::string text = take();
  char first = text[0];
  if (auto it = registers.find(text); it != registers.end()) {
    operand.kind = Operand::Reg;
    operand.index = it->second;
  } else if (first == '%') {
    operand.kind = Operand::Read;
    int special = specialNamed(text);
    if (special < 0)
      fail("register " + text);
    operand.index = special;
  } else if (text == "_") {
    operand.kind = Operand::Sink;
  } else if (std::isdigit(static_cast<unsigned char>(first))) {
    operand.kind = Operand::Imm;
    operand.value = parseNumber(text);
    if (isNegative)
      operand.value = -operand.value;
  } else if (auto param = paramNames.find(text); param != paramNames.end()) {
    operand.kind = Operand::Param;
    operand.value = param->second;
  } else if (auto it = shared.find(text); it != shared.end()) {
    operand.kind = Operand::Shared;
    operand.value = it->second;
  } else if (auto it = constants.find(text); it != constants.end()) {
    operand.kind = Operand::Imm;
    operand.value = static_cast<int64_t>(it->second);
  } else {
    fail("'" + text + "' is not known");
  }
  return operand;
}

Operand PtxParser::parseAddress() {
  expect("[");
  Operand operand = parseOperand();
  if (accept("+")) {
    bool isNegative = accept("-");
    int64_t offset = parseNumber(take());
    operand.value += isNegative ? -offset : offset;
  }
  expect("]");
  return operand;
}

/// (result), name, (arguments)
void PtxParser::parseCall(Instruction &op) {
  Call call;
  auto offset = [&](const std::string &name) {
    auto it = paramNames.find(name);
    if (it == paramNames.end())
      fail("parameter " + name);
    return it->second;
  };
  if (accept("(")) {
    call.result = offset(take());
    expect(")");
    expect(",");
  }
  call.name = take();
  if (accept(",")) {
    expect("(");
    while (!accept(")")) {
      call.args.push_back(offset(take()));
      accept(",");
    }
  }
  op.target = static_cast<int>(function->calls.size());
  function->calls.push_back(call);
}

/// Results come first: as many groups as the instruction has.
void PtxParser::parseOperands(Instruction &op) {
  bool hasResult = givesResult(op.op);
  for (int number = 0; peek() != ";"; ++number) {
    std::vector<Operand> group;
    bool isResult = hasResult && number == 0;
    if (peek() == "[") {
      group.push_back(parseAddress());
    } else if (accept("{")) {
      while (!accept("}")) {
        group.push_back(parseOperand());
        accept(",");
      }
    } else {
      group.push_back(parseOperand());
      if (isResult && accept("|"))
        group.push_back(parseOperand());
    }
    int8_t &count = isResult ? op.numDst : op.numSrc;
    Operand *list = isResult ? op.dst : op.src;
    int room = isResult ? 4 : 6;
    for (const Operand &operand : group) {
      if (count >= room)
        fail("too many operands");
      list[count++] = operand;
    }
    if (!accept(",") && peek() != ";")
      fail("expected ';', found '" + peek() + "'");
  }
}

void PtxParser::parseStatement() {
  std::string word = peek();
  if (word == "{" || word == "}") {
    take();
    return;
  }
  if (word == ".reg") {
    take();
    return parseRegisters();
  }
  if (word == ".shared") {
    take();
    return parseShared();
  }
  if (word == ".param") {
    take();
    std::string name;
    int bytes, alignment;
    parseParamVariable(name, bytes, alignment);
    // Each call declares its own, by the same names.
    addParam(name, std::max(bytes, 8), std::max(alignment, 8));
    expect(";");
    return;
  }
  if (word == ".pragma") {
    tokens.skipTo(";");
    return;
  }
  if (word.size() > 1 && word.back() == ':') {
    take();
    word.pop_back();
    labels[word] = static_cast<int>(function->code.size());
    return;
  }
  Instruction op;
  op.line = tokens.line();
  if (accept("@")) {
    op.isNegated = accept("!");
    Operand guard = parseOperand();
    if (guard.kind != Operand::Reg)
      fail("expected a predicate");
    op.guard = guard.index;
  }
  std::string opcode = take();
  if (!parseOpcode(opcode, op) || (isArithmetic(op.op) && !canEvaluate(op)))
    fail("the instruction " + opcode + " is not known");
  if (op.op == Op::Bra) {
    branches.emplace_back(function->code.size(), take());
  } else if (op.op == Op::Call) {
    parseCall(op);
  } else {
    parseOperands(op);
  }
  expect(";");
  if (!hasItsOperands(op))
    fail("the operands of " + opcode + " are not known");
  function->code.push_back(op);
}
