/*===- broken.c - artifacts that must be refused --------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===*/

#ifndef ABI
#define ABI "5"
#endif
#ifndef TARGET
#define TARGET "host"
#endif
#ifndef CPU
#define CPU "x86-64"
#endif
#ifndef SYMBOL
#define SYMBOL "moe_entry_f"
#endif
#ifdef TRUNCATED
#define MANIFEST "{\"abi_version\": 5"
#endif
#ifndef MANIFEST
#define MANIFEST                                                               \
  "{\"abi_version\": " ABI ", \"producer\": \"\", \"target\": \"" TARGET       \
  "\", \"cpu\": \"" CPU "\", \"hash\": \"broken\", \"ranks\": 0,"              \
  " \"symm_bytes\": 0, \"sites\": [], \"entries\": [{\"name\": \"f\","         \
  " \"symbol\": \"" SYMBOL "\", \"args\": [], \"results\": []}]}"
#endif

#ifndef NO_MANIFEST
const char moe_artifact_manifest[] = MANIFEST;
#endif

#ifdef MISSING_IMPORT
void moert_function_of_the_future(void);
#endif

void moe_entry_f(void **args) {
  (void)args;
#ifdef MISSING_IMPORT
  moert_function_of_the_future();
#endif
}
