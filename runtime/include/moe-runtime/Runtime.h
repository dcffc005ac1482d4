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
/// A context belongs to the process that made it. In a child that this one has
/// forked, functions that act on the group return MOERT_INVALID_ARGUMENT, and
/// moert_context_destroy leaves the group and its memory to the parent.
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

/// What is known of an error beside its message: -1 and "" stand for what is
/// not.
typedef struct moert_error_info {
  size_t struct_size; ///< sizeof(moert_error_info), set by the caller
  moert_code code;    ///< that the call returned; MOERT_OK after a success
  /// Its code on the rank where it was first: MOERT_INVALID_EXPERT, say, where
  /// `code` is MOERT_PEER_FAILED. Else the same as `code`.
  moert_code cause;
  int32_t rank;         ///< that reports it
  int32_t origin;       ///< rank where it was first
  int32_t peer;         ///< rank that was waited for, or that a value is about
  const char *op;       ///< "moe.dispatch"
  const char *location; ///< of the op: "layer.mlir:12:8"
  const char *phase;    ///< of the op: "route"
  const char *what;     ///< was checked: "expert id of token 3, slot 1"
  const char *expected; ///< "-1 to 7"
  const char *seen;     ///< "12"
  const char *message;  ///< moert_last_error()
} moert_error_info;

/// Details of the calling thread's last call. Strings are valid until the
/// thread's next call of another function. Only the fields that struct_size
/// covers are written.
MOERT_API moert_code moert_last_error_info(moert_error_info *out);

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
  /// The same, and after a failure says in `error`, as a string of up to
  /// `error_bytes` bytes, which rank is missing or what else went wrong. Used
  /// instead of allgather when it is not NULL. Callers whose struct_size ends
  /// before it are fine.
  int32_t (*allgather_explained)(void *user, const void *in, size_t bytes,
                                 void *out, double timeout_seconds, char *error,
                                 size_t error_bytes);
} moert_bootstrap;

typedef struct moert_options {
  size_t struct_size;        ///< sizeof(moert_options)
  double timeout_seconds;    ///< 0 for the default, 20
  size_t symm_reserve_bytes; ///< address space per rank, 0 for the default
  const char *backend;       ///< NULL for "host"; "cuda"
  /// GPU of this rank, -1 for the rank modulo the number of GPUs. Callers whose
  /// struct_size ends before it get -1. Ranks may share a GPU.
  int32_t device;
  /// An ncclComm_t of the same ranks in the same order, each with its GPU, for
  /// artifacts that exchange messages; used only if `nccl_lent` is not 0, which
  /// is so on all ranks or on none. Without it the runtime makes a communicator
  /// of its own. One that is lent outlives the context, which never aborts or
  /// destroys it; no other thread may use it at the same time, and no bootstrap
  /// either: its all-gather is called while NCCL connects ranks. Callers whose
  /// struct_size ends before `nccl_lent` lend none.
  void *nccl_comm;
  int32_t nccl_lent;
} moert_options;

/// Collective. `bootstrap` NULL is a group of one; `options` may be NULL.
MOERT_API moert_code moert_context_create(const moert_bootstrap *bootstrap,
                                          const moert_options *options,
                                          moert_context **out);
/// Collective: the group of the processes that a launcher has started, one per
/// rank: those of mpirun, mpiexec, srun or torchrun, which say in the
/// environment which rank is whose. On several hosts they meet by MPI, which
/// this call initializes unless the program has, and the exit of the process
/// finalizes then. A process that was started alone is a group of one.
/// Processes may make several groups one after another, all in the same order.
MOERT_API moert_code moert_context_create_from_environment(
    const moert_options *options, moert_context **out);

/// Collective among the ranks of an MPI communicator, which become those of the
/// group, numbered alike, on any number of hosts. `comm` is the address of a
/// variable of type MPI_Comm, such as mpi4py's MPI._addressof gives; the
/// communicator is copied, and may be freed afterwards. MPI has been
/// initialized with MPI_THREAD_SERIALIZED or more, or by the calling thread,
/// which then is the one to use the group. It is not finalized before the
/// context is destroyed. MOERT_UNAVAILABLE for an MPI other than Open MPI.
MOERT_API moert_code moert_context_create_mpi(const void *comm,
                                              const moert_options *options,
                                              moert_context **out);

/// Ranks that are threads of this process.
typedef struct moert_thread_group moert_thread_group;
MOERT_API moert_code moert_thread_group_create(int32_t size,
                                               moert_thread_group **out);
/// Collective: makes the context of one rank of the group. Each rank is taken
/// once, all at the same time on threads of their own; afterwards any thread
/// may use a context, one at a time.
MOERT_API moert_code moert_context_create_in_threads(
    moert_thread_group *group, int32_t rank, const moert_options *options,
    moert_context **out);
/// Contexts stay. Ranks that nobody has taken will not come, so calls that wait
/// for them end with an error. NULL is fine.
MOERT_API void moert_thread_group_destroy(moert_thread_group *group);

/// How many CUDA graphs have launches of this rank, counting captures that are
/// under way. One counts until it, and what was instantiated of it, is
/// destroyed.
MOERT_API int64_t moert_context_num_graphs(const moert_context *context);
/// Unloads all artifacts. Results of calls stay valid. On a GPU waits for what
/// this process has given it to do. What the launches of graphs use stays as
/// long as these, so a replay touches nothing that was freed; but it waits for
/// no rank any more, and its results are unspecified. NULL is fine.
MOERT_API void moert_context_destroy(moert_context *context);
MOERT_API int32_t moert_context_rank(const moert_context *context);
MOERT_API int32_t moert_context_size(const moert_context *context);
/// Where results are: {kDLCPU, 0}, or {kDLCUDA, ordinal}.
MOERT_API DLDevice moert_context_device(const moert_context *context);
/// "NVIDIA H100 80GB HBM3"; "" on the host backend. Valid as long as the
/// context.
MOERT_API const char *moert_context_device_name(const moert_context *context);
/// What to compile for, in the words of moe-compile: "host", or "cuda:sm_90"
/// with the compute capability of the GPU. Valid as long as the context.
MOERT_API const char *moert_context_target(const moert_context *context);
/// Number of hosts that the ranks are on. Ranks of several load artifacts that
/// exchange messages.
MOERT_API int32_t moert_context_num_hosts(const moert_context *context);
/// Number of the host that a rank is on, -1 where there is no such rank. Hosts
/// are numbered in the order of their lowest ranks.
MOERT_API int32_t moert_context_host_of(const moert_context *context,
                                        int32_t rank);
/// What messages call a host: its name, or the MOE_HOSTID of its ranks; ""
/// where there is no such host. Valid as long as the context.
MOERT_API const char *moert_context_host_name(const moert_context *context,
                                              int32_t host);
/// Rank whose error made the group fail, or -1.
MOERT_API int32_t moert_context_failed_rank(const moert_context *context);
/// Collective. After an error the group refuses calls until all ranks have
/// called this; it zeroes the workspaces. No launched work may be pending.
MOERT_API moert_code moert_context_reset(moert_context *context);
/// Tells the other ranks that this one cannot go on, so that their calls end
/// with MOERT_PEER_FAILED.
MOERT_API moert_code moert_context_fail(moert_context *context, moert_code code,
                                        const char *message);

/// Collective.
MOERT_API moert_code moert_artifact_load(moert_context *context,
                                         const char *path,
                                         moert_artifact **out);
/// Collective. The same of an artifact whose `size` bytes are at `data`; they
/// are copied. `name` stands for the file in messages; NULL and "" are
/// "artifact in memory".
MOERT_API moert_code moert_artifact_load_bytes(moert_context *context,
                                               const void *data, size_t size,
                                               const char *name,
                                               moert_artifact **out);
/// Collective, unless the group has failed. No launch of the artifact is under
/// way: wait for their streams with moert_context_synchronize first. The handle
/// is gone afterwards, also after an error.
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
  int32_t symmetric;    ///< 1 when it has to be, or is, symmetric memory
  const int64_t *shape; ///< -1 for a dynamic extent
} moert_tensor_type;

MOERT_API const char *moert_entry_name(const moert_entry *entry);
MOERT_API size_t moert_entry_num_args(const moert_entry *entry);
MOERT_API size_t moert_entry_num_results(const moert_entry *entry);
MOERT_API moert_code moert_entry_arg(const moert_entry *entry, size_t index,
                                     moert_tensor_type *out);
MOERT_API moert_code moert_entry_result(const moert_entry *entry, size_t index,
                                        moert_tensor_type *out);
/// Where a launch expects an argument, and where a result is: {kDLCPU, 0} for
/// one in host memory, else the context's device.
MOERT_API moert_code moert_entry_arg_device(const moert_entry *entry,
                                            size_t index, DLDevice *out);
MOERT_API moert_code moert_entry_result_device(const moert_entry *entry,
                                               size_t index, DLDevice *out);

/// Collective when the artifact communicates. `inputs` are borrowed for the
/// call and may be strided; `outputs` receives one tensor per result, each to
/// be freed by its deleter, on any thread, even after the context is gone.
///
/// On a GPU, inputs may be in host memory (they are uploaded) or on the
/// context's device; those have to be complete, since the call runs on a
/// stream of its own, and so do launches before it. Results are on the device
/// and complete on return.
///
/// An argument marked symmetric lies in this rank's slice of the symmetric
/// heap, dense, at the same offset on all ranks: moert_symm_alloc gave it out,
/// or it is a symmetric result of another entry, which this call does not write
/// over. Ranks that pass different offsets get MOERT_COLLECTIVE_MISMATCH. A
/// symmetric result is in the workspace of the artifact: its deleter frees no
/// tensor data, and the next call of the entry writes over it.
///
/// On a GPU, what moert_entry_arg_device says is on the host has to be in host
/// memory, of any alignment and strides. It is read before the call or launch
/// returns, and may be freed then; a graph keeps to what was read when it was
/// captured. A result that is there is complete when the call or launch
/// returns.
MOERT_API moert_code moert_entry_call(moert_entry *entry,
                                      const DLTensor *const *inputs,
                                      size_t num_inputs,
                                      DLManagedTensor **outputs,
                                      size_t num_outputs);

/// The same, ordered by `stream` (a CUstream or cudaStream_t; NULL is the
/// legacy default stream) instead of waiting: inputs need to be ready, and
/// results are, in the order of the stream. Inputs are dense, 16-byte aligned
/// and on the context's device, but for those of the host. On the host backend
/// the same as moert_entry_call, and `stream` is NULL.
///
/// After an entry's first call, a launch neither waits for the GPU nor
/// allocates from the system once it has seen the sizes of its temporaries on
/// that stream. It may be captured into a CUDA graph, and the graph replayed
/// any number of times, by all ranks alike, with other contents of the inputs.
/// Ranks that are threads and share a GPU use different streams.
///
/// The launches of a context share flags and workspaces. The stream keeps their
/// order; on different streams the caller does, by events or by waiting.
///
/// Temporaries and results of a captured call stay reserved for the graph, also
/// when a result's deleter has run. What becomes of graphs when the context
/// ends stands at moert_context_destroy.
///
/// Memory of a result serves later work on the same stream once its deleter
/// has run, so run that when what reads it is done or on that stream.
///
/// An error the GPU meets is returned by moert_context_synchronize or _check,
/// and by later calls.
MOERT_API moert_code moert_entry_launch(moert_entry *entry,
                                        const DLTensor *const *inputs,
                                        size_t num_inputs,
                                        DLManagedTensor **outputs,
                                        size_t num_outputs, void *stream);

/// The same as moert_entry_call and moert_entry_launch, with results in tensors
/// of the caller's, which the runtime neither allocates nor, as a rule, copies.
/// `outputs` has one per result, each where moert_entry_result_device says, of
/// the result's type and shape, dense and row-major, and aligned like an input,
/// or to an element on the host. It shares no memory with an input, another
/// output, or what the call writes of the artifact's workspace.
///
/// A symmetric result needs memory of moert_symm_alloc, at the same offset on
/// all ranks; those that give different offsets, or none, get
/// MOERT_COLLECTIVE_MISMATCH. It is the caller's like any other memory: several
/// results of an entry can be alive at the same time, and be arguments of
/// others. Peers write it from the time when this rank runs the call until it
/// is done.
///
/// Where received rows have unspecified rows behind them, these are not
/// written. After an error the contents of all outputs are unspecified. A
/// result that the compiler could not place is copied, in the order of the
/// stream (docs/Artifact.md).
///
/// A launch may be captured into a CUDA graph, like moert_entry_launch; replays
/// write the same memory.
MOERT_API moert_code moert_entry_call_into(moert_entry *entry,
                                           const DLTensor *const *inputs,
                                           size_t num_inputs,
                                           const DLTensor *const *outputs,
                                           size_t num_outputs);
MOERT_API moert_code moert_entry_launch_into(moert_entry *entry,
                                             const DLTensor *const *inputs,
                                             size_t num_inputs,
                                             const DLTensor *const *outputs,
                                             size_t num_outputs, void *stream);
/// The shape that result `index` of a call with these inputs has, of which only
/// rank and extents are looked at; -1 for an extent that the call alone tells.
/// `shape` has room for the result's `ndim` extents.
MOERT_API moert_code moert_entry_result_shape(const moert_entry *entry,
                                              const DLTensor *const *inputs,
                                              size_t num_inputs, size_t index,
                                              int64_t *shape);

/// Waits until the work on `stream` is done, or an error ends it, and returns
/// that error: of this rank's GPU, or of the group. Gives up after twice the
/// time-out and a second. MOERT_INVALID_ARGUMENT for a stream that cannot be
/// waited for, such as one that is being captured. On the host backend a check.
MOERT_API moert_code moert_context_synchronize(moert_context *context,
                                               void *stream);
/// Returns the error, if there is one by now, without waiting.
MOERT_API moert_code moert_context_check(moert_context *context);

/// Copies a tensor of the context's device or of host memory to `bytes` bytes
/// of dense, row-major host memory. Waits for the copy, but not for streams:
/// the tensor has to be complete.
MOERT_API moert_code moert_tensor_copy_to_host(moert_context *context,
                                               const DLTensor *source,
                                               void *destination, size_t bytes);
/// The reverse, to a dense tensor.
MOERT_API moert_code moert_tensor_copy_from_host(moert_context *context,
                                                 const DLTensor *destination,
                                                 const void *source,
                                                 size_t bytes);

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

/// Collective: `bytes` zeroed bytes of symmetric memory, aligned to 256; device
/// memory on a GPU.
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
