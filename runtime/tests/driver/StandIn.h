//===- StandIn.h - a CUDA driver without a GPU ------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A libcuda.so.1 for tests on machines without a GPU, as far as the runtime
/// uses one. Device memory is memory of the CPU, each stream has a thread, and
/// kernels in PTX are interpreted (PtxGrid.h).
///
/// It is strict where a driver on a good day is not: calls need a current
/// context and a process that has not been forked since cuInit, copies have to
/// stay within what is mapped, and what a capture forbids is an error.
///
/// Environment:
///   MOE_STANDIN_GPUS  how many GPUs there are, 4 by default
///   MOE_STANDIN_APART 1: none reaches the memory of another
///   MOE_STANDIN_SEED  what schedules of threads follow from
///   MOE_STANDIN_IDLE  1: kernels do nothing; to measure what a launch costs
///                     the CPU
///
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_TESTS_DRIVER_STANDIN_H
#define MOE_RUNTIME_TESTS_DRIVER_STANDIN_H

#include "CUDA/Driver.h"

#include <functional>

namespace moe::standin {

using namespace moe::rt::cuda;

// Of the type that calls return: a second enumeration beside that of Driver.h
// would have no common type with it.
constexpr Result errorInvalidValue = 1;
constexpr Result errorNotInitialized = 3;
constexpr Result errorInvalidContext = 201;
constexpr Result errorNotMapped = 211;
constexpr Result errorInvalidHandle = 400;
constexpr Result errorNotFound = 500;
constexpr Result errorLaunchFailed = 719;
constexpr Result errorCaptureUnsupported = 900;
constexpr Result errorCaptureInvalidated = 901;

/// As many blocks fit at a time, and more are refused.
constexpr int numProcessors = 4;
constexpr size_t granularity = size_t(2) << 20;
constexpr size_t deviceBytes = size_t(64) << 30;

/// Whether the calling thread may use the driver: it is initialized in this
/// process, and a context is current.
Result checkContext();
/// The same for a call that captures of streams forbid; invalidates those.
Result checkUnsafe();

/// Whether a kernel has met with a fault, after which nothing works.
bool isFaulted();

/// Device memory is memory of the CPU.
inline void *pointer(DevicePtr address) {
  return reinterpret_cast<void *>(address);
}

/// How device memory and pinned memory look at an address.
enum class MemoryKind { Pageable, Mapped, Broken };
MemoryKind kindOf(DevicePtr address, size_t bytes);

/// Appends work to a stream, or to the graph that it is being captured into.
Result enqueue(StreamHandle stream, std::function<void()> task);
/// The same for work that is as good as nothing, which an idle stream does at
/// once.
Result runOrEnqueue(StreamHandle stream, std::function<void()> task);
/// Whether the stream is being captured.
bool isCapturing(StreamHandle stream);
/// Waits for all work of a stream.
Result drain(StreamHandle stream);

} // namespace moe::standin

// The functions of the driver, with the types that the runtime calls.
using namespace moe::rt::cuda;
#pragma GCC visibility push(default)
#define STANDIN_DECLARE(name, symbol, ...)                                     \
  extern "C" std::enable_if_t<true, __VA_ARGS__> symbol;
MOERT_CUDA_FUNCTIONS(STANDIN_DECLARE)
#undef STANDIN_DECLARE
// Those that tests and the stand-in of NCCL call besides.
extern "C" {
Result cuCtxGetDevice(Device *device);
Result cuLaunchHostFunc(StreamHandle stream, void (*function)(void *),
                        void *user);
Result cuGraphGetNodes(GraphHandle graph, void **nodes, size_t *count);
Result cuPointerGetAttribute(void *out, int attribute, DevicePtr address);
Result cuCtxSetCurrent(ContextHandle context);
Result cuMemAlloc_v2(DevicePtr *out, size_t bytes);
Result cuMemFree_v2(DevicePtr address);
Result cuMemcpyHtoDAsync_v2(DevicePtr to, const void *from, size_t bytes,
                            StreamHandle stream);
}
#pragma GCC visibility pop

#endif // MOE_RUNTIME_TESTS_DRIVER_STANDIN_H
