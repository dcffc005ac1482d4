//===- Sha256.h - digest of an artifact's bytes -----------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_SHA256_H
#define MOE_RUNTIME_SHA256_H

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace moe::rt {

using Digest = std::array<uint8_t, 32>;

/// SHA-256 (FIPS 180-4): nobody knows two texts with the same digest.
Digest sha256(std::string_view bytes);

/// In hexadecimal, 64 digits.
std::string toHex(const Digest &digest);

} // namespace moe::rt

#endif // MOE_RUNTIME_SHA256_H
