//===- Driver.h - the functions of the CUDA driver --------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

///
/// \file
/// The part of the driver's interface that the runtime uses, declared here so
/// that nothing of CUDA is needed to build it. The driver is opened when it is
/// first asked for.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LIB_CUDA_DRIVER_H
#define MOE_RUNTIME_LIB_CUDA_DRIVER_H

#include "moe-runtime/Status.h"

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace moe::rt::cuda {

using Result = int;
using Device = int;
using DevicePtr = unsigned long long;
using AllocationHandle = unsigned long long;
using ContextHandle = struct OpaqueContext *;
using ModuleHandle = struct OpaqueModule *;
using FunctionHandle = struct OpaqueFunction *;
using StreamHandle = struct OpaqueStream *;
using GraphHandle = struct OpaqueGraph *;
using GraphExecHandle = struct OpaqueGraphExec *;
using UserObjectHandle = struct OpaqueUserObject *;

enum : Result {
  success = 0,
  errorOutOfMemory = 2,
  errorNoDevice = 100,
  errorNoBinary = 209,
  errorInvalidPtx = 218,
  errorUnsupportedPtx = 222,
  errorNotReady = 600,
};

enum Attribute : int {
  attributeMultiprocessors = 16,
  attributeMajor = 75,
  attributeMinor = 76,
  attributeVirtualMemory = 102,
  attributePosixHandles = 103,
  attributeFabricHandles = 128,
};

enum HandleType : int { handleNone = 0, handlePosixFd = 1, handleFabric = 8 };

struct MemLocation {
  int type; ///< 1: a device
  int id;
};

struct AllocationProp {
  int type; ///< 1: pinned
  int handleTypes;
  MemLocation location;
  void *unused;
  unsigned char compression;
  unsigned char rdmaCapable;
  unsigned short usage;
  unsigned char reserved[4];
};
static_assert(sizeof(AllocationProp) == 32);

struct AccessDesc {
  MemLocation location;
  int flags; ///< 3: reads and writes
};
static_assert(sizeof(AccessDesc) == 12);

struct Uuid {
  char bytes[16];
};

enum : unsigned {
  streamNonBlocking = 1,
  hostAllocPortableMapped = 3,
  jitErrorLog = 5,
  jitErrorLogBytes = 6,
  functionStaticSharedBytes = 1,
  functionRegisters = 4,
  functionMaxSharedBytes = 8,
  captureActive = 1,
  captureThreadLocal = 1,
  captureRelaxed = 2,
  userObjectNoDestructorSync = 1,
  graphUserObjectMove = 1,
};

/// name in the table, symbol of the library, type.
#define MOERT_CUDA_FUNCTIONS(X)                                                \
  X(init, cuInit, Result(unsigned))                                            \
  X(driverGetVersion, cuDriverGetVersion, Result(int *))                       \
  X(getErrorName, cuGetErrorName, Result(Result, const char **))               \
  X(getErrorString, cuGetErrorString, Result(Result, const char **))           \
  X(deviceGetCount, cuDeviceGetCount, Result(int *))                           \
  X(deviceGet, cuDeviceGet, Result(Device *, int))                             \
  X(deviceGetName, cuDeviceGetName, Result(char *, int, Device))               \
  X(deviceGetUuid, cuDeviceGetUuid_v2, Result(Uuid *, Device))                 \
  X(deviceTotalMem, cuDeviceTotalMem_v2, Result(size_t *, Device))             \
  X(deviceGetAttribute, cuDeviceGetAttribute, Result(int *, int, Device))      \
  X(deviceCanAccessPeer, cuDeviceCanAccessPeer, Result(int *, Device, Device)) \
  X(primaryCtxRetain, cuDevicePrimaryCtxRetain,                                \
    Result(ContextHandle *, Device))                                           \
  X(primaryCtxRelease, cuDevicePrimaryCtxRelease_v2, Result(Device))           \
  X(ctxPushCurrent, cuCtxPushCurrent_v2, Result(ContextHandle))                \
  X(ctxPopCurrent, cuCtxPopCurrent_v2, Result(ContextHandle *))                \
  X(ctxSynchronize, cuCtxSynchronize, Result())                                \
  X(memGetInfo, cuMemGetInfo_v2, Result(size_t *, size_t *))                   \
  X(memHostAlloc, cuMemHostAlloc, Result(void **, size_t, unsigned))           \
  X(memHostGetDevicePointer, cuMemHostGetDevicePointer_v2,                     \
    Result(DevicePtr *, void *, unsigned))                                     \
  X(memFreeHost, cuMemFreeHost, Result(void *))                                \
  X(memAddressReserve, cuMemAddressReserve,                                    \
    Result(DevicePtr *, size_t, size_t, DevicePtr, unsigned long long))        \
  X(memAddressFree, cuMemAddressFree, Result(DevicePtr, size_t))               \
  X(memCreate, cuMemCreate,                                                    \
    Result(AllocationHandle *, size_t, const AllocationProp *,                 \
           unsigned long long))                                                \
  X(memRelease, cuMemRelease, Result(AllocationHandle))                        \
  X(memMap, cuMemMap,                                                          \
    Result(DevicePtr, size_t, size_t, AllocationHandle, unsigned long long))   \
  X(memUnmap, cuMemUnmap, Result(DevicePtr, size_t))                           \
  X(memSetAccess, cuMemSetAccess,                                              \
    Result(DevicePtr, size_t, const AccessDesc *, size_t))                     \
  X(memExport, cuMemExportToShareableHandle,                                   \
    Result(void *, AllocationHandle, int, unsigned long long))                 \
  X(memImport, cuMemImportFromShareableHandle,                                 \
    Result(AllocationHandle *, void *, int))                                   \
  X(memGranularity, cuMemGetAllocationGranularity,                             \
    Result(size_t *, const AllocationProp *, int))                             \
  X(memcpyAsync, cuMemcpyAsync,                                                \
    Result(DevicePtr, DevicePtr, size_t, StreamHandle))                        \
  X(memsetD8Async, cuMemsetD8Async,                                            \
    Result(DevicePtr, unsigned char, size_t, StreamHandle))                    \
  X(streamCreate, cuStreamCreate, Result(StreamHandle *, unsigned))            \
  X(streamDestroy, cuStreamDestroy_v2, Result(StreamHandle))                   \
  X(streamQuery, cuStreamQuery, Result(StreamHandle))                          \
  X(streamSynchronize, cuStreamSynchronize, Result(StreamHandle))              \
  X(streamGetCaptureInfo, cuStreamGetCaptureInfo_v2,                           \
    Result(StreamHandle, int *, unsigned long long *, GraphHandle *,           \
           const void **, size_t *))                                           \
  X(exchangeCaptureMode, cuThreadExchangeStreamCaptureMode, Result(int *))     \
  X(streamBeginCapture, cuStreamBeginCapture_v2, Result(StreamHandle, int))    \
  X(streamEndCapture, cuStreamEndCapture, Result(StreamHandle, GraphHandle *)) \
  X(graphInstantiate, cuGraphInstantiateWithFlags,                             \
    Result(GraphExecHandle *, GraphHandle, unsigned long long))                \
  X(graphLaunch, cuGraphLaunch, Result(GraphExecHandle, StreamHandle))         \
  X(graphExecDestroy, cuGraphExecDestroy, Result(GraphExecHandle))             \
  X(graphDestroy, cuGraphDestroy, Result(GraphHandle))                         \
  X(userObjectCreate, cuUserObjectCreate,                                      \
    Result(UserObjectHandle *, void *, void (*)(void *), unsigned, unsigned))  \
  X(userObjectRelease, cuUserObjectRelease,                                    \
    Result(UserObjectHandle, unsigned))                                        \
  X(graphRetainUserObject, cuGraphRetainUserObject,                            \
    Result(GraphHandle, UserObjectHandle, unsigned, unsigned))                 \
  X(moduleLoadDataEx, cuModuleLoadDataEx,                                      \
    Result(ModuleHandle *, const void *, unsigned, int *, void **))            \
  X(moduleUnload, cuModuleUnload, Result(ModuleHandle))                        \
  X(moduleGetFunction, cuModuleGetFunction,                                    \
    Result(FunctionHandle *, ModuleHandle, const char *))                      \
  X(functionGetAttribute, cuFuncGetAttribute,                                  \
    Result(int *, int, FunctionHandle))                                        \
  X(functionSetAttribute, cuFuncSetAttribute,                                  \
    Result(FunctionHandle, int, int))                                          \
  X(occupancy, cuOccupancyMaxActiveBlocksPerMultiprocessor,                    \
    Result(int *, FunctionHandle, int, size_t))                                \
  X(launchKernel, cuLaunchKernel,                                              \
    Result(FunctionHandle, unsigned, unsigned, unsigned, unsigned, unsigned,   \
           unsigned, unsigned, StreamHandle, void **, void **))

/// The driver of this process.
struct Driver {
#define MOERT_CUDA_MEMBER(name, symbol, ...)                                   \
  std::add_pointer_t<__VA_ARGS__> name = nullptr;
  MOERT_CUDA_FUNCTIONS(MOERT_CUDA_MEMBER)
#undef MOERT_CUDA_MEMBER

  /// The oldest driver that understands what the compiler puts out.
  static constexpr int oldestVersion = 12000;

  /// Opens and initializes the driver, once. MOERT_UNAVAILABLE, with the
  /// reason, when there is none, it is too old, or it sees no GPU.
  static Expected<const Driver *> get();

  /// Ok for success; else `what` with the error's name and text, as
  /// MOERT_OUT_OF_MEMORY or MOERT_INTERNAL.
  Status check(Result result, const char *what) const;
  /// The error's name and text.
  std::string describe(Result result) const;
};

/// Opens the library `path` and looks up all functions; what get() does for
/// libcuda.so.1.
Status openDriver(const char *path, Driver &out);

} // namespace moe::rt::cuda

#endif // MOE_RUNTIME_LIB_CUDA_DRIVER_H
