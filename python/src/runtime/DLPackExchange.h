//===- DLPackExchange.h - what DLPack 1.3 adds ------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

///
/// \file
/// Binary interfaces of DLPack that the header of some distributions is too old
/// to declare: tensors with a version (1.0), and the table of C functions by
/// which a framework hands out tensors without Python calls (1.3, the attribute
/// __dlpack_c_exchange_api__ of its tensor type).
///
//===----------------------------------------------------------------------===//

#ifndef MOE_PYTHON_RUNTIME_DLPACKEXCHANGE_H
#define MOE_PYTHON_RUNTIME_DLPACKEXCHANGE_H

#include <cstdint>
#include <dlpack/dlpack.h>

namespace moe::py {

struct DLPackVersion {
  uint32_t major, minor;
};

/// DLManagedTensorVersioned.
struct VersionedTensor {
  static constexpr uint64_t readOnly = 1; ///< in flags

  DLPackVersion version;
  void *manager;
  void (*deleter)(VersionedTensor *self);
  uint64_t flags;
  DLTensor tensor;
};
static_assert(sizeof(VersionedTensor) == 32 + sizeof(DLTensor));

/// DLPackExchangeAPI. Functions return 0, or -1 with a Python exception set.
struct ExchangeApi {
  DLPackVersion version;
  const ExchangeApi *previous; ///< of an older major version, or null

  int (*allocate)(DLTensor *prototype, VersionedTensor **out,
                  void *errorContext,
                  void (*setError)(void *errorContext, const char *kind,
                                   const char *message));
  int (*exportOwning)(void *object, VersionedTensor **out);
  /// Takes the tensor.
  int (*toObject)(VersionedTensor *tensor, void **object);
  /// The object keeps shape, strides and data. May be null.
  int (*borrow)(void *object, DLTensor *out);
  int (*currentStream)(DLDeviceType type, int32_t device, void **stream);
};

} // namespace moe::py

#endif // MOE_PYTHON_RUNTIME_DLPACKEXCHANGE_H
