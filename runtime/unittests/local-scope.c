/*===- local-scope.c - the runtime opened as Python does ------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A C program that links nothing: it opens the runtime with RTLD_LOCAL, so
// artifacts find the runtime's functions only if it makes itself global.
// Usage: local-scope LIBRARY ARTIFACT
//
//===----------------------------------------------------------------------===*/

#include "moe-runtime/Runtime.h"

#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv) {
  if (argc != 3)
    return 2;
  void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
#define FIND(name)                                                             \
  __typeof__(&name) p_##name = (__typeof__(&name))dlsym(library, #name)
  FIND(moert_context_create);
  FIND(moert_context_destroy);
  FIND(moert_artifact_load);
  FIND(moert_artifact_entry);
  FIND(moert_entry_call);
  FIND(moert_last_error);

  moert_context *context;
  moert_artifact *artifact;
  moert_entry *entry;
  double value = 4;
  DLTensor scalar = {0};
  scalar.data = &value;
  scalar.device.device_type = kDLCPU;
  scalar.dtype = (DLDataType){kDLFloat, 64, 1};
  const DLTensor *inputs[] = {&scalar};
  DLManagedTensor *output;
  if (p_moert_context_create(NULL, NULL, &context) ||
      p_moert_artifact_load(context, argv[2], &artifact) ||
      p_moert_artifact_entry(artifact, "scalar", &entry) ||
      p_moert_entry_call(entry, inputs, 1, &output, 1)) {
    fprintf(stderr, "%s\n", p_moert_last_error());
    return 1;
  }
  double result = *(double *)output->dl_tensor.data;
  output->deleter(output);
  p_moert_context_destroy(context);
  printf("%g\n", result);
  return result == 8 ? 0 : 1;
}
