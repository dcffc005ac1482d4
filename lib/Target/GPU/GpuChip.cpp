//===- GpuChip.cpp - Chips and versions of PTX ----------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/GPU/GPU.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;

namespace {
struct Chip {
  StringRef name;
  /// The first version of PTX that knows it, but not below 7.4, the first with
  /// the cache hints that kernels use.
  unsigned minVersion;
};
} // namespace

static constexpr Chip kChips[] = {
    {"sm_80", 74},  {"sm_86", 74},  {"sm_87", 74},   {"sm_89", 78},
    {"sm_90", 78},  {"sm_90a", 80}, {"sm_100", 86},  {"sm_100a", 86},
    {"sm_103", 88}, {"sm_120", 87}, {"sm_120a", 87},
};

/// Versions that the code generator knows and drivers have.
static constexpr unsigned kVersions[] = {74, 75, 76, 77, 78, 80, 81,
                                         82, 83, 84, 85, 86, 87, 88};

static std::string describeVersion(unsigned version) {
  return llvm::formatv("{0}.{1}", version / 10, version % 10);
}

SmallVector<StringRef> moe::getGpuChips() {
  return llvm::map_to_vector(kChips,
                             [](const Chip &chip) { return chip.name; });
}

unsigned moe::getDefaultPtxVersion(StringRef name) {
  unsigned version = GpuTargetOptions().ptxVersion;
  for (const Chip &chip : kChips)
    if (chip.name == name)
      version = std::max(version, chip.minVersion);
  return version;
}

std::optional<std::string> moe::checkGpuTarget(StringRef name,
                                               unsigned ptxVersion) {
  const Chip *chip = llvm::find_if(
      kChips, [&](const Chip &chip) { return chip.name == name; });
  if (chip == std::end(kChips))
    return ("unknown chip '" + name +
            "'; expected one of: " + llvm::join(getGpuChips(), ", "))
        .str();
  if (!llvm::is_contained(kVersions, ptxVersion))
    return ("unknown PTX version " + describeVersion(ptxVersion) +
            "; expected " + describeVersion(kVersions[0]) + " to " +
            describeVersion(kVersions[std::size(kVersions) - 1]));
  if (ptxVersion < chip->minVersion)
    return ("chip '" + name + "' expects PTX version " +
            describeVersion(chip->minVersion) + " or later (" +
            describeVersion(ptxVersion) + " given)")
        .str();
  return std::nullopt;
}
