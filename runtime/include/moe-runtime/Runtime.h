//===- Runtime.h - C API for programs that embed the runtime ----*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Everything a program needs to run artifacts: join a group of ranks, load
/// an artifact, call its entries on DLPack tensors.
///
/// Functions return a moert_code. When it is not MOERT_OK, the calling
/// thread's moert_last_error() says what happened. No function throws, ends
/// the process, or waits longer than the context's time-out for another rank.
/// A function marked *collective* is called by all ranks in the same order.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_RUNTIME_H
#define MOE_RUNTIME_RUNTIME_H

#include "moe-runtime/ArtifactABI.h"

#include <dlpack/dlpack.h>
#include <stddef.h>

#if defined(MOERT_BUILDING)
#define MOERT_API __attribute__((visibility("default")))
#else
#define MOERT_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/// DLPack codes that headers before DLPack 1.1 do not name.
#define MOERT_DL_BOOL 6
#define MOERT_DL_FLOAT8_E4M3FN 10
#define MOERT_DL_FLOAT8_E5M2 12

typedef struct moert_context moert_context;
typedef struct moert_artifact moert_artifact;
typedef struct moert_entry moert_entry;

/// "0.1.0".
MOERT_API const char *moert_version(void);
/// "TIMEOUT" for MOERT_TIMEOUT.
MOERT_API const char *moert_code_name(moert_code code);
/// Message of the calling thread's last failed call; "" when there was none.
/// Valid until the thread's next call.
MOERT_API const char *moert_last_error(void);

/// How the ranks of a group find each other: processes of one machine that
/// already have an all-gather.
typedef struct moert_bootstrap {
  size_t struct_size; ///< sizeof(moert_bootstrap)
  int32_t rank;
  int32_t size;
  void *user;
  /// Writes `bytes` bytes of every rank in rank order to `out`. Returns 0 on
  /// success. Should give up after about `timeout_seconds`.
  int32_t (*allgather)(void *user, const void *in, size_t bytes, void *out,
                       double timeout_seconds);
} moert_bootstrap;

typedef struct moert_options {
  size_t struct_size;        ///< sizeof(moert_options)
  double timeout_seconds;    ///< 0 for the default, 20
  size_t symm_reserve_bytes; ///< address space per rank, 0 for the default
  const char *backend;       ///< NULL for "host"
} moert_options;

/// Collective. `bootstrap` NULL is a group of one; `options` may be NULL.
MOERT_API moert_code moert_context_create(const moert_bootstrap *bootstrap,
                                          const moert_options *options,
                                          moert_context **out);
/// Unloads all artifacts. Results of calls stay valid. NULL is fine.
MOERT_API void moert_context_destroy(moert_context *context);
MOERT_API int32_t moert_context_rank(const moert_context *context);
MOERT_API int32_t moert_context_size(const moert_context *context);
/// Rank whose error made the group fail, or -1.
MOERT_API int32_t moert_context_failed_rank(const moert_context *context);
/// Collective. After an error the group refuses calls until all ranks have
/// called this; it zeroes the workspaces.
MOERT_API moert_code moert_context_reset(moert_context *context);
/// Tells the other ranks that this one cannot go on, so that their calls end
/// with MOERT_PEER_FAILED.
MOERT_API moert_code moert_context_fail(moert_context *context, moert_code code,
                                        const char *message);

/// Collective.
MOERT_API moert_code moert_artifact_load(moert_context *context,
                                         const char *path,
                                         moert_artifact **out);
/// Collective, unless the group has failed.
MOERT_API moert_code moert_artifact_unload(moert_artifact *artifact);
/// The manifest's text, valid as long as the artifact.
MOERT_API const char *moert_artifact_manifest(const moert_artifact *artifact);
MOERT_API size_t moert_artifact_num_entries(const moert_artifact *artifact);
/// The i-th entry, NULL when there are not so many.
MOERT_API moert_entry *moert_artifact_entry_at(moert_artifact *artifact,
                                               size_t index);
/// Entry by name; NULL or "" stands for the only one.
MOERT_API moert_code moert_artifact_entry(moert_artifact *artifact,
                                          const char *name, moert_entry **out);

/// Type of an argument or result; pointers are valid as long as the artifact.
typedef struct moert_tensor_type {
  DLDataType dtype;
  const char *dtype_name; ///< as in the manifest
  int32_t ndim;
  const int64_t *shape; ///< -1 for a dynamic extent
} moert_tensor_type;

MOERT_API const char *moert_entry_name(const moert_entry *entry);
MOERT_API size_t moert_entry_num_args(const moert_entry *entry);
MOERT_API size_t moert_entry_num_results(const moert_entry *entry);
MOERT_API moert_code moert_entry_arg(const moert_entry *entry, size_t index,
                                     moert_tensor_type *out);
MOERT_API moert_code moert_entry_result(const moert_entry *entry, size_t index,
                                        moert_tensor_type *out);

/// Collective when the artifact communicates. `inputs` are borrowed for the
/// call and may be strided; `outputs` receives one tensor per result, each to
/// be freed by its deleter, on any thread, even after the context is gone.
MOERT_API moert_code moert_entry_call(moert_entry *entry,
                                      const DLTensor *const *inputs,
                                      size_t num_inputs,
                                      DLManagedTensor **outputs,
                                      size_t num_outputs);

/// Time accumulated over calls. op and location are "" for what lies outside
/// collectives, whose phase is "compute".
typedef struct moert_timing {
  const char *op;
  const char *location;
  const char *phase;
  int64_t calls;
  int64_t nanoseconds;
} moert_timing;

MOERT_API size_t moert_context_num_timings(const moert_context *context);
/// Strings are valid until the next call on the context.
MOERT_API moert_code moert_context_timing(const moert_context *context,
                                          size_t index, moert_timing *out);
MOERT_API void moert_context_clear_timings(moert_context *context);

/// Collective: `bytes` zeroed bytes of symmetric memory, aligned to 256.
MOERT_API moert_code moert_symm_alloc(moert_context *context, size_t bytes,
                                      void **out);
/// Collective.
MOERT_API moert_code moert_symm_free(moert_context *context, void *address);
/// Where `address` of this rank's slice lies in the slice of `rank`.
MOERT_API void *moert_symm_peer(const moert_context *context, void *address,
                                int32_t rank);

#ifdef __cplusplus
} // extern "C"
#endif

#endif // MOE_RUNTIME_RUNTIME_H
