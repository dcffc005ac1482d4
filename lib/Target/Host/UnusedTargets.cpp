//===- UnusedTargets.cpp - Targets that are not linked --------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The linker's driver registers every target that LLVM was configured with, for
// link-time optimisation, which never runs here. Empty definitions of those
// registrations keep two thirds of the program out of it.
//
//===----------------------------------------------------------------------===//

#define UNUSED_TARGET(name)                                                    \
  extern "C" void LLVMInitialize##name##TargetInfo();                          \
  extern "C" void LLVMInitialize##name##Target();                              \
  extern "C" void LLVMInitialize##name##TargetMC();                            \
  extern "C" void LLVMInitialize##name##AsmPrinter();                          \
  extern "C" void LLVMInitialize##name##AsmParser();                           \
  extern "C" void LLVMInitialize##name##TargetInfo() {}                        \
  extern "C" void LLVMInitialize##name##Target() {}                            \
  extern "C" void LLVMInitialize##name##TargetMC() {}                          \
  extern "C" void LLVMInitialize##name##AsmPrinter() {}                        \
  extern "C" void LLVMInitialize##name##AsmParser() {}

// All of llvm/Config/Targets.def but X86 and NVPTX.
UNUSED_TARGET(AArch64)
UNUSED_TARGET(AMDGPU)
UNUSED_TARGET(ARM)
UNUSED_TARGET(AVR)
UNUSED_TARGET(BPF)
UNUSED_TARGET(Hexagon)
UNUSED_TARGET(Lanai)
UNUSED_TARGET(LoongArch)
UNUSED_TARGET(M68k)
UNUSED_TARGET(MSP430)
UNUSED_TARGET(Mips)
UNUSED_TARGET(PowerPC)
UNUSED_TARGET(RISCV)
UNUSED_TARGET(SPIRV)
UNUSED_TARGET(Sparc)
UNUSED_TARGET(SystemZ)
UNUSED_TARGET(VE)
UNUSED_TARGET(WebAssembly)
UNUSED_TARGET(XCore)
UNUSED_TARGET(Xtensa)
