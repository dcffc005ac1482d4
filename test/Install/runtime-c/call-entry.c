/*===- call-entry.c - calls an entry of an artifact ---------------*- C -*-===*\
|*                                                                            *|
|* Part of the moe-mlir project, under the Apache License v2.0 with LLVM      *|
|* Exceptions. See LICENSE for license information.                           *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
|*                                                                            *|
\*===----------------------------------------------------------------------===*/

/* call-entry ARTIFACT: calls its entry, from 4 floats to 4 floats, as a group
 * of one rank, and prints the result. A program outside the project: it knows
 * the installed headers only. */

#include <moe-runtime/Runtime.h>

#include <stdio.h>
#include <string.h>

static int fail(const char *what) {
  fprintf(stderr, "%s: %s\n", what, moert_last_error());
  return 1;
}

int main(int argc, char **argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: call-entry ARTIFACT\n");
    return 2;
  }
  moert_context *context = NULL;
  moert_artifact *artifact = NULL;
  moert_entry *entry = NULL;
  if (moert_context_create(NULL, NULL, &context) != MOERT_OK)
    return fail("cannot make a group");
  if (moert_artifact_load(context, argv[1], &artifact) != MOERT_OK)
    return fail("cannot load the artifact");
  if (moert_artifact_entry(artifact, NULL, &entry) != MOERT_OK)
    return fail("cannot find the entry");

  float data[4] = {1, 2, 3, 4};
  int64_t shape[1] = {4};
  DLTensor input;
  memset(&input, 0, sizeof(input));
  input.data = data;
  input.device.device_type = kDLCPU;
  input.ndim = 1;
  input.dtype.code = kDLFloat;
  input.dtype.bits = 32;
  input.dtype.lanes = 1;
  input.shape = shape;
  const DLTensor *inputs[1] = {&input};
  DLManagedTensor *outputs[1] = {NULL};
  if (moert_entry_call(entry, inputs, 1, outputs, 1) != MOERT_OK)
    return fail("cannot call the entry");
  const DLTensor *result = &outputs[0]->dl_tensor;
  for (int64_t i = 0; i < result->shape[0]; ++i)
    printf("%g\n", ((const float *)result->data)[i]);
  outputs[0]->deleter(outputs[0]);
  moert_context_destroy(context);
  return 0;
}
