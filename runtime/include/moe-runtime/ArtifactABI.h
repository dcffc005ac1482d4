//===- ArtifactABI.h - Contract between artifacts and the runtime -*- C -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The one header that the compiler and the runtime share. An artifact is a
/// shared object that exports
///
///   const char moe_artifact_manifest[];        JSON text, see docs/Artifact.md
///   void moe_entry_<name>(void **args);        one per public function
///
/// and imports the functions below from the runtime that loads it. `args`
/// holds one pointer per tensor of the entry, arguments first, then results;
/// each points to a strided memref descriptor
///
///   struct { T *allocated, *aligned; int64_t offset, sizes[rank],
///            strides[rank]; }                  sizes and strides in elements
///
/// that the caller fills for arguments and the entry fills for results. An
/// entry never writes to its arguments. The `allocated` pointer of a result
/// comes from moert_alloc_result or moert_alloc and belongs to the caller
/// afterwards.
///
/// The functions act on the context of the call that is running on the
/// calling thread. Those that can fail do not return on failure: they record
/// the error, tell all other ranks, release what moert_alloc gave out during
/// the call, and end the entry. Generated code needs no error paths.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_ARTIFACTABI_H
#define MOE_RUNTIME_ARTIFACTABI_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// Raised with every incompatible change of this header or of the manifest.
#define MOERT_ARTIFACT_ABI_VERSION 5

/// An artifact ends with the SHA-256 of all bytes before it (32 bytes) and this
/// text without its zero. The runtime refuses an artifact whose bytes have
/// another digest. Tools that rewrite the file, such as strip, leave both out;
/// the bytes of such an artifact are not checked.
#define MOERT_ARTIFACT_SEAL "MOE-SEAL"

/// The most ranks that an artifact may be for.
#define MOERT_MAX_RANKS 65536

/// Status codes. The values are part of the ABI.
typedef enum moert_code {
  MOERT_OK = 0,
  MOERT_INVALID_ARGUMENT = 1,    ///< wrong shape, type, entry name, file, ...
  MOERT_IO = 2,                  ///< a file could not be read or written
  MOERT_ABI_MISMATCH = 3,        ///< artifact of another ABI, CPU or rank count
  MOERT_UNAVAILABLE = 4,         ///< backend not present on this machine
  MOERT_OUT_OF_MEMORY = 5,       ///< host, device or symmetric memory
  MOERT_TIMEOUT = 6,             ///< a bounded wait ended
  MOERT_PEER_FAILED = 7,         ///< another rank died or reported an error
  MOERT_COLLECTIVE_MISMATCH = 8, ///< ranks run different collectives
  MOERT_INVALID_EXPERT = 9,      ///< expert id out of range
  MOERT_CAPACITY_EXCEEDED = 10,  ///< more rows than the receive buffer holds
  MOERT_INVALID_COUNT = 11,      ///< counts or rows out of range
  MOERT_INTERNAL = 12,           ///< a bug in moe-mlir
  MOERT_ASSERTION_FAILED = 13,   ///< a cf.assert of the module does not hold
  MOERT_LAST_CODE = MOERT_ASSERTION_FAILED
} moert_code;

/// Rank of this process in the group, 0 .. ranks - 1.
int64_t moert_rank(void);

/// This rank's slice of the workspace of the running artifact: `symm_bytes`
/// (manifest) bytes of symmetric memory, aligned to 256, zero when the
/// artifact was loaded. The slice of rank p is at
/// moert_symm_base() + (p - moert_rank()) * moert_symm_stride().
void *moert_symm_base(void);
int64_t moert_symm_stride(void);

/// Where result `index` of the entry lies, which is symmetric memory and has
/// `bytes` bytes: in the memory of the caller's, where that has given some, and
/// else `offset` bytes behind moert_symm_base(). The same throughout a call.
void *moert_symm_result(int64_t index, int64_t offset, int64_t bytes);

/// Marks the start of a collective op. `op` ("moe.dispatch") and `location`
/// ("file.mlir:12:8") are static strings. `site` numbers the collective ops of
/// the artifact; all ranks pass the same sequence of sites, and the runtime
/// reports MOERT_COLLECTIVE_MISMATCH when it sees that they do not.
void moert_collective_begin(const char *op, const char *location, int64_t site);

/// Marks the start of a phase ("count", "exchange", "put", ...) of the current
/// collective, for error messages and timing. Ends the phase before it.
void moert_phase(const char *phase);

/// Ends the collective.
void moert_collective_end(void);

/// Waits until `*flag`, a word of this rank's workspace that `peer` writes,
/// is at least `value`; acquire order, system scope. Bounded by the context's
/// time-out; fails early when `peer` dies or any rank reports an error.
void moert_wait(const uint64_t *flag, uint64_t value, int64_t peer);

/// Ends the entry with an error of the current op and phase. `what` is a
/// static string ("expert id") and `seen` the offending value, which should
/// have been one of `least` to `most`; INT64_MIN and INT64_MAX are no bounds.
/// `peer` is the rank it concerns, `token` and `slot` the place in the op's
/// input; each may be -1 for none.
void moert_fail(int64_t code, const char *what, int64_t least, int64_t most,
                int64_t seen, int64_t peer, int64_t token, int64_t slot);

/// Ends the entry: the assertion at `location`, which says `text`, does not
/// hold. Both are static strings.
void moert_assertion_failed(const char *location, const char *text);

/// Memory of generated code: `bytes` (may be 0) bytes aligned to `alignment`,
/// a power of two. Never returns null. moert_free accepts null.
void *moert_alloc(int64_t bytes, int64_t alignment);
void moert_free(void *ptr);

/// Memory that the entry is to return as result `index`: the caller's, where
/// that has given memory of `bytes` bytes for it and the entry has not asked
/// before; else that of moert_alloc. The caller's is aligned to an element, or
/// to 16 bytes on a GPU, and is not freed. A result that the entry returns
/// elsewhere is copied to the caller's memory. That of a result which the
/// manifest marks as the host's is host memory whatever the target.
void *moert_alloc_result(int64_t index, int64_t bytes, int64_t alignment);

//===----------------------------------------------------------------------===//
// Artifacts that exchange messages ("transport": "messages" in the manifest)
//===----------------------------------------------------------------------===//
//
// Such an artifact moves rows in exchanges that the runtime performs, by the
// transport that suits the group: shared memory, MPI, NCCL. It has no workspace
// and may run on ranks of several hosts. All ranks call the functions below in
// the same order, inside a collective; each returns when this rank's buffers
// may be used again, on a GPU in the order of the stream of the call. Waits are
// bounded and fail like those of moert_wait. Buffers are those of the target:
// host memory, or memory of the device. They do not overlap.

/// Brings `bytes` bytes of every rank, in rank order, to `recv`, which has room
/// for as many of each rank.
void moert_all_gather(const void *send, void *recv, int64_t bytes);

/// Part p of `send` goes to rank p, and part s of `recv` comes from rank s;
/// each part has `bytes` bytes.
void moert_all_to_all(const void *send, void *recv, int64_t bytes);

/// Between begin and end: one exchange of rows of any number of buffers, as if
/// at the same time. To rank p go `send_counts[p]` rows of `row_bytes` bytes
/// from row `send_starts[p]` of `send` on; from it come `recv_counts[p]` rows,
/// to row `recv_starts[p]` of `recv` on. The four tables have an entry per
/// rank, are in host memory whatever the target, and are read during the call.
/// What a rank sends and its peer expects has to be equal; a transport that
/// sees that it is not reports MOERT_INVALID_COUNT.
void moert_exchange_begin(void);
void moert_exchange_rows(const void *send, const int32_t *send_starts,
                         const int32_t *send_counts, void *recv,
                         const int32_t *recv_starts, const int32_t *recv_counts,
                         int64_t row_bytes);
void moert_exchange_end(void);

//===----------------------------------------------------------------------===//
// Artifacts for GPUs ("target": "cuda" in the manifest)
//===----------------------------------------------------------------------===//
//
// Such an artifact also exports
//
//   const char moe_gpu_image[];                PTX text, zero-terminated
//
// when it has kernels. All memrefs are device memory, aligned to 16 bytes:
// those of entries, the workspace, and what moert_alloc gives out. Host code
// never reads or writes it. Launches and copies are ordered by the stream of
// the call; memory that moert_free takes back may be in use until the work
// before it on the stream is done.
//
// Arguments and results that the manifest marks as the host's are host memory,
// aligned to an element. Host code reads and writes them before the entry
// returns. They may be gone after that, so they are no operands of kernels and
// copies, and no buffers of exchanges.

/// What a kernel records when a check fails or a wait times out, instead of
/// trapping: the first error only. It is in host memory that the device has
/// mapped. `code` is 0 until there is an error; then the kernel sets it, fills
/// in the rest, and last sets `ready` to 1 (release order, system scope). A
/// kernel that sees a `code` gives up its waits, so the runtime can end them by
/// setting one of its own while `code` is 0.
typedef struct moert_device_record {
  int32_t code;  ///< a moert_code
  int32_t ready; ///< 1 when the fields below are valid
  int32_t site;  ///< number of the collective op, or -1
  int32_t phase; ///< index in the manifest's "device_strings", or -1
  int32_t what;  ///< the same: what was checked or waited for
  int32_t peer;  ///< rank it concerns, or -1
  int64_t most;  ///< of what was expected; what a wait waits for
  int64_t seen;
  int64_t least; ///< of what was expected, for checks
  int32_t token; ///< place in the op's input, or -1, for checks
  int32_t slot;  ///< the same
} moert_device_record;

/// Launches a kernel of the artifact's image on the stream of the call, with
/// blocks of `threads` threads and `shared_bytes` bytes of dynamic shared
/// memory: `blocks` blocks, or as many as run on the device at the same time
/// when these are fewer; one at least. `params` has the address of each of the
/// kernel's parameters in order; what it points to is copied. `kernel` is a
/// static string.
void moert_launch(const char *kernel, int64_t blocks, int64_t threads,
                  int64_t shared_bytes, void **params);

/// Copies `bytes` bytes of device memory on the stream of the call. `src` may
/// also be a constant of the artifact, which stays as it is while that is
/// loaded. The two do not overlap.
void moert_copy(void *dst, const void *src, int64_t bytes);

/// Copies `bytes` bytes of device memory to host memory, after the work before
/// it on the stream of the call, and returns when they are there. For host code
/// that depends on data; exchanges do without. Fails on a stream that is being
/// captured.
void moert_read(void *dst, const void *src, int64_t bytes);

/// Returns how many rows a buffer has to have so that it has all rows that a
/// table in memory of the host names: the largest sum of a start and its count.
/// Ends the entry with MOERT_INVALID_COUNT when one of the `ranks` starts or
/// counts is negative, or a row is not below `limit`.
int64_t moert_table_end(const int32_t *starts, const int32_t *counts,
                        int64_t ranks, int64_t limit);

/// The bound of waits in kernels, in nanoseconds.
int64_t moert_timeout_ns(void);

/// The device's address of the error record of this artifact and context.
moert_device_record *moert_device_status(void);

#ifdef __cplusplus
} // extern "C"
#endif

#endif // MOE_RUNTIME_ARTIFACTABI_H
