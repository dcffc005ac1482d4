//===- FailedCheck.h - what a check of generated code found -----*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LIB_CORE_FAILEDCHECK_H
#define MOE_RUNTIME_LIB_CORE_FAILEDCHECK_H

#include "moe-runtime/Status.h"

#include <cstdint>

namespace moe::rt {

/// The arguments of moert_fail, or a device's record of them.
struct FailedCheck {
  moert_code code;
  std::string what;
  int64_t least, most; ///< INT64_MIN and INT64_MAX for none
  int64_t seen;
  int64_t peer = -1, token = -1, slot = -1;
};

/// The code that generated code or a kernel has given; MOERT_INTERNAL for a
/// number that is none.
moert_code toCode(int64_t number);

/// "WHERE: invalid expert: expert id of token 3, slot 1: expected -1 to 7, seen
/// 12".
Status describeCheck(const std::string &where, const FailedCheck &check);

} // namespace moe::rt

#endif // MOE_RUNTIME_LIB_CORE_FAILEDCHECK_H
