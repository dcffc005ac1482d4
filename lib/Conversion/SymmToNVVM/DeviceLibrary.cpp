//===- DeviceLibrary.cpp - Functions that kernels call --------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// What happens once per phase, not once per row, is written as functions: they
/// keep kernels short, and the loops that wait out of the hot code's registers.
/// No function traps or ends the thread.
///
/// The counter of a grid barrier holds the number of blocks that have arrived
/// in its low 63 bits. The first block adds 2^63 - (blocks - 1), each other one
/// adds 1. So the sum over all blocks is 2^63: the top bit flips when all are
/// there, and the low bits are zero again, whatever the size of the next grid.
///
//===----------------------------------------------------------------------===//

#include "DeviceLibrary.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Parser/Parser.h"

using namespace mlir;

static constexpr llvm::StringLiteral kSource = R"mlir(
// The record is a moert_device_record, in memory of the host.
llvm.func internal @symm_record(
    %status: !llvm.ptr<1>, %code: i32, %site: i32, %phase: i32, %what: i32,
    %peer: i32, %most: i64, %seen: i64, %least: i64, %token: i32, %slot: i32)
    attributes {no_inline} {
  %none = llvm.mlir.constant(0 : i32) : i32
  %yes = llvm.mlir.constant(1 : i32) : i32
  // One writer: the first.
  %old = llvm.cmpxchg %status, %none, %code acq_rel monotonic
      : !llvm.ptr<1>, i32
  %first = llvm.extractvalue %old[1] : !llvm.struct<(i32, i1)>
  llvm.cond_br %first, ^write, ^end
^write:
  %p2 = llvm.getelementptr %status[8] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i8
  %p3 = llvm.getelementptr %status[12] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i8
  %p4 = llvm.getelementptr %status[16] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i8
  %p5 = llvm.getelementptr %status[20] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i8
  %p6 = llvm.getelementptr %status[24] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i8
  %p7 = llvm.getelementptr %status[32] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i8
  llvm.store %site, %p2 {alignment = 4 : i64} : i32, !llvm.ptr<1>
  llvm.store %phase, %p3 {alignment = 4 : i64} : i32, !llvm.ptr<1>
  llvm.store %what, %p4 {alignment = 4 : i64} : i32, !llvm.ptr<1>
  llvm.store %peer, %p5 {alignment = 4 : i64} : i32, !llvm.ptr<1>
  %p8 = llvm.getelementptr %status[40] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i8
  %p9 = llvm.getelementptr %status[48] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i8
  %p10 = llvm.getelementptr %status[52] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i8
  llvm.store %most, %p6 {alignment = 8 : i64} : i64, !llvm.ptr<1>
  llvm.store %seen, %p7 {alignment = 8 : i64} : i64, !llvm.ptr<1>
  llvm.store %least, %p8 {alignment = 8 : i64} : i64, !llvm.ptr<1>
  llvm.store %token, %p9 {alignment = 4 : i64} : i32, !llvm.ptr<1>
  llvm.store %slot, %p10 {alignment = 4 : i64} : i32, !llvm.ptr<1>
  %ready = llvm.getelementptr %status[4] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i8
  llvm.store %yes, %ready atomic release {alignment = 4 : i64}
      : i32, !llvm.ptr<1>
  llvm.br ^end
^end:
  llvm.return
}

// Whether the time of a wait that began at `start` is up; then it is recorded.
llvm.func internal @symm_late(
    %start: i64, %timeout: i64, %status: !llvm.ptr<1>, %site: i32, %phase: i32,
    %what: i32, %peer: i32, %expected: i64, %seen: i64) -> i1
    attributes {no_inline} {
  %timed_out = llvm.mlir.constant(6 : i32) : i32
  %nowhere = llvm.mlir.constant(-1 : i32) : i32
  %now = nvvm.read.ptx.sreg.globaltimer : i64
  %passed = llvm.sub %now, %start : i64
  %late = llvm.icmp "uge" %passed, %timeout : i64
  llvm.cond_br %late, ^record, ^end
^record:
  llvm.call @symm_record(%status, %timed_out, %site, %phase, %what, %peer,
                         %expected, %seen, %expected, %nowhere, %nowhere)
      : (!llvm.ptr<1>, i32, i32, i32, i32, i32, i64, i64, i64, i32, i32) -> ()
  llvm.br ^end
^end:
  llvm.return %late : i1
}

// Whether such a wait has to end: an error is recorded, or the time is up. To
// be asked now and then: the record is across the bus.
llvm.func internal @symm_expired(
    %start: i64, %timeout: i64, %status: !llvm.ptr<1>, %site: i32, %phase: i32,
    %what: i32, %peer: i32, %expected: i64, %seen: i64) -> i1
    attributes {no_inline} {
  %none = llvm.mlir.constant(0 : i32) : i32
  %yes = llvm.mlir.constant(true) : i1
  %code = llvm.load volatile %status {alignment = 4 : i64}
      : !llvm.ptr<1> -> i32
  %failed = llvm.icmp "ne" %code, %none : i32
  llvm.cond_br %failed, ^end(%yes : i1), ^clock
^clock:
  %late = llvm.call @symm_late(%start, %timeout, %status, %site, %phase, %what,
                               %peer, %expected, %seen)
      : (i64, i64, !llvm.ptr<1>, i32, i32, i32, i32, i64, i64) -> i1
  llvm.br ^end(%late : i1)
^end(%result: i1):
  llvm.return %result : i1
}

// Returns the value seen last. The clock is read when the first polls have
// failed: it is slow.
llvm.func internal @symm_wait(
    %flag: !llvm.ptr<1>, %value: i64, %timeout: i64, %status: !llvm.ptr<1>,
    %site: i32, %phase: i32, %what: i32, %peer: i32) -> i64
    attributes {no_inline} {
  %zero = llvm.mlir.constant(0 : i32) : i32
  %one = llvm.mlir.constant(1 : i32) : i32
  %mask = llvm.mlir.constant(1023 : i32) : i32
  %unknown = llvm.mlir.constant(0 : i64) : i64
  llvm.br ^poll(%one, %unknown : i32, i64)
^poll(%n: i32, %start: i64):
  %seen = llvm.load %flag atomic acquire {alignment = 8 : i64}
      : !llvm.ptr<1> -> i64
  %there = llvm.icmp "uge" %seen, %value : i64
  llvm.cond_br %there, ^end, ^again
^again:
  %next = llvm.add %n, %one : i32
  %low = llvm.and %n, %mask : i32
  %look = llvm.icmp "eq" %low, %zero : i32
  llvm.cond_br %look, ^check, ^poll(%next, %start : i32, i64)
^check:
  %now_ns = nvvm.read.ptx.sreg.globaltimer : i64
  %is_first = llvm.icmp "eq" %start, %unknown : i64
  %began = llvm.select %is_first, %now_ns, %start : i1, i64
  %expired = llvm.call @symm_expired(%began, %timeout, %status, %site, %phase,
                                     %what, %peer, %value, %seen)
      : (i64, i64, !llvm.ptr<1>, i32, i32, i32, i32, i64, i64) -> i1
  llvm.cond_br %expired, ^end, ^poll(%next, %began : i32, i64)
^end:
  llvm.return %seen : i64
}

// Returns the word seen last. Only the word itself counts: no access is ordered
// by it.
llvm.func internal @symm_collect(
    %word: !llvm.ptr<1>, %epoch: i64, %timeout: i64, %status: !llvm.ptr<1>,
    %site: i32, %phase: i32, %what: i32) -> i64 attributes {no_inline} {
  %zero = llvm.mlir.constant(0 : i32) : i32
  %one = llvm.mlir.constant(1 : i32) : i32
  %nobody = llvm.mlir.constant(-1 : i32) : i32
  %mask = llvm.mlir.constant(1023 : i32) : i32
  %half = llvm.mlir.constant(32 : i64) : i64
  %tag_mask = llvm.mlir.constant(4294967295 : i64) : i64
  %tag = llvm.and %epoch, %tag_mask : i64
  %unknown = llvm.mlir.constant(0 : i64) : i64
  llvm.br ^poll(%one, %unknown : i32, i64)
^poll(%n: i32, %start: i64):
  %seen = llvm.load %word atomic syncscope("device") monotonic
      {alignment = 8 : i64} : !llvm.ptr<1> -> i64
  %seen_tag = llvm.lshr %seen, %half : i64
  %there = llvm.icmp "eq" %seen_tag, %tag : i64
  llvm.cond_br %there, ^end, ^again
^again:
  %next = llvm.add %n, %one : i32
  %low = llvm.and %n, %mask : i32
  %look = llvm.icmp "eq" %low, %zero : i32
  llvm.cond_br %look, ^check, ^poll(%next, %start : i32, i64)
^check:
  %now_ns = nvvm.read.ptx.sreg.globaltimer : i64
  %is_first = llvm.icmp "eq" %start, %unknown : i64
  %began = llvm.select %is_first, %now_ns, %start : i1, i64
  %expired = llvm.call @symm_expired(%began, %timeout, %status, %site, %phase,
                                     %what, %nobody, %tag, %seen_tag)
      : (i64, i64, !llvm.ptr<1>, i32, i32, i32, i32, i64, i64) -> i1
  llvm.cond_br %expired, ^end, ^poll(%next, %began : i32, i64)
^end:
  llvm.return %seen : i64
}

// Waits until the top bit of the counter is not that of `old`; whether it is.
llvm.func internal @symm_wait_for_grid(
    %counter: !llvm.ptr<1>, %old: i64, %timeout: i64, %status: !llvm.ptr<1>,
    %site: i32, %phase: i32, %what: i32) -> i1 attributes {no_inline} {
  %zero = llvm.mlir.constant(0 : i32) : i32
  %one = llvm.mlir.constant(1 : i32) : i32
  %nobody = llvm.mlir.constant(-1 : i32) : i32
  %mask = llvm.mlir.constant(1023 : i32) : i32
  %none = llvm.mlir.constant(0 : i64) : i64
  %low63 = llvm.mlir.constant(9223372036854775807 : i64) : i64
  %blocks = nvvm.read.ptx.sreg.nctaid.x : i32
  %wide = llvm.zext %blocks : i32 to i64
  %unknown = llvm.mlir.constant(0 : i64) : i64
  llvm.br ^poll(%one, %unknown : i32, i64)
^poll(%n: i32, %start: i64):
  %now = llvm.load %counter atomic syncscope("device") acquire
      {alignment = 8 : i64} : !llvm.ptr<1> -> i64
  %changed = llvm.xor %now, %old : i64
  %there = llvm.icmp "slt" %changed, %none : i64
  llvm.cond_br %there, ^end, ^again
^again:
  %next = llvm.add %n, %one : i32
  %low = llvm.and %n, %mask : i32
  %look = llvm.icmp "eq" %low, %zero : i32
  llvm.cond_br %look, ^check, ^poll(%next, %start : i32, i64)
^check:
  %now_ns = nvvm.read.ptx.sreg.globaltimer : i64
  %is_first = llvm.icmp "eq" %start, %unknown : i64
  %began = llvm.select %is_first, %now_ns, %start : i1, i64
  %arrived = llvm.and %now, %low63 : i64
  %expired = llvm.call @symm_expired(%began, %timeout, %status, %site, %phase,
                                     %what, %nobody, %wide, %arrived)
      : (i64, i64, !llvm.ptr<1>, i32, i32, i32, i32, i64, i64) -> i1
  llvm.cond_br %expired, ^end, ^poll(%next, %began : i32, i64)
^end:
  llvm.return %there : i1
}

llvm.func internal @symm_grid_barrier(
    %counter: !llvm.ptr<1>, %timeout: i64, %status: !llvm.ptr<1>, %site: i32,
    %phase: i32, %what: i32) -> i1 attributes {always_inline, convergent} {
  %zero = llvm.mlir.constant(0 : i32) : i32
  %yes = llvm.mlir.constant(true) : i1
  nvvm.barrier
  %thread = nvvm.read.ptx.sreg.tid.x : i32
  %first = llvm.icmp "eq" %thread, %zero : i32
  llvm.cond_br %first, ^meet, ^end(%yes : i1)
^meet:
  %one = llvm.mlir.constant(1 : i64) : i64
  %top = llvm.mlir.constant(-9223372036854775808 : i64) : i64
  %block = nvvm.read.ptx.sreg.ctaid.x : i32
  %blocks = nvvm.read.ptx.sreg.nctaid.x : i32
  %wide = llvm.zext %blocks : i32 to i64
  %others = llvm.sub %wide, %one : i64
  %rest = llvm.sub %top, %others : i64
  %is_first = llvm.icmp "eq" %block, %zero : i32
  %amount = llvm.select %is_first, %rest, %one : i1, i64
  // Releases what all threads of the block did: they have met.
  %old = llvm.inline_asm has_side_effects
      "atom.add.acq_rel.gpu.global.u64 $0, [$1], $2;", "=l,l,l,~{memory}"
      %counter, %amount : (!llvm.ptr<1>, i64) -> i64
  %are_there = llvm.call @symm_wait_for_grid(%counter, %old, %timeout, %status,
                                             %site, %phase, %what)
      : (!llvm.ptr<1>, i64, i64, !llvm.ptr<1>, i32, i32, i32) -> i1
  llvm.br ^end(%are_there : i1)
^end(%seen: i1):
  %bit = llvm.zext %seen : i1 to i32
  %all = nvvm.barrier #nvvm.reduction<and> %bit -> i32
  %met = llvm.icmp "ne" %all, %zero : i32
  llvm.return %met : i1
}

llvm.func internal @symm_stage_is_ready(%counter: !llvm.ptr<3>, %parity: i32)
    -> i1 attributes {always_inline} {
  %zero = llvm.mlir.constant(0 : i32) : i32
  %ready = llvm.inline_asm has_side_effects
      "{\0A\09.reg .pred symm_p;\0A\09mbarrier.try_wait.parity.shared::cta.b64 symm_p, [$1], $2;\0A\09selp.b32 $0, 1, 0, symm_p;\0A\09}",
      "=r,r,r,~{memory}" %counter, %parity : (!llvm.ptr<3>, i32) -> i32
  %is_ready = llvm.icmp "ne" %ready, %zero : i32
  llvm.return %is_ready : i1
}

// Not ended by an error of the rank: what is waited for comes from this block
// and the copies it has begun, and these may not outlive it.
llvm.func internal @symm_stage_poll(
    %counter: !llvm.ptr<3>, %parity: i32, %timeout: i64,
    %status: !llvm.ptr<1>, %site: i32, %phase: i32, %what: i32)
    attributes {no_inline} {
  %zero = llvm.mlir.constant(0 : i32) : i32
  %one = llvm.mlir.constant(1 : i32) : i32
  %nobody = llvm.mlir.constant(-1 : i32) : i32
  %mask = llvm.mlir.constant(1023 : i32) : i32
  %none = llvm.mlir.constant(0 : i64) : i64
  %wanted = llvm.zext %parity : i32 to i64
  %unknown = llvm.mlir.constant(0 : i64) : i64
  llvm.br ^poll(%one, %unknown : i32, i64)
^poll(%n: i32, %start: i64):
  %ready = llvm.call @symm_stage_is_ready(%counter, %parity)
      : (!llvm.ptr<3>, i32) -> i1
  llvm.cond_br %ready, ^end, ^again
^again:
  %next = llvm.add %n, %one : i32
  %low = llvm.and %n, %mask : i32
  %look = llvm.icmp "eq" %low, %zero : i32
  llvm.cond_br %look, ^check, ^poll(%next, %start : i32, i64)
^check:
  %now_ns = nvvm.read.ptx.sreg.globaltimer : i64
  %is_first = llvm.icmp "eq" %start, %unknown : i64
  %began = llvm.select %is_first, %now_ns, %start : i1, i64
  %late = llvm.call @symm_late(%began, %timeout, %status, %site, %phase,
                               %what, %nobody, %wanted, %none)
      : (i64, i64, !llvm.ptr<1>, i32, i32, i32, i32, i64, i64) -> i1
  llvm.cond_br %late, ^end, ^poll(%next, %began : i32, i64)
^end:
  llvm.return
}

// Most often the bytes are there.
llvm.func internal @symm_stage_wait(
    %counter: !llvm.ptr<3>, %parity: i32, %timeout: i64,
    %status: !llvm.ptr<1>, %site: i32, %phase: i32, %what: i32)
    attributes {always_inline} {
  %ready = llvm.call @symm_stage_is_ready(%counter, %parity)
      : (!llvm.ptr<3>, i32) -> i1
  llvm.cond_br %ready, ^end, ^wait
^wait:
  llvm.call @symm_stage_poll(%counter, %parity, %timeout, %status, %site,
                             %phase, %what)
      : (!llvm.ptr<3>, i32, i64, !llvm.ptr<1>, i32, i32, i32) -> ()
  llvm.br ^end
^end:
  llvm.return
}
)mlir";

LogicalResult moe::addDeviceLibrary(gpu::GPUModuleOp module) {
  SymbolTable symbols(module);
  OwningOpRef<ModuleOp> library = parseSourceString<ModuleOp>(
      kSource, ParserConfig(module.getContext(), /*verifyAfterParse=*/false));
  if (!library)
    return failure();
  SymbolTable functions(*library);

  // Names that the module uses and does not define, then those that their
  // functions use.
  SmallVector<Operation *> pending = {module};
  while (!pending.empty()) {
    SmallVector<StringRef> called;
    pending.pop_back_val()->walk([&](LLVM::CallOp call) {
      if (std::optional<StringRef> callee = call.getCallee())
        called.push_back(*callee);
    });
    for (StringRef name : called) {
      Operation *function = functions.lookup(name);
      if (!function || symbols.lookup(name))
        continue;
      Operation *copy = function->clone();
      copy->walk([&](Operation *op) { op->setLoc(module.getLoc()); });
      symbols.insert(copy);
      pending.push_back(copy);
    }
  }
  return success();
}
