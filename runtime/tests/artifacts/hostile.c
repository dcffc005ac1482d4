/*===- hostile.c - an artifact that misbehaves when it comes or goes ------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Its only entry returns its argument. MOE_CONSTRUCTOR and MOE_DESTRUCTOR are
//   PROCESS ACTION
// In the process called PROCESS (as ps shows it; "*" for any), the constructor
// or, after a call, the destructor of the shared object does ACTION: "kill",
"crash", "hang",
// "stop" or "exit".
//
//===----------------------------------------------------------------------===*/

#include "moe-runtime/ArtifactABI.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

const char moe_artifact_manifest[] =
    "{\"abi_version\": 5, \"producer\": \"by hand\", \"target\": \"host\","
    " \"cpu\": \"x86-64\", \"hash\": \"hostile\", \"ranks\": 0,"
    " \"symm_bytes\": 0, \"sites\": [], \"entries\": [{\"name\": \"copy\","
    " \"symbol\": \"moe_entry_copy\","
    " \"args\": [{\"dtype\": \"f32\", \"shape\": [-1, 4]}],"
    " \"results\": [{\"dtype\": \"f32\", \"shape\": [-1, 4]}]}]}";

struct Memref2D {
  float *allocated, *aligned;
  int64_t offset, sizes[2], strides[2];
};

/* A runtime may open and close a file before it uses it. */
static int isUsed;

void moe_entry_copy(void **args) {
  isUsed = 1;
  struct Memref2D *in = args[0], *out = args[1];
  int64_t bytes = in->sizes[0] * in->sizes[1] * (int64_t)sizeof(float);
  *out = *in;
  out->offset = 0;
  out->allocated = out->aligned = moert_alloc(bytes, 64);
  memcpy(out->aligned, in->aligned + in->offset, bytes);
}

static void misbehave(const char *variable) {
  char process[64], action[64], name[17] = {0};
  const char *text = getenv(variable);
  if (!text || sscanf(text, "%63s %63s", process, action) != 2)
    return;
  prctl(PR_GET_NAME, name);
  if (strcmp(process, "*") != 0 && strcmp(process, name) != 0)
    return;
  if (strcmp(action, "kill") == 0)
    raise(SIGKILL);
  else if (strcmp(action, "crash") == 0)
    raise(SIGSEGV);
  else if (strcmp(action, "stop") == 0)
    raise(SIGSTOP);
  else if (strcmp(action, "exit") == 0)
    _exit(3);
  else
    for (;;)
      usleep(10000);
}

__attribute__((constructor)) static void come(void) {
  misbehave("MOE_CONSTRUCTOR");
}
__attribute__((destructor)) static void go(void) {
  if (isUsed)
    misbehave("MOE_DESTRUCTOR");
}
