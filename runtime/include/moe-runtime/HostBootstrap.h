//===- HostBootstrap.h - the ranks of a host as a group ---------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_HOSTBOOTSTRAP_H
#define MOE_RUNTIME_HOSTBOOTSTRAP_H

#include "moe-runtime/HostMap.h"

namespace moe::rt {

/// The ranks of this rank's host, numbered in their order. An operation is one
/// of all ranks of the group, of which each host looks at its own part; only
/// descriptors stay inside the host. `whole` outlives it.
std::unique_ptr<Bootstrap> createHostBootstrap(Bootstrap &whole,
                                               const HostMap &hosts);

} // namespace moe::rt

#endif // MOE_RUNTIME_HOSTBOOTSTRAP_H
