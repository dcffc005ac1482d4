/*===- messages.c - a hand-written artifact that exchanges messages -------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// "all_gather" and "all_to_all" move bytes as the functions of these names do.
// "rows" moves those of "all_to_all" as rows, with nothing before them: so does
// generated code that knows the blocks of its ranks.
// "exchange" first gathers a word of each rank, as generated code gathers
// counts, and then exchanges rows of several buffers. Its `tables` have for
// each buffer the starts and counts of rows that are sent, and those that are
// received; its `layout` where the buffer lies in `send` and in the result, and
// how long its rows are. The result is a copy of `before`, but for the rows.
//
// The first argument of all entries says how to misbehave, and the second which
// rank does; 0 is to behave.
//
// "gather" is "all_gather" without these arguments: it reads nothing on the
host,
// so it can be captured in a graph.
//
// Built with CUDA, all tensors are on the device.
//
//===----------------------------------------------------------------------===*/

#include "moe-runtime/ArtifactABI.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#ifndef RANKS
#define RANKS 4
#endif
#ifndef TRANSPORT
#define TRANSPORT "messages"
#endif
#define STRINGIFY(x) #x
#define STR(x) STRINGIFY(x)

enum { maxBuffers = 8 };

/* As far as they are the same, the numbers are those of exchange.c. */
enum Mode {
  behave = 0,
  failHere = 1,       /* moert_fail before the exchange */
  dieByKill = 2,      /* SIGKILL before the exchange */
  otherOrder = 4,     /* another collective */
  leaveEarly = 5,     /* returns without a collective */
  exitCleanly = 8,    /* exit(0) before the exchange */
  slow = 9,           /* arrives 300 ms late */
  rowsOutside = 20,   /* moert_exchange_rows without a begin */
  endOutside = 21,    /* moert_exchange_end without a begin */
  beginTwice = 22,    /* moert_exchange_begin after a begin */
  gatherInside = 23,  /* moert_all_gather after a begin */
  leaveOpen = 24,     /* moert_collective_end after a begin */
  noCollective = 25,  /* moert_all_gather outside of a collective */
  negativeBytes = 26, /* moert_all_gather of -1 bytes */
  allToAll = 27       /* "rows" does what "all_to_all" does */
};

struct Memref {
  char *allocated, *aligned;
  int64_t offset, sizes[1], strides[1];
};

#ifdef CUDA
#define TARGET "\"cuda\", \"gpu\": {\"chip\": \"sm_80\", \"format\": \"ptx\"}"
static void copy(void *to, const void *from, int64_t bytes) {
  moert_copy(to, from, bytes);
}
static void load(void *to, const void *from, int64_t bytes) {
  moert_read(to, from, bytes);
}
#else
#define TARGET "\"host\""
static void copy(void *to, const void *from, int64_t bytes) {
  memcpy(to, from, bytes);
}
#define load copy
#endif

#define NUMBER "{\"dtype\": \"i64\", \"shape\": []}"
#define BYTES "{\"dtype\": \"i8\", \"shape\": [-1]}"
#define I32S "{\"dtype\": \"i32\", \"shape\": [-1]}"
#define I64S "{\"dtype\": \"i64\", \"shape\": [-1]}"
#define ENTRY(name, args)                                                      \
  "{\"name\": \"" name "\", \"symbol\": \"moe_entry_" name "\","               \
  " \"args\": [" args "], \"results\": [" BYTES "]}"
#define AND ", "
#define SPREAD(name) ENTRY(name, NUMBER AND NUMBER AND BYTES)
#define EXCHANGE NUMBER AND NUMBER AND I32S AND I64S AND BYTES AND BYTES
#define ENTRIES                                                                \
  SPREAD("all_gather")                                                         \
  AND SPREAD("all_to_all") AND SPREAD("rows") AND ENTRY("exchange", EXCHANGE)  \
  AND ENTRY("gather", BYTES)
#define SITE(op, location)                                                     \
  "{\"op\": \"" op "\", \"location\": \"" location "\"}"
#define SITES                                                                  \
  SITE("test.all_gather", "messages.c:1:1")                                    \
  AND SITE("test.all_to_all", "messages.c:2:2")                                \
      AND SITE("test.exchange", "messages.c:3:3")                              \
          AND SITE("test.other", "messages.c:4:4")                             \
              AND SITE("test.rows", "messages.c:5:5")

const char moe_artifact_manifest[] =
    "{\"abi_version\": 5, \"producer\": \"by hand\", \"target\": " TARGET ","
    " \"cpu\": \"x86-64\", \"hash\": \"messages\", \"symm_bytes\": 0,"
    " \"ranks\": " STR(RANKS) ", \"transport\": \"" TRANSPORT "\","
                              " \"entries\": [" ENTRIES "], \"sites\": [" SITES
                              "]}";

static int64_t number(const struct Memref *scalar) {
  int64_t value;
  load(&value, (int64_t *)scalar->aligned + scalar->offset, sizeof(value));
  return value;
}

/* What this rank is to do wrong. */
static int64_t modeOf(void **args) {
  return number(args[1]) == moert_rank() ? number(args[0]) : behave;
}

static void setResult(struct Memref *out, char *result, int64_t bytes) {
  out->allocated = out->aligned = result;
  out->offset = 0;
  out->sizes[0] = bytes;
  out->strides[0] = 1;
}

static void misbehave(int64_t mode) {
  static const int32_t zeros[RANKS];
  switch (mode) {
  case failHere:
    moert_fail(MOERT_INVALID_EXPERT, "expert id", -1, 7, 12, -1, 3, 1);
    break;
  case dieByKill:
    kill(getpid(), SIGKILL);
    break;
  case exitCleanly:
    _exit(0);
  case slow:
    usleep(300000);
    break;
  case rowsOutside:
    moert_exchange_rows(0, zeros, zeros, 0, zeros, zeros, 4);
    break;
  case endOutside:
    moert_exchange_end();
    break;
  case beginTwice:
    moert_exchange_begin();
    moert_exchange_begin();
    break;
  case gatherInside:
    moert_exchange_begin();
    moert_all_gather(0, 0, 0);
    break;
  case leaveOpen:
    moert_exchange_begin();
    moert_collective_end();
    break;
  case negativeBytes:
    moert_all_gather(0, 0, -1);
    break;
  default:
    break;
  }
}

/* Begins a collective; false when there is to be none. */
static int begin(int64_t mode, const char *op, const char *location,
                 int64_t site, struct Memref *out) {
  if (mode == leaveEarly) {
    setResult(out, moert_alloc(0, 64), 0);
    return 0;
  }
  if (mode == noCollective)
    moert_all_gather(0, 0, 0);
  if (mode == otherOrder)
    moert_collective_begin("test.other", "messages.c:4:4", 3);
  else
    moert_collective_begin(op, location, site);
  return 1;
}

void moe_entry_all_gather(void **args) {
  struct Memref *in = args[2], *out = args[3];
  int64_t bytes = in->sizes[0], mode = modeOf(args);
  if (!begin(mode, "test.all_gather", "messages.c:1:1", 0, out))
    return;
  char *result = moert_alloc_result(0, bytes * RANKS, 64);
  moert_phase("exchange");
  misbehave(mode);
  moert_all_gather(in->aligned + in->offset, result, bytes);
  moert_collective_end();
  setResult(out, result, bytes * RANKS);
}

void moe_entry_gather(void **args) {
  struct Memref *in = args[0], *out = args[1];
  int64_t bytes = in->sizes[0];
  moert_collective_begin("test.all_gather", "messages.c:1:1", 0);
  char *result = moert_alloc_result(0, bytes * RANKS, 64);
  moert_phase("exchange");
  moert_all_gather(in->aligned + in->offset, result, bytes);
  moert_collective_end();
  setResult(out, result, bytes * RANKS);
}

void moe_entry_all_to_all(void **args) {
  struct Memref *in = args[2], *out = args[3];
  int64_t bytes = in->sizes[0], mode = modeOf(args);
  if (!begin(mode, "test.all_to_all", "messages.c:2:2", 1, out))
    return;
  char *result = moert_alloc_result(0, bytes, 64);
  moert_phase("exchange");
  misbehave(mode);
  moert_all_to_all(in->aligned + in->offset, result, bytes / RANKS);
  moert_collective_end();
  setResult(out, result, bytes);
}

void moe_entry_rows(void **args) {
  struct Memref *in = args[2], *out = args[3];
  int64_t bytes = in->sizes[0], mode = modeOf(args);
  if (mode == allToAll) {
    moe_entry_all_to_all(args);
    return;
  }
  if (!begin(mode, "test.rows", "messages.c:5:5", 4, out))
    return;
  char *result = moert_alloc_result(0, bytes, 64);
  moert_phase("exchange");
  misbehave(mode);
  int32_t starts[RANKS], counts[RANKS];
  for (int32_t p = 0; p < RANKS; ++p) {
    starts[p] = p;
    counts[p] = 1;
  }
  moert_exchange_begin();
  moert_exchange_rows(in->aligned + in->offset, starts, counts, result, starts,
                      counts, bytes / RANKS);
  moert_exchange_end();
  moert_collective_end();
  setResult(out, result, bytes);
}

void moe_entry_exchange(void **args) {
  struct Memref *who = args[1], *tables = args[2], *layout = args[3];
  struct Memref *send = args[4], *before = args[5], *out = args[6];
  int64_t mode = modeOf(args), buffers = layout->sizes[0] / 3;
  if (!begin(mode, "test.exchange", "messages.c:3:3", 2, out))
    return;
  if (buffers > maxBuffers || tables->sizes[0] != buffers * 4 * RANKS)
    moert_fail(MOERT_CAPACITY_EXCEEDED, "buffers", 0, maxBuffers, buffers, -1,
               -1, -1);
  int32_t rows[4][RANKS];
  int64_t places[maxBuffers][3], words[RANKS];
  if (buffers > 0)
    load(places, (int64_t *)layout->aligned + layout->offset,
         buffers * (int64_t)sizeof(places[0]));
  int64_t bytes = before->sizes[0];
  char *result = moert_alloc_result(0, bytes, 64);
  if (bytes > 0)
    copy(result, before->aligned + before->offset, bytes);

  moert_phase("count");
  char *counts = moert_alloc(sizeof(words), 64);
  moert_all_gather(who->aligned + who->offset * 8, counts, sizeof(int64_t));
  load(words, counts, sizeof(words));
  moert_free(counts);
  for (int64_t p = 0; p < RANKS; ++p)
    if (words[p] != number(args[1]))
      moert_fail(MOERT_INVALID_COUNT, "gathered word", number(args[1]),
                 number(args[1]), words[p], p, -1, -1);

  moert_phase("exchange");
  misbehave(mode);
  moert_exchange_begin();
  for (int64_t b = 0; b < buffers; ++b) {
    load(rows, (int32_t *)tables->aligned + tables->offset + b * 4 * RANKS,
         sizeof(rows));
    moert_exchange_rows(send->aligned + send->offset + places[b][0], rows[0],
                        rows[1], result + places[b][1], rows[2], rows[3],
                        places[b][2]);
    /* The tables have been read. */
    memset(rows, 0x55, sizeof(rows));
  }
  moert_exchange_end();
  moert_collective_end();
  setResult(out, result, bytes);
}
