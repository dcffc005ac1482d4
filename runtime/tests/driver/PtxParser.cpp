//===- PtxParser.cpp - functions and variables of PTX ---------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PtxParser.h"
#include "PtxOpcode.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

using namespace moe::standin;

//===----------------------------------------------------------------------===//
// Variables
//===----------------------------------------------------------------------===//

int64_t PtxParser::parseNumber(std::string text) {
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

int PtxParser::addParam(const std::string &name, int bytes, int alignment) {
  int offset = (function->paramBytes + alignment - 1) / alignment * alignment;
  function->paramBytes = offset + bytes;
  paramNames[name] = offset;
  return offset;
}

/// ".b64 name", ".u64 .ptr .align 1 name", ".align 8 .b8 name[96]"
void PtxParser::parseParamVariable(std::string &name, int &bytes,
                                   int &alignment) {
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

void PtxParser::parseParams(bool isResult) {
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
void PtxParser::parseShared() {
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
void PtxParser::parseConstant() {
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

void PtxParser::parseRegisters() {
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
// Functions
//===----------------------------------------------------------------------===//

void PtxParser::parseBody() {
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

void PtxParser::parseFunction(bool isKernel) {
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

std::unique_ptr<Program> PtxParser::run() {
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
    return PtxParser(text).run();
  } catch (const PtxError &failed) {
    error = failed.what();
    return nullptr;
  }
}
