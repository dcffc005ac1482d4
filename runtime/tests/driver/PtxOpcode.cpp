//===- PtxOpcode.cpp - names in PTX ---------------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PtxOpcode.h"

#include <algorithm>
#include <sstream>
#include <unordered_map>

using namespace moe::standin;

Type moe::standin::typeNamed(const std::string &name) {
  static const std::unordered_map<std::string, Type> types = {
      {"pred", Type::Pred}, {"b8", Type::B8},       {"u8", Type::U8},
      {"s8", Type::S8},     {"b16", Type::B16},     {"u16", Type::U16},
      {"s16", Type::S16},   {"f16", Type::F16},     {"bf16", Type::BF16},
      {"b32", Type::B32},   {"u32", Type::U32},     {"s32", Type::S32},
      {"f32", Type::F32},   {"f16x2", Type::F16x2}, {"bf16x2", Type::BF16x2},
      {"b64", Type::B64},   {"u64", Type::U64},     {"s64", Type::S64},
      {"f64", Type::F64},   {"s16x2", Type::S16x2}, {"u16x2", Type::U16x2}};
  auto it = types.find(name);
  return it == types.end() ? Type::None : it->second;
}

int moe::standin::specialNamed(const std::string &name) {
  static const std::unordered_map<std::string, Special> specials = {
      {"%tid.x", Special::ThreadId},  {"%ntid.x", Special::NumThreads},
      {"%ctaid.x", Special::BlockId}, {"%nctaid.x", Special::NumBlocks},
      {"%laneid", Special::Lane},     {"%globaltimer", Special::GlobalTimer},
      {"%tid.y", Special::Zero},      {"%tid.z", Special::Zero},
      {"%ctaid.y", Special::Zero},    {"%ctaid.z", Special::Zero},
      {"%ntid.y", Special::One},      {"%ntid.z", Special::One},
      {"%nctaid.y", Special::One},    {"%nctaid.z", Special::One}};
  auto it = specials.find(name);
  return it == specials.end() ? -1 : static_cast<int>(it->second);
}

bool moe::standin::givesResult(Op op) {
  switch (op) {
  case Op::Bar:
  case Op::BarWarp:
  case Op::BulkCommit:
  case Op::BulkIn:
  case Op::BulkOut:
  case Op::BulkWait:
  case Op::Exit:
  case Op::Fence:
  case Op::MbarInit:
  case Op::Ret:
  case Op::St:
    return false;
  default:
    return true;
  }
}

bool moe::standin::hasItsOperands(const Instruction &op) {
  switch (op.op) {
  case Op::Bar:
  case Op::BarWarp:
  case Op::BulkWait:
    return op.numSrc == 1;
  case Op::BarRed:
  case Op::MbarInit:
  case Op::MbarWait:
    return op.numSrc == 2;
  case Op::MbarArrive:
    return op.numSrc == (op.flag ? 2 : 1);
  case Op::BulkIn:
    return op.numSrc == 4;
  case Op::BulkOut:
    return op.numSrc == 3;
  case Op::Atom:
    return op.numSrc == (op.atom == AtomOp::Cas ? 3 : 2);
  default:
    return true;
  }
}

bool moe::standin::isArithmetic(Op op) {
  switch (op) {
  case Op::Abs:
  case Op::Add:
  case Op::And:
  case Op::Bfe:
  case Op::Clz:
  case Op::Copysign:
  case Op::Cvt:
  case Op::Div:
  case Op::Fma:
  case Op::Mad:
  case Op::Max:
  case Op::Min:
  case Op::Mul:
  case Op::Neg:
  case Op::Not:
  case Op::Or:
  case Op::Popc:
  case Op::Prmt:
  case Op::Rcp:
  case Op::Rem:
  case Op::Selp:
  case Op::Setp:
  case Op::Shf:
  case Op::Shl:
  case Op::Shr:
  case Op::Sqrt:
  case Op::Sub:
  case Op::Xor:
    return true;
  default:
    return false;
  }
}

namespace {
/// The parts of an opcode, without its types.
class Parts {
public:
  Parts(const std::string &opcode, Instruction &op) {
    std::stringstream stream(opcode);
    for (std::string part; std::getline(stream, part, '.');) {
      Type type = all.empty() ? Type::None : typeNamed(part);
      if (type == Type::None)
        all.push_back(part);
      else
        (op.type == Type::None ? op.type : op.from) = type;
    }
    if (op.from == Type::None)
      op.from = op.type;
  }

  const std::string &base() const { return all[0]; }
  bool has(const char *part) const {
    return std::find(all.begin(), all.end(), part) != all.end();
  }
  /// Whether there are no parts but these.
  bool areAmong(std::initializer_list<const char *> known) const {
    return std::all_of(all.begin() + 1, all.end(), [&](const auto &part) {
      return std::find(known.begin(), known.end(), part) != known.end();
    });
  }

private:
  std::vector<std::string> all;
};
} // namespace

static bool parseBulk(const Parts &parts, Instruction &op) {
  if (parts.has("commit_group")) {
    op.op = Op::BulkCommit;
    return true;
  }
  if (parts.has("wait_group")) {
    op.op = Op::BulkWait;
    op.flag = parts.has("read");
    return true;
  }
  op.op = parts.has("bulk_group") ? Op::BulkOut : Op::BulkIn;
  return parts.has("bulk_group") || parts.has("mbarrier::complete_tx::bytes");
}

static bool parseMbarrier(const Parts &parts, Instruction &op) {
  if (parts.has("init")) {
    op.op = Op::MbarInit;
  } else if (parts.has("arrive")) {
    op.op = Op::MbarArrive;
    op.flag = parts.has("expect_tx");
  } else {
    op.op = Op::MbarWait;
    return parts.has("try_wait") && parts.has("parity");
  }
  return true;
}

static bool parseMemory(const Parts &parts, Instruction &op) {
  op.space = parts.has("shared")  ? Space::Shared
             : parts.has("param") ? Space::Param
             : parts.has("const") ? Space::Const
                                  : Space::Global;
  if (op.space == Space::Const && op.op == Op::St)
    return false;
  op.isOrdered = parts.has("acquire") || parts.has("release") ||
                 parts.has("volatile") || parts.has("relaxed");
  return parts.areAmong({"global", "shared", "param", "const", "nc", "acquire",
                         "release", "relaxed", "volatile", "sys", "gpu",
                         "L1::no_allocate", "v2", "v4"});
}

static bool parseAtom(const Parts &parts, Instruction &op) {
  static const std::pair<const char *, AtomOp> names[] = {
      {"add", AtomOp::Add},   {"and", AtomOp::And}, {"cas", AtomOp::Cas},
      {"exch", AtomOp::Exch}, {"max", AtomOp::Max}, {"min", AtomOp::Min},
      {"or", AtomOp::Or}};
  op.op = Op::Atom;
  op.space = parts.has("shared") ? Space::Shared : Space::Global;
  for (auto [name, atom] : names)
    if (parts.has(name)) {
      op.atom = atom;
      bool isOrder = atom == AtomOp::Max || atom == AtomOp::Min;
      bool isInteger = op.type != Type::F32 && op.type != Type::F16x2 &&
                       op.type != Type::BF16x2 && op.type != Type::F64;
      return bitsOf(op.type) >= 32 && isInteger &&
             !(isOrder && isSigned(op.type));
    }
  return false;
}

static bool parseSetp(const Parts &parts, Instruction &op) {
  struct Name {
    const char *text;
    Cmp cmp;
    bool isUnordered;
  };
  static const Name names[] = {
      {"eq", Cmp::Eq, false},   {"ne", Cmp::Ne, false},  {"lt", Cmp::Lt, false},
      {"le", Cmp::Le, false},   {"gt", Cmp::Gt, false},  {"ge", Cmp::Ge, false},
      {"equ", Cmp::Eq, true},   {"neu", Cmp::Ne, true},  {"ltu", Cmp::Lt, true},
      {"leu", Cmp::Le, true},   {"gtu", Cmp::Gt, true},  {"geu", Cmp::Ge, true},
      {"num", Cmp::Num, false}, {"nan", Cmp::Nan, false}};
  op.op = Op::Setp;
  for (const Name &name : names)
    if (parts.has(name.text)) {
      op.cmp = name.cmp;
      op.isUnordered = name.isUnordered;
      return parts.areAmong({name.text});
    }
  return false;
}

static bool parseBarrier(const Parts &parts, Instruction &op) {
  op.op = parts.has("warp")  ? Op::BarWarp
          : parts.has("red") ? Op::BarRed
                             : Op::Bar;
  op.flag = parts.has("and");
  return op.op != Op::BarRed || parts.has("and") || parts.has("or");
}

bool moe::standin::parseOpcode(const std::string &opcode, Instruction &op) {
  static const std::unordered_map<std::string, Op> plain = {
      {"abs", Op::Abs},     {"add", Op::Add},           {"and", Op::And},
      {"bfe", Op::Bfe},     {"bra", Op::Bra},           {"call", Op::Call},
      {"clz", Op::Clz},     {"copysign", Op::Copysign}, {"cvt", Op::Cvt},
      {"cvta", Op::Cvta},   {"div", Op::Div},           {"exit", Op::Exit},
      {"fma", Op::Fma},     {"mad", Op::Mad},           {"max", Op::Max},
      {"min", Op::Min},     {"mov", Op::Mov},           {"mul", Op::Mul},
      {"neg", Op::Neg},     {"not", Op::Not},           {"or", Op::Or},
      {"popc", Op::Popc},   {"prmt", Op::Prmt},         {"rcp", Op::Rcp},
      {"redux", Op::Redux}, {"rem", Op::Rem},           {"ret", Op::Ret},
      {"selp", Op::Selp},   {"shf", Op::Shf},           {"shl", Op::Shl},
      {"shr", Op::Shr},     {"sqrt", Op::Sqrt},         {"sub", Op::Sub},
      {"xor", Op::Xor}};
  Parts parts(opcode, op);
  const std::string &base = parts.base();
  if (base == "ld" || base == "st") {
    op.op = base == "ld" ? Op::Ld : Op::St;
    return parseMemory(parts, op);
  }
  if (base == "setp")
    return parseSetp(parts, op);
  if (base == "atom")
    return parseAtom(parts, op);
  if (base == "bar")
    return parseBarrier(parts, op);
  if (base == "mbarrier")
    return parseMbarrier(parts, op);
  if (base == "cp")
    return parts.has("async") && parts.has("bulk") && parseBulk(parts, op);
  if (base == "fence" || base == "membar") {
    op.op = Op::Fence;
    return true;
  }
  if (base == "vote") {
    op.op = Op::Vote;
    return parts.has("ballot");
  }
  if (base == "shfl") {
    op.op = Op::Shfl;
    return parts.has("idx");
  }
  auto it = plain.find(base);
  if (it == plain.end())
    return false;
  op.op = it->second;
  op.part = parts.has("wide") ? Part::Wide
            : parts.has("hi") ? Part::High
                              : Part::Low;
  // cvta: to the shared window or from it; flag: from it to generic addresses.
  if (op.op == Op::Cvta) {
    bool isShared = parts.has("shared") || parts.has("shared::cluster");
    op.space = isShared ? Space::Shared : Space::Global;
    op.flag = !parts.has("to");
    return true;
  }
  // To the right.
  if (op.op == Op::Shf) {
    op.flag = parts.has("r");
    return parts.has("wrap") && parts.areAmong({"l", "r", "wrap"});
  }
  // NaN if one of the operands is.
  if (op.op == Op::Max || op.op == Op::Min) {
    op.flag = parts.has("NaN");
    return parts.areAmong({"NaN"});
  }
  if (op.op == Op::Cvt) {
    op.round = parts.has("rni")   ? Round::Even
               : parts.has("rzi") ? Round::Zero
               : parts.has("rmi") ? Round::Down
               : parts.has("rpi") ? Round::Up
                                  : Round::None;
    return parts.areAmong({"rn", "rni", "rzi", "rmi", "rpi"});
  }
  return parts.areAmong({"lo", "hi", "wide", "rn", "uni", "sync", "add"});
}
