/*===- recovery.c - Crashes and threads, seen from C --------------*- C -*-===*\
|*                                                                            *|
|* Part of the moe-mlir project, under the Apache License v2.0 with LLVM      *|
|* Exceptions. See LICENSE for license information.                           *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
|*                                                                            *|
\*===----------------------------------------------------------------------===*/

/* Returns the number of expectations that were not met, and prints them. */

#include "support.h"

#include "moe-mlir-c/IR.h"
#include "moe-mlir-c/Passes.h"
#include "moe-mlir-c/Recovery.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

/* Something to be read that the compiler does not know the value of. */
static int *volatile nowhere = NULL;

static void raiseSignal(void *signal) { raise(*(int *)signal); }
static void readNowhere(void *value) { *(int *)value = *nowhere; }
static void callAbort(void *unused) {
  (void)unused;
  abort();
}
static int overflow(int depth) {
  volatile char room[4096];
  room[depth % 4096] = 1;
  if (depth < 0)
    return 0;
  return overflow(depth + 1) + room[depth % 7];
}
static void overflowStack(void *value) { *(int *)value = overflow(0); }
static void setOne(void *value) { *(int *)value = 1; }

static char reason[256];
static void keepReason(MlirStringRef text, void *unused) {
  (void)unused;
  snprintf(reason, sizeof(reason), "%.*s", (int)text.length, text.data);
}

static bool run(void (*body)(void *), void *data) {
  reason[0] = '\0';
  return mlirLogicalResultIsSuccess(
      moeRunRecoverably(body, data, keepReason, NULL));
}

static void onUserSignal(int signal) { (void)signal; }

static void testBodies(void) {
  /* A handler of the application, which has to be there again afterwards. */
  struct sigaction mine = {.sa_handler = onUserSignal}, now;
  sigaction(SIGFPE, &mine, NULL);

  int value = 0;
  EXPECT(run(setOne, &value) && value == 1);
  EXPECT(!run(readNowhere, &value));
  EXPECT_TEXT(str(reason),
              "the compiler crashed: SIGSEGV (Segmentation fault)");
  EXPECT(!run(overflowStack, &value));
  EXPECT_TEXT(str(reason),
              "the compiler crashed: SIGSEGV (Segmentation fault)");
  EXPECT(!run(callAbort, NULL));
  EXPECT_TEXT(str(reason), "the compiler crashed: SIGABRT (Aborted)");
  int signals[] = {SIGBUS, SIGFPE, SIGILL, SIGTRAP};
  for (int i = 0; i < 4; ++i)
    EXPECT(!run(raiseSignal, &signals[i]));
  value = 0;
  EXPECT(run(setOne, &value) && value == 1);

  sigaction(SIGFPE, NULL, &now);
  EXPECT(now.sa_handler == onUserSignal);
  sigaction(SIGSEGV, NULL, &now);
  EXPECT(now.sa_handler == SIG_DFL);
}

/* A body in a body: the inner failure is not the outer one's. */
static void runInner(void *data) {
  int value = 0;
  *(bool *)data = !run(readNowhere, &value);
}

static void testNesting(void) {
  bool innerFailed = false;
  EXPECT(run(runInner, &innerFailed));
  EXPECT(innerFailed);
}

/* A pass that crashes, in a pass manager of the caller. */
static void crashPass(MlirOperation op, MlirExternalPass pass, void *data) {
  (void)op;
  (void)pass;
  readNowhere(data);
}
static void *clonePass(void *data) { return data; }

struct PassRun {
  MlirPassManager manager;
  MlirOperation op;
  MlirLogicalResult result;
};

static void runPasses(void *data) {
  struct PassRun *passRun = data;
  passRun->result = mlirPassManagerRunOnOp(passRun->manager, passRun->op);
}

static char lastPass[64];
static void keepPass(MlirStringRef pass, MlirOperation op, void *count) {
  (void)op;
  ++*(int *)count;
  snprintf(lastPass, sizeof(lastPass), "%.*s", (int)pass.length, pass.data);
}

static int numFinished = 0;
static void countFinished(MlirStringRef pass, MlirOperation op, bool succeeded,
                          void *data) {
  (void)pass;
  (void)op;
  (void)data;
  numFinished += succeeded;
}

static void testPassManager(void) {
  moeRegisterAllPasses();
  moeRegisterAllPasses();
  MlirContext context = moeContextCreate();
  MlirModule module =
      moeModuleParse(context, str(kExchange), str("exchange.mlir"));
  int value, numPasses = 0;
  struct PassRun passRun = {
      mlirPassManagerCreateOnOperation(context, str("builtin.module")),
      mlirModuleGetOperation(module), mlirLogicalResultFailure()};
  MlirOpPassManager ops = mlirPassManagerGetAsOpPassManager(passRun.manager);
  EXPECT(mlirLogicalResultIsSuccess(
      mlirOpPassManagerAddPipeline(ops, str("moe-plan"), keepReason, NULL)));
  MlirTypeIDAllocator ids = mlirTypeIDAllocatorCreate();
  MlirExternalPassCallbacks callbacks = {.run = crashPass, .clone = clonePass};
  mlirPassManagerAddOwnedPass(
      passRun.manager,
      mlirCreateExternalPass(mlirTypeIDAllocatorAllocateTypeID(ids),
                             str("crash"), str("crash"), str(""), str(""), 0,
                             NULL, callbacks, &value));
  MoePassObserver observer = {keepPass, countFinished, &numPasses};
  moePassManagerAddObserver(passRun.manager, observer);
  EXPECT(!run(runPasses, &passRun));
  EXPECT_TEXT(str(reason),
              "the compiler crashed: SIGSEGV (Segmentation fault)");
  EXPECT_TEXT(str(lastPass), "crash");
  EXPECT(numPasses == 2 && numFinished == 1);
  /* The context is lost. */
}

/* Attributes nested so deeply that the parser overflows its stack. */
static char *makeDeepModule(void) {
  const size_t depth = 4000000;
  static const char head[] = "module attributes {a = ";
  char *text = malloc(sizeof(head) + depth);
  memcpy(text, head, sizeof(head) - 1);
  memset(text + sizeof(head) - 1, '[', depth);
  text[sizeof(head) - 1 + depth] = '\0';
  return text;
}

static void testCompile(void) {
  char *deep = makeDeepModule();
  for (int i = 0; i < 2; ++i) {
    MoeCompileResult result = compileText(deep, NULL, NULL);
    EXPECT(!moeCompileResultIsSuccess(result));
    EXPECT(moeCompileResultIsCrash(result));
    EXPECT(moeCompileResultGetNumDiagnostics(result) == 1);
    EXPECT_TEXT(
        moeDiagnosticRecordGetMessage(moeCompileResultGetDiagnostic(result, 0)),
        "the compiler crashed: SIGSEGV (Segmentation fault)");
    moeCompileResultDestroy(result);
    result = compileText(kExchange, NULL, NULL);
    EXPECT(moeCompileResultIsSuccess(result));
    moeCompileResultDestroy(result);
  }
  free(deep);
}

struct ThreadRun {
  pthread_t thread;
  MlirStringRef host, cuda;
  bool crashes;
  int failures;
};

static void *compileOnThread(void *data) {
  struct ThreadRun *self = data;
  for (int i = 0; i < 4; ++i) {
    if (self->crashes) {
      int value;
      self->failures += mlirLogicalResultIsSuccess(
          moeRunRecoverably(readNowhere, &value, NULL, NULL));
    }
    MoeCompileResult host = compileText(kExchange, NULL, NULL),
                     cuda = compileText(kExchange, "target", "cuda"),
                     wrong = compileText("wrong", NULL, NULL);
    self->failures +=
        !mlirStringRefEqual(moeCompileResultGetOutput(host), self->host) ||
        !mlirStringRefEqual(moeCompileResultGetOutput(cuda), self->cuda) ||
        moeCompileResultGetNumDiagnostics(wrong) != 1;
    moeCompileResultDestroy(host);
    moeCompileResultDestroy(cuda);
    moeCompileResultDestroy(wrong);
  }
  return NULL;
}

/* Threads that compile at once get the bytes of one that is alone. */
static void testThreads(void) {
  MoeCompileResult host = compileText(kExchange, NULL, NULL),
                   cuda = compileText(kExchange, "target", "cuda");
  EXPECT(moeCompileResultIsSuccess(host) && moeCompileResultIsSuccess(cuda));
  struct ThreadRun runs[6];
  for (int i = 0; i < 6; ++i) {
    struct ThreadRun start = {.host = moeCompileResultGetOutput(host),
                              .cuda = moeCompileResultGetOutput(cuda),
                              .crashes = i == 5};
    runs[i] = start;
    pthread_create(&runs[i].thread, NULL, compileOnThread, &runs[i]);
  }
  for (int i = 0; i < 6; ++i) {
    pthread_join(runs[i].thread, NULL);
    EXPECT(runs[i].failures == 0);
  }
  moeCompileResultDestroy(host);
  moeCompileResultDestroy(cuda);
}

int main(void) {
  testBodies();
  testNesting();
  testPassManager();
  testCompile();
  testThreads();
  printf("%d failures\n", failures);
  return failures > 0;
}
