/*===- fault.c - faults at chosen steps of a process ----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A library for LD_PRELOAD. MOE_FAULT is
//   PROCESS FUNCTION NTH ACTION
// In the process called PROCESS (as ps shows it; "moe-run@2" is the moe-run
// that an MPI launcher started as rank 2), the NTH call of FUNCTION meets
// ACTION before it begins: "kill", "stop", "exit", or the number of an errno,
// with which it fails. With NTH 0 all calls do. "tmpfile" stands for an openat
// with O_TMPFILE, and "output" for a write to a file on disk.
//
//===----------------------------------------------------------------------===*/

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int isProcess(char *wanted) {
  char name[17] = {0};
  prctl(PR_GET_NAME, name);
  char *at = strchr(wanted, '@');
  if (at) {
    const char *rank = getenv("OMPI_COMM_WORLD_RANK");
    if (!rank)
      rank = getenv("PMI_RANK");
    if (!rank || strcmp(rank, at + 1) != 0)
      return 0;
    *at = '\0';
  }
  return strcmp(name, wanted) == 0;
}

/* Whether this call has to fail; errno is set then. */
static int meet(const char *function) {
  static int calls;
  char process[64], wanted[64], action[64];
  int nth = 0;
  const char *text = getenv("MOE_FAULT");
  if (!text ||
      sscanf(text, "%63s %63s %d %63s", process, wanted, &nth, action) != 4)
    return 0;
  if (strcmp(function, wanted) != 0 || !isProcess(process))
    return 0;
  ++calls;
  if (calls != nth && nth != 0)
    return 0;
  if (strcmp(action, "kill") == 0)
    raise(SIGKILL);
  else if (strcmp(action, "stop") == 0)
    raise(SIGSTOP);
  else if (strcmp(action, "exit") == 0)
    _exit(3);
  else {
    errno = atoi(action);
    return 1;
  }
  return 0;
}

#define NEXT(name, type) ((type)dlsym(RTLD_NEXT, name))

ssize_t sendmsg(int socket, const struct msghdr *message, int flags) {
  typedef ssize_t (*Function)(int, const struct msghdr *, int);
  return meet("sendmsg") ? -1
                         : NEXT("sendmsg", Function)(socket, message, flags);
}

int bind(int socket, const struct sockaddr *address, socklen_t bytes) {
  typedef int (*Function)(int, const struct sockaddr *, socklen_t);
  return meet("bind") ? -1 : NEXT("bind", Function)(socket, address, bytes);
}

/* A file of a file system, which memory files and pipes are not. */
static int isOnDisk(int fd) {
  char link[32], target[16] = {0};
  struct stat info;
  snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
  return fstat(fd, &info) == 0 && S_ISREG(info.st_mode) &&
         readlink(link, target, sizeof(target) - 1) > 0 &&
         strncmp(target, "/memfd:", 7) != 0;
}

ssize_t write(int fd, const void *data, size_t bytes) {
  typedef ssize_t (*Function)(int, const void *, size_t);
  if (meet("write") || (isOnDisk(fd) && meet("output")))
    return -1;
  return NEXT("write", Function)(fd, data, bytes);
}

void *dlopen(const char *file, int flags) {
  typedef void *(*Function)(const char *, int);
  return meet("dlopen") ? NULL : NEXT("dlopen", Function)(file, flags);
}

int linkat(int from, const char *old, int to, const char *name, int flags) {
  typedef int (*Function)(int, const char *, int, const char *, int);
  return meet("linkat") ? -1
                        : NEXT("linkat", Function)(from, old, to, name, flags);
}

int renameat(int from, const char *old, int to, const char *name) {
  typedef int (*Function)(int, const char *, int, const char *);
  return meet("renameat") ? -1
                          : NEXT("renameat", Function)(from, old, to, name);
}

int renameat2(int from, const char *old, int to, const char *name,
              unsigned flags) {
  typedef int (*Function)(int, const char *, int, const char *, unsigned);
  return meet("renameat2")
             ? -1
             : NEXT("renameat2", Function)(from, old, to, name, flags);
}

int openat(int folder, const char *path, int flags, ...) {
  typedef int (*Function)(int, const char *, int, mode_t);
  mode_t mode = 0;
  if (flags & (O_CREAT | O_TMPFILE)) {
    va_list rest;
    va_start(rest, flags);
    mode = va_arg(rest, mode_t);
    va_end(rest);
  }
  if ((flags & O_TMPFILE) == O_TMPFILE && meet("tmpfile"))
    return -1;
  return NEXT("openat", Function)(folder, path, flags, mode);
}
