/*===- exchange.c - a hand-written artifact that communicates -------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// "gather" concatenates the rows of all ranks, in rank order, by put, signal
// and wait, like generated code does. "twice" does so two times. Their first
// argument says how to misbehave, and their second which rank does; 0 is to
// behave. "rotate" gives each rank the rows of the one before it, which has as
// many; "rotate_times" does so as often as its first argument says.
//
// Built with CUDA, the same entries do their work in the kernels of
// exchange-kernels.c. All tensors are on the device then, and what the host
// has to know of them is read.
//
//===----------------------------------------------------------------------===*/

#include "exchange.h"

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
  unknownCode = 16,  /* moert_fail with a code nobody knows */
  stopped = 17       /* SIGSTOP in phase put */
};

struct Memref2D {
  float *allocated, *aligned;
  int64_t offset, sizes[2], strides[2];
};
struct Scalar {
  int64_t *allocated, *aligned;
  int64_t offset;
};

#ifdef CUDA
#define TARGET                                                                 \
  "\"cuda\", \"gpu\": {\"chip\": \"sm_80\", \"format\": \"ptx\"},"             \
  " \"device_strings\": [\"put\", \"complete\", \"signal\", \"rotate\"]"

/* The text that the kernels were compiled to. */
__asm__(".pushsection .rodata\n"
        ".global moe_gpu_image\n"
        ".type moe_gpu_image, @object\n"
        "moe_gpu_image: .incbin \"" KERNELS "\"\n"
        ".byte 0\n"
        ".size moe_gpu_image, . - moe_gpu_image\n"
        ".popsection");
#else
#define TARGET "\"host\""
#endif

/* Enough for 64 ranks; a larger workspace does no harm. */
const char moe_artifact_manifest[] =
    "{\"abi_version\": 5, \"producer\": \"by hand\", \"target\": " TARGET ","
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
               "   \"results\": [{\"dtype\": \"f32\", \"shape\": [-1, 4]}]},"
               "  {\"name\": \"rotate\", \"symbol\": \"moe_entry_rotate\","
               "   \"args\": [{\"dtype\": \"f32\", \"shape\": [-1, 4]}],"
               "   \"results\": [{\"dtype\": \"f32\", \"shape\": [-1, 4],"
               "                 \"extents\": [[0, 0], null]}]},"
               "  {\"name\": \"rotate_times\","
               "   \"symbol\": \"moe_entry_rotate_times\","
               "   \"args\": [{\"dtype\": \"i64\", \"shape\": []},"
               "              {\"dtype\": \"f32\", \"shape\": [-1, 4]}],"
               "   \"results\": [{\"dtype\": \"f32\", \"shape\": [-1, 4]}]}],"
               " \"sites\": [{\"op\": \"test.gather\", \"location\": "
               "\"exchange.c:1:1\"},"
               "             {\"op\": \"test.gather\", \"location\": "
               "\"exchange.c:2:2\"},"
               "             {\"op\": \"test.rotate\", \"location\": "
               "\"exchange.c:3:3\"}]}";

static float constants[4] = {1, 2, 3, 4};

static void misbehave(int64_t mode, struct Memref2D *in) {
  (void)in;
  switch (mode) {
  case failHere:
    moert_fail(MOERT_INVALID_EXPERT, "expert id", -1, 7, 12, -1, 3, 1);
    break;
  case unknownCode:
    moert_fail(99, "nonsense", INT64_MIN, 1, 2, 0, -1, -1);
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
  case stopped:
    raise(SIGSTOP);
    break;
  default:
    break;
  }
}

static void setResult(struct Memref2D *out, float *result, int64_t rows) {
  out->allocated = out->aligned = result;
  out->offset = 0;
  out->sizes[0] = rows;
  out->sizes[1] = out->strides[0] = cols;
  out->strides[1] = 1;
}

/* Memory of rows that the entry returns, or that it frees again. */
static float *allocRows(int isResult, int64_t rows) {
  int64_t bytes = rows * cols * (int64_t)sizeof(float);
  return isResult ? moert_alloc_result(0, bytes, 64) : moert_alloc(bytes, 64);
}

#ifdef CUDA

static int64_t load(const int64_t *address) {
  int64_t value;
  moert_read(&value, address, sizeof(value));
  return value;
}

static void launch(const char *kernel, struct Exchange *exchange) {
  void *params[] = {exchange};
  moert_launch(kernel, 1, 64, 0, params);
}

static struct Exchange describe(int64_t site, const struct Memref2D *in) {
  struct Exchange exchange = {
      .workspace = moert_symm_base(),
      .stride = moert_symm_stride(),
      .me = moert_rank(),
      .ranks = RANKS,
      .in = in->aligned + in->offset,
      .rows = in->sizes[0],
      .rowStride = in->strides[0],
      .colStride = in->strides[1],
      .site = site,
      .timeoutNs = moert_timeout_ns(),
      .record = moert_device_status(),
  };
  return exchange;
}

static void put(int64_t site, const struct Memref2D *in) {
  struct Exchange exchange = describe(site, in);
  launch("exchange_put", &exchange);
}

static void complete(int64_t site, const struct Memref2D *in,
                     struct Memref2D *out, int isResult) {
  struct Exchange exchange = describe(site, in);
  launch("exchange_complete", &exchange);
  int64_t rows[RANKS], total = 0;
  moert_read(rows, rowsOf(exchange.workspace, RANKS), sizeof(rows));
  for (int64_t p = 0; p < RANKS; ++p)
    total += rows[p];
  exchange.out = allocRows(isResult, total);
  launch("exchange_take", &exchange);
  setResult(out, exchange.out, total);
}

static void rotate(int64_t site, const struct Memref2D *in,
                   struct Memref2D *out, int isResult) {
  struct Exchange exchange = describe(site, in);
  exchange.out = allocRows(isResult, exchange.rows);
  launch("exchange_rotate", &exchange);
  setResult(out, exchange.out, exchange.rows);
}

#else

static int64_t load(const int64_t *address) { return *address; }

static uint64_t *workspaceOf(int64_t rank) {
  return peerOf(moert_symm_base(), rank - moert_rank(), moert_symm_stride());
}

static void signal64(uint64_t *flag, uint64_t value) {
  __atomic_store_n(flag, value, __ATOMIC_RELEASE);
}

static void copyRows(float *to, const struct Memref2D *in) {
  const float *x = in->aligned + in->offset;
  for (int64_t r = 0; r < in->sizes[0]; ++r)
    for (int64_t c = 0; c < cols; ++c)
      to[r * cols + c] = x[r * in->strides[0] + c * in->strides[1]];
}

static void put(int64_t site, const struct Memref2D *in) {
  (void)site;
  int64_t me = moert_rank();
  uint64_t *mine = workspaceOf(me);
  uint64_t epoch = *epochOf(mine) + 1;
  for (int64_t i = 0; i < RANKS; ++i) {
    int64_t peer = (me + i) % RANKS;
    uint64_t *theirs = workspaceOf(peer);
    /* What I put there in the last epoch has been read. */
    moert_wait(takenOf(mine, RANKS) + peer, epoch - 1, peer);
    copyRows(slotOf(theirs, RANKS, me), in);
    rowsOf(theirs, RANKS)[me] = in->sizes[0];
    signal64(arrivedOf(theirs) + me, epoch);
  }
}

static void complete(int64_t site, const struct Memref2D *in,
                     struct Memref2D *out, int isResult) {
  (void)site;
  (void)in;
  int64_t me = moert_rank(), total = 0;
  uint64_t *mine = workspaceOf(me);
  uint64_t epoch = *epochOf(mine) + 1;
  for (int64_t p = 0; p < RANKS; ++p) {
    moert_wait(arrivedOf(mine) + p, epoch, p);
    total += rowsOf(mine, RANKS)[p];
  }
  float *result = allocRows(isResult, total);
  float *next = result;
  for (int64_t p = 0; p < RANKS; ++p) {
    int64_t rows = rowsOf(mine, RANKS)[p];
    memcpy(next, slotOf(mine, RANKS, p), rows * cols * sizeof(float));
    next += rows * cols;
    signal64(takenOf(workspaceOf(p), RANKS) + me, epoch);
  }
  *epochOf(mine) = epoch;
  setResult(out, result, total);
}

static void rotate(int64_t site, const struct Memref2D *in,
                   struct Memref2D *out, int isResult) {
  (void)site;
  int64_t me = moert_rank(), rows = in->sizes[0];
  int64_t next = (me + 1) % RANKS, previous = (me + RANKS - 1) % RANKS;
  uint64_t *mine = workspaceOf(me), *theirs = workspaceOf(next);
  uint64_t epoch = mine[rotateEpoch] + 1;
  moert_wait(mine + rotateTaken, epoch - 1, next);
  copyRows(slotOf(theirs, RANKS, RANKS), in);
  signal64(theirs + rotateArrived, epoch);
  moert_wait(mine + rotateArrived, epoch, previous);
  float *result = allocRows(isResult, rows);
  memcpy(result, slotOf(mine, RANKS, RANKS), rows * cols * sizeof(float));
  signal64(workspaceOf(previous) + rotateTaken, epoch);
  mine[rotateEpoch] = epoch;
  setResult(out, result, rows);
}

#endif

static void checkRows(const struct Memref2D *in) {
  if (in->sizes[0] > maxRows)
    moert_fail(MOERT_CAPACITY_EXCEEDED, "rows", INT64_MIN, maxRows,
               in->sizes[0], -1, -1, -1);
}

static void gather(const char *location, int64_t site, int64_t mode,
                   struct Memref2D *in, struct Memref2D *out, int isResult) {
  moert_collective_begin("test.gather", location, site);
  checkRows(in);
  moert_phase("put");
  misbehave(mode, in);
  put(site, in);
  moert_phase("complete");
  complete(site, in, out, isResult);
  moert_collective_end();
}

static void run(void **args, int isTwice) {
  struct Scalar *modeArg = args[0], *rankArg = args[1];
  struct Memref2D *in = args[2], *out = args[3];
  int64_t mode = load(modeArg->aligned + modeArg->offset);
  if (load(rankArg->aligned + rankArg->offset) != moert_rank())
    mode = behave;
  if (mode == leak) {
    void *leaked = moert_alloc(100, 8);
#ifndef CUDA
    memset(leaked, 1, 100);
#endif
    (void)leaked;
  }
  if (mode == leaveEarly) {
    out->allocated = out->aligned = moert_alloc(0, 64);
    out->sizes[1] = cols;
    return;
  }
  if (isTwice && mode == otherOrder) {
    gather("exchange.c:2:2", 1, mode, in, out, 0);
    gather("exchange.c:1:1", 0, mode, in, out, 0);
    return;
  }
  int isResult = !isTwice && mode != returnStatic && mode != returnInput;
  gather("exchange.c:1:1", 0, mode, in, out, isResult);
  if (isTwice) {
    moert_free(out->allocated);
    gather("exchange.c:2:2", 1, behave, in, out, 0);
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

static void rotateOnce(struct Memref2D *in, struct Memref2D *out,
                       int isResult) {
  moert_collective_begin("test.rotate", "exchange.c:3:3", 2);
  checkRows(in);
  moert_phase("rotate");
  rotate(2, in, out, isResult);
  moert_collective_end();
}

void moe_entry_rotate(void **args) { rotateOnce(args[0], args[1], 1); }

void moe_entry_rotate_times(void **args) {
  struct Scalar *times = args[0];
  struct Memref2D *in = args[1], *out = args[2];
  int64_t count = load(times->aligned + times->offset);
  rotateOnce(in, out, 0);
  for (int64_t i = 1; i < count; ++i) {
    struct Memref2D last = *out;
    rotateOnce(&last, out, 0);
    moert_free(last.allocated);
  }
}
