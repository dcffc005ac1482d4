//===- MpiPlugin.cpp - C functions of the MPI plug-in ---------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MpiPlugin.h"

#include <chrono>
#include <cstdio>
#include <cstring>
#include <limits.h>
#include <mpi.h>
#include <thread>
#include <vector>

static constexpr int messageTag = 7301;
static MPI_Comm group = MPI_COMM_NULL;
static bool hasFailed = false;
static bool ownsMpi = false;

static int report(int code, const char *what, char *error, size_t errorBytes) {
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  MPI_Error_string(code, text, &length);
  std::snprintf(error, errorBytes, "%s: %s", what, text);
  hasFailed = true;
  return 1;
}

int moe_mpi_init(int *rank, int *size, char *error, size_t errorBytes) {
  int isInitialized = 0;
  MPI_Initialized(&isInitialized);
  if (!isInitialized) {
    int provided = 0;
    int code =
        MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided);
    if (code != MPI_SUCCESS)
      return report(code, "MPI_Init_thread", error, errorBytes);
    ownsMpi = true;
  }
  // A communicator of our own: errors come back, and no message of another
  // part of the program can be taken for ours.
  int code = MPI_Comm_dup(MPI_COMM_WORLD, &group);
  if (code != MPI_SUCCESS)
    return report(code, "MPI_Comm_dup", error, errorBytes);
  MPI_Comm_set_errhandler(group, MPI_ERRORS_RETURN);
  MPI_Comm_rank(group, rank);
  MPI_Comm_size(group, size);
  return 0;
}

static int reportMissing(const std::vector<MPI_Request> &receives,
                         double seconds, char *error, size_t errorBytes) {
  size_t used =
      std::snprintf(error, errorBytes, "no answer within %g s from", seconds);
  for (size_t r = 0; r < receives.size() && used < errorBytes; ++r)
    if (receives[r] != MPI_REQUEST_NULL)
      used += std::snprintf(error + used, errorBytes - used, " rank %zu", r);
  hasFailed = true;
  return 1;
}

int moe_mpi_allgather(const void *in, size_t bytes, void *out,
                      double timeoutSeconds, char *error, size_t errorBytes) {
  if (hasFailed || bytes > INT_MAX) {
    std::snprintf(error, errorBytes,
                  hasFailed ? "MPI has failed before" : "message too large");
    return 1;
  }
  int size = 0;
  MPI_Comm_size(group, &size);
  // Point to point, so that a time-out can tell who is missing.
  std::vector<MPI_Request> receives(size), sends(size);
  // Buffers that late messages may still touch after a failure are left to
  // the end of the process.
  auto *inbox = new std::vector<char>(bytes * size);
  auto *outbox = new std::vector<char>(static_cast<const char *>(in),
                                       static_cast<const char *>(in) + bytes);
  for (int r = 0; r < size; ++r) {
    int code = MPI_Irecv(inbox->data() + bytes * r, int(bytes), MPI_BYTE, r,
                         messageTag, group, &receives[r]);
    if (code != MPI_SUCCESS)
      return report(code, "MPI_Irecv", error, errorBytes);
  }
  for (int r = 0; r < size; ++r) {
    int code = MPI_Isend(outbox->data(), int(bytes), MPI_BYTE, r, messageTag,
                         group, &sends[r]);
    if (code != MPI_SUCCESS)
      return report(code, "MPI_Isend", error, errorBytes);
  }
  auto deadline = std::chrono::steady_clock::now() +
                  std::chrono::duration<double>(timeoutSeconds);
  for (;;) {
    int done = 1;
    for (std::vector<MPI_Request> *requests : {&receives, &sends})
      for (MPI_Request &request : *requests) {
        if (request == MPI_REQUEST_NULL)
          continue;
        int isDone = 0, received = 0;
        MPI_Status status;
        int code = MPI_Test(&request, &isDone, &status);
        if (code != MPI_SUCCESS)
          return report(code, "MPI_Test", error, errorBytes);
        done &= isDone;
        if (!isDone || requests != &receives)
          continue;
        MPI_Get_count(&status, MPI_BYTE, &received);
        if (size_t(received) != bytes) {
          std::snprintf(error, errorBytes,
                        "rank %d gathers %d bytes, this rank gathers %zu",
                        status.MPI_SOURCE, received, bytes);
          hasFailed = true;
          return 1;
        }
      }
    if (done) {
      std::memcpy(out, inbox->data(), inbox->size());
      delete inbox;
      delete outbox;
      return 0;
    }
    if (std::chrono::steady_clock::now() > deadline)
      return reportMissing(receives, timeoutSeconds, error, errorBytes);
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
}

void moe_mpi_finalize(void) {
  if (hasFailed || group == MPI_COMM_NULL)
    return;
  MPI_Comm_free(&group);
  if (ownsMpi)
    MPI_Finalize();
}

void moe_mpi_abort(int exitCode) { MPI_Abort(MPI_COMM_WORLD, exitCode); }
