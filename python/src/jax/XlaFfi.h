//===- XlaFfi.h - what XLA calls, and what it can be asked ------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

///
/// \file
/// The part of XLA's binary interface for foreign functions that is used here
/// (xla/ffi/api/c_api.h of jaxlib, version 0.3). It is declared and not
/// included, so that the extension builds without jaxlib and XLA's headers. A
/// test compares every offset with those of the jaxlib that is installed.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_PYTHON_JAX_XLAFFI_H
#define MOE_PYTHON_JAX_XLAFFI_H

#include <cstddef>
#include <cstdint>

namespace moe::xla {

constexpr int apiMajor = 0;
constexpr int apiMinor = 3;

/// A field that says how large the rest is, and a list of extensions: what all
/// structs begin with.
struct Header {
  size_t size;
  struct Extension *extensions;
};

struct Extension {
  static constexpr int metadata = 1; ///< in type

  size_t size;
  int type;
  Extension *next;
};

struct ApiVersion {
  Header header;
  int major, minor;
};

struct Error; ///< Owned by who receives it.

/// absl::StatusCode.
enum class ErrorCode : int {
  DeadlineExceeded = 4,
  InvalidArgument = 3,
  ResourceExhausted = 8,
  FailedPrecondition = 9,
  Aborted = 10,
  OutOfRange = 11,
  Internal = 13,
  Unavailable = 14,
};

struct ErrorCreateArgs {
  Header header;
  const char *message;
  ErrorCode code;
};

/// xla::PrimitiveType.
enum class DataType : int {
  Pred = 1,
  S8 = 2,
  S16 = 3,
  S32 = 4,
  S64 = 5,
  F16 = 10,
  F32 = 11,
  F64 = 12,
  BF16 = 16,
  F8E5M2 = 19,
  F8E4M3FN = 20,
};

struct Buffer {
  Header header;
  DataType dtype;
  void *data;
  int64_t rank;
  int64_t *dims;
};

struct ByteSpan {
  const char *data;
  size_t size;
};

struct Scalar {
  DataType dtype;
  void *value;
};

enum class AttributeType : int { Scalar = 3, String = 4 };

struct Arguments {
  Header header;
  int64_t size;
  int *types;
  void **values; ///< to Buffer
};

struct Attributes {
  Header header;
  int64_t size;
  AttributeType *types;
  ByteSpan **names;
  void **values; ///< to Scalar or ByteSpan
};

enum class Stage : int { Instantiate = 0, Execute = 3 };

struct ExecutionContext;
struct Future;
struct Api;

struct CallFrame {
  Header header;
  const Api *api;
  ExecutionContext *context;
  Stage stage;
  Arguments arguments;
  Arguments results;
  Attributes attributes;
  /// Set by a handler that goes on after it has returned. XLA keeps buffers
  /// alive until then.
  Future *future;
};

using Handler = Error *(CallFrame *);

struct TypeId {
  int64_t id;
};

struct TypeInfo {
  Header header;
  void (*deleter)(void *object);
};

struct Metadata {
  size_t size;
  ApiVersion version;
  uint32_t traits;
  TypeId stateType;
};

struct MetadataExtension {
  Extension base;
  Metadata *metadata;
};

struct StateSetArgs {
  Header header;
  ExecutionContext *context;
  Stage stage;
  TypeId *type;
  void *state;
};

struct StateGetArgs {
  Header header;
  ExecutionContext *context;
  Stage stage;
  TypeId *type;
  void *state; ///< out
};

struct StreamGetArgs {
  Header header;
  ExecutionContext *context;
  void *stream; ///< out
};

struct FutureCreateArgs {
  Header header;
  Future *future; ///< out
};

struct FutureSetAvailableArgs {
  Header header;
  Future *future;
};

struct FutureSetErrorArgs {
  Header header;
  Future *future;
  Error *error; ///< taken
};

struct ErrorDestroyArgs {
  Header header;
  Error *error;
};

struct RunIdGetArgs {
  Header header;
  ExecutionContext *context;
  int64_t runId; ///< out
};

struct DeviceOrdinalGetArgs {
  Header header;
  ExecutionContext *context;
  int32_t ordinal; ///< out
};

/// What XLA can be asked, in the order of the C struct.
struct Api {
  using Unused = void (*)();

  Header header;
  ApiVersion version;
  const void *internal;
  Error *(*errorCreate)(ErrorCreateArgs *);
  Unused errorGetMessage;
  void (*errorDestroy)(ErrorDestroyArgs *);
  Unused handlerRegister;
  Error *(*streamGet)(StreamGetArgs *);
  Unused typeRegister;
  Unused executionContextGet;
  Error *(*stateSet)(StateSetArgs *);
  Error *(*stateGet)(StateGetArgs *);
  Unused deviceMemoryAllocate;
  Unused deviceMemoryFree;
  Unused threadPoolSchedule;
  Unused threadPoolNumThreads;
  Error *(*futureCreate)(FutureCreateArgs *);
  Error *(*futureSetAvailable)(FutureSetAvailableArgs *);
  Error *(*futureSetError)(FutureSetErrorArgs *);
  Error *(*runIdGet)(RunIdGetArgs *);
  Error *(*deviceOrdinalGet)(DeviceOrdinalGetArgs *);
};

} // namespace moe::xla

#endif // MOE_PYTHON_JAX_XLAFFI_H
