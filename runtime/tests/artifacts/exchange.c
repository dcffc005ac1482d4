/*===- exchange.c - a hand-written artifact that communicates -------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Two entries. "gather" concatenates the rows of all ranks, in rank order, by
// put, signal and wait, like generated code does. "twice" does so two times.
// Their first argument says how to misbehave, and their second which rank
// does; 0 is to behave.
//
//===----------------------------------------------------------------------===*/

#include "moe-runtime/ArtifactABI.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef RANKS
#define RANKS 4
#endif
#ifndef HASH
#define HASH "exchange"
#endif
#define STRINGIFY(x) #x
#define STR(x) STRINGIFY(x)

enum { cols = 4, maxRows = 256 };

enum Mode {
  behave = 0,
  failHere = 1,      /* moert_fail in phase put */
  dieByKill = 2,     /* SIGKILL in phase put */
  loopForever = 3,   /* never gets to its put */
  otherOrder = 4,    /* another collective first */
  leaveEarly = 5,    /* returns without the collective */
  leak = 6,          /* does not free its temporary */
  freeGarbage = 7,   /* moert_free of something else */
  exitCleanly = 8,   /* exit(0) in the middle */
  slow = 9,          /* arrives 300 ms late */
  returnStatic = 10, /* the result is not from moert_alloc */
  returnInput = 11,  /* the result is an argument */
  allocTooMuch = 12, /* more memory than there is */
  badPeer = 13,      /* waits for a rank that does not exist */
  segfault = 14,     /* as if by a wild access */
  wrongShape = 15,   /* a result that is not what the manifest says */
  unknownCode = 16   /* moert_fail with a code nobody knows */
};

/* One rank's workspace. A flag holds the epoch of what it announces. */
struct Workspace {
  uint64_t epoch;
  uint64_t arrived[RANKS]; /* rank p has put its rows here */
  uint64_t taken[RANKS];   /* rank p has read what I put there */
  int64_t rows[RANKS];
  float slots[RANKS][maxRows * cols];
};

struct Memref2D {
  float *allocated, *aligned;
  int64_t offset, sizes[2], strides[2];
};
struct Scalar {
  int64_t *allocated, *aligned;
  int64_t offset;
};

/* sizeof(struct Workspace) as the preprocessor can print it: the tests build
   with this many ranks at most 64, and a larger workspace does no harm. */
const char moe_artifact_manifest[] =
    "{\"abi_version\": 1, \"producer\": \"by hand\", \"target\": \"host\","
    " \"cpu\": \"x86-64\", \"hash\": \"" HASH "\", \"ranks\": " STR(
        RANKS) ","
               " \"symm_bytes\": 300000,"
               " \"entries\": ["
               "  {\"name\": \"gather\", \"symbol\": \"moe_entry_gather\","
               "   \"args\": [{\"dtype\": \"i64\", \"shape\": []},"
               "              {\"dtype\": \"i64\", \"shape\": []},"
               "              {\"dtype\": \"f32\", \"shape\": [-1, 4]}],"
               "   \"results\": [{\"dtype\": \"f32\", \"shape\": [-1, 4]}]},"
               "  {\"name\": \"twice\", \"symbol\": \"moe_entry_twice\","
               "   \"args\": [{\"dtype\": \"i64\", \"shape\": []},"
               "              {\"dtype\": \"i64\", \"shape\": []},"
               "              {\"dtype\": \"f32\", \"shape\": [-1, 4]}],"
               "   \"results\": [{\"dtype\": \"f32\", \"shape\": [-1, 4]}]}],"
               " \"sites\": [{\"op\": \"test.gather\", \"location\": "
               "\"exchange.c:1:1\"},"
               "             {\"op\": \"test.gather\", \"location\": "
               "\"exchange.c:2:2\"}]}";

_Static_assert(RANKS > 64 || sizeof(struct Workspace) <= 300000,
               "symm_bytes is too small");

static float constants[4] = {1, 2, 3, 4};

static void misbehave(int64_t mode, struct Memref2D *in) {
  (void)in;
  switch (mode) {
  case failHere:
    moert_fail(MOERT_INVALID_EXPERT, "expert id", 7, 12, -1);
    break;
  case unknownCode:
    moert_fail(99, "nonsense", 1, 2, 0);
    break;
  case dieByKill:
    kill(getpid(), SIGKILL);
    break;
  case loopForever:
    for (;;)
      usleep(10000);
  case freeGarbage:
    moert_free(constants);
    break;
  case exitCleanly:
    _exit(0);
  case slow:
    usleep(300000);
    break;
  case allocTooMuch:
    moert_alloc((int64_t)1 << 60, 64);
    break;
  case badPeer: {
    static const uint64_t never = 0;
    moert_wait(&never, 1, RANKS);
    break;
  }
  case segfault:
    raise(SIGSEGV);
    break;
  default:
    break;
  }
}

static struct Workspace *workspaceOf(int64_t rank) {
  char *base = moert_symm_base();
  return (struct Workspace *)(base +
                              (rank - moert_rank()) * moert_symm_stride());
}

static void gather(const char *location, int64_t site, int64_t mode,
                   struct Memref2D *in, struct Memref2D *out) {
  int64_t me = moert_rank();
  struct Workspace *mine = workspaceOf(me);
  moert_collective_begin("test.gather", location, site);
  uint64_t epoch = ++mine->epoch;
  const float *x = in->aligned + in->offset;
  int64_t rows = in->sizes[0];
  if (rows > maxRows)
    moert_fail(MOERT_CAPACITY_EXCEEDED, "rows", maxRows, rows, -1);

  moert_phase("put");
  misbehave(mode, in);
  for (int64_t i = 0; i < RANKS; ++i) {
    int64_t peer = (me + i) % RANKS;
    struct Workspace *theirs = workspaceOf(peer);
    /* What I put there in the last epoch has been read. */
    moert_wait(&mine->taken[peer], epoch - 1, peer);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < cols; ++c)
        theirs->slots[me][r * cols + c] =
            x[r * in->strides[0] + c * in->strides[1]];
    theirs->rows[me] = rows;
    __atomic_store_n(&theirs->arrived[me], epoch, __ATOMIC_RELEASE);
  }

  moert_phase("complete");
  int64_t total = 0;
  for (int64_t p = 0; p < RANKS; ++p) {
    moert_wait(&mine->arrived[p], epoch, p);
    total += mine->rows[p];
  }
  float *result = moert_alloc(total * cols * sizeof(float), 64);
  float *next = result;
  for (int64_t p = 0; p < RANKS; ++p) {
    memcpy(next, mine->slots[p], mine->rows[p] * cols * sizeof(float));
    next += mine->rows[p] * cols;
    __atomic_store_n(&workspaceOf(p)->taken[me], epoch, __ATOMIC_RELEASE);
  }
  moert_collective_end();
  out->allocated = out->aligned = result;
  out->offset = 0;
  out->sizes[0] = total;
  out->sizes[1] = out->strides[0] = cols;
  out->strides[1] = 1;
}

static void run(void **args, int isTwice) {
  struct Scalar *modeArg = args[0], *rankArg = args[1];
  struct Memref2D *in = args[2], *out = args[3];
  int64_t mode = modeArg->aligned[modeArg->offset];
  if (rankArg->aligned[rankArg->offset] != moert_rank())
    mode = behave;
  if (mode == leak)
    memset(moert_alloc(100, 8), 1, 100);
  if (mode == leaveEarly) {
    out->allocated = out->aligned = moert_alloc(0, 64);
    out->sizes[1] = cols;
    return;
  }
  if (isTwice && mode == otherOrder) {
    gather("exchange.c:2:2", 1, mode, in, out);
    gather("exchange.c:1:1", 0, mode, in, out);
    return;
  }
  gather("exchange.c:1:1", 0, mode, in, out);
  if (isTwice) {
    moert_free(out->allocated);
    gather("exchange.c:2:2", 1, behave, in, out);
  }
  if (mode == returnStatic || mode == returnInput) {
    moert_free(out->allocated);
    *out = *in;
    if (mode == returnStatic) {
      out->allocated = out->aligned = constants;
      out->sizes[0] = 1;
    }
  }
  if (mode == wrongShape)
    out->sizes[1] = cols + 1;
}

void moe_entry_gather(void **args) { run(args, 0); }
void moe_entry_twice(void **args) { run(args, 1); }
