//===- PtxParser.cpp - PTX text -------------------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Ptx.h"
#include "PtxAlu.h"
#include "PtxOpcode.h"
#include "PtxTokens.h"

#include <cctype>
#include <cstdlib>
#include <cstring>

using namespace moe::standin;

//===----------------------------------------------------------------------===//
// The parser
//===----------------------------------------------------------------------===//

namespace {
class Parser {
public:
  explicit Parser(const std::string &text) : tokens(text) {}

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
} // namespace

int64_t Parser::parseNumber(std::string text) {
  if (text.compare(0, 2, "0f") == 0 || text.compare(0, 2, "0d") == 0)
    return static_cast<int64_t>(std::strtoull(text.c_str() + 2, nullptr, 16));
  if (!text.empty() && text.back() == 'U')
    text.pop_back();
  char *end = nullptr;
  auto value = std::strtoull(text.c_str(), &end, 0);
  if (text.empty() || *end)
    fail("'" + text + "' is no number");
  return static_cast<int64_t>(value);
}

int Parser::addParam(const std::string &name, int bytes, int alignment) {
  int offset = (function->paramBytes + alignment - 1) / alignment * alignment;
  function->paramBytes = offset + bytes;
  paramNames[name] = offset;
  return offset;
}

/// ".b64 name", ".u64 .ptr .align 1 name", ".align 8 .b8 name[96]"
void Parser::parseParamVariable(std::string &name, int &bytes, int &alignment) {
  bytes = alignment = 0;
  while (peek()[0] == '.') {
    std::string word = take();
    if (word == ".align") {
      int64_t given = parseNumber(take());
      // That of a pointer is what it points to.
      if (bytes == 0)
        alignment = static_cast<int>(given);
    } else if (Type type = typeNamed(word.substr(1)); type != Type::None) {
      bytes = bitsOf(type) / 8;
    }
  }
  name = take();
  alignment = std::max(alignment, std::max(bytes, 1));
  if (accept("[")) {
    bytes *= static_cast<int>(parseNumber(take()));
    expect("]");
  }
}

void Parser::parseParams(bool isResult) {
  expect("(");
  while (!accept(")")) {
    accept(",");
    expect(".param");
    std::string name;
    int bytes, alignment;
    parseParamVariable(name, bytes, alignment);
    if (isResult && bytes > 8)
      fail("a result of " + std::to_string(bytes) + " bytes");
    if (isResult)
      function->result = addParam(name, std::max(bytes, 8), 8);
    else
      function->params.push_back({addParam(name, bytes, alignment), bytes});
  }
}

/// ".align 8 .b8 name[96]": each kernel's variables have a place of their own.
void Parser::parseShared() {
  std::string name;
  int bytes, alignment;
  parseParamVariable(name, bytes, alignment);
  int &end = program->sharedBytes;
  end = (end + alignment - 1) / alignment * alignment;
  shared[name] = end;
  end += bytes;
  expect(";");
}

/// ".align 8 .b8 name[16] = {0, 1, ...}": the elements that are not given are
/// 0.
void Parser::parseConstant() {
  int size = 0;
  while (peek()[0] == '.') {
    std::string word = take();
    if (word == ".align")
      take();
    else if (Type type = typeNamed(word.substr(1)); type != Type::None)
      size = bitsOf(type) / 8;
  }
  std::string name = take();
  int64_t count = 1;
  if (accept("[")) {
    count = parseNumber(take());
    expect("]");
  }
  if (size == 0 || count < 1 || count > (1 << 16) / size)
    fail("a constant of no size, or more than 64 KiB");
  auto &words = program->constants.emplace_back(
      (static_cast<size_t>(count) * static_cast<size_t>(size) + 7) / 8);
  auto *bytes = reinterpret_cast<char *>(words.data());
  if (accept("=")) {
    bool isList = accept("{");
    for (int64_t i = 0; i < count; ++i) {
      bool isNegative = accept("-");
      int64_t value = parseNumber(take());
      value = isNegative ? -value : value;
      std::memcpy(bytes + i * size, &value, static_cast<size_t>(size));
      if (!isList || !accept(","))
        break;
    }
    if (isList)
      expect("}");
  }
  constants[name] = reinterpret_cast<uint64_t>(words.data());
  expect(";");
}

void Parser::parseRegisters() {
  std::string type = take(), name = take();
  int count = 1;
  if (accept("<")) {
    count = static_cast<int>(parseNumber(take()));
    expect(">");
    // %r<3> are %r0 to %r2.
    for (int i = 0; i < count; ++i)
      registers[name + std::to_string(i)] = function->numRegs + i;
  } else {
    registers[name] = function->numRegs;
  }
  function->numRegs += count;
  expect(";");
}

//===----------------------------------------------------------------------===//
// Instructions
//===----------------------------------------------------------------------===//

Operand Parser::parseOperand() {
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

Operand Parser::parseAddress() {
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
void Parser::parseCall(Instruction &op) {
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
void Parser::parseOperands(Instruction &op) {
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

void Parser::parseStatement() {
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

void Parser::parseBody() {
  expect("{");
  for (int depth = 1; depth > 0;) {
    depth += peek() == "{" ? 1 : peek() == "}" ? -1 : 0;
    parseStatement();
  }
  for (auto &[index, label] : branches) {
    auto it = labels.find(label);
    if (it == labels.end())
      fail("label " + label);
    function->code[index].target = it->second;
  }
  function->code.push_back(Instruction());
}

void Parser::parseFunction(bool isKernel) {
  registers.clear();
  paramNames.clear();
  labels.clear();
  branches.clear();
  auto made = std::make_unique<Function>();
  function = made.get();
  if (peek() == "(")
    parseParams(/*isResult=*/true);
  function->name = take();
  if (peek() == "(")
    parseParams(/*isResult=*/false);
  while (peek() != "{" && peek() != ";")
    take(); // .maxntid and the like
  if (accept(";"))
    return; // a declaration
  parseBody();
  (isKernel ? program->kernels : program->functions)[function->name] =
      std::move(made);
}

std::unique_ptr<Program> Parser::run() {
  program = std::make_unique<Program>();
  while (!tokens.isAtEnd()) {
    std::string word = take();
    if (word == ".version" || word == ".address_size") {
      take();
    } else if (word == ".target") {
      for (take(); accept(",");)
        take();
    } else if (word == ".entry" || word == ".func") {
      parseFunction(word == ".entry");
    } else if (word == ".extern" && peek() == ".shared") {
      take();
      while (peek() != "[")
        word = take();
      // Where the static memory ends, which is known last.
      shared[word] = dynamicShared;
      tokens.skipTo(";");
    } else if (word == ".shared") {
      parseShared();
    } else if (word == ".const") {
      parseConstant();
    } else if (word != ".visible" && word != ".weak" && word != ".extern") {
      fail("'" + word + "' is not known");
    }
  }
  program->sharedBytes = (program->sharedBytes + 127) / 128 * 128;
  auto finish = [&](auto &functions) {
    for (auto &[name, each] : functions) {
      for (Instruction &op : each->code)
        for (Operand &operand : op.src)
          if (operand.kind == Operand::Shared && operand.value >= dynamicShared)
            operand.value += program->sharedBytes - dynamicShared;
      for (Call &call : each->calls) {
        auto it = program->functions.find(call.name);
        if (it == program->functions.end())
          fail("function " + call.name);
        call.callee = it->second.get();
      }
    }
  };
  finish(program->functions);
  finish(program->kernels);
  return std::move(program);
}

std::unique_ptr<Program> moe::standin::parsePtx(const std::string &text,
                                                std::string &error) {
  try {
    return Parser(text).run();
  } catch (const PtxError &failed) {
    error = failed.what();
    return nullptr;
  }
}
