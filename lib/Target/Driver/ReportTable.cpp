//===- ReportTable.cpp - A report for people ------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/Driver/Report.h"

#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace mlir::moe;

static std::string number(int64_t value) { return std::to_string(value); }

/// Prints lines of cells in columns. The first `numNames` are names, which are
/// flush left; the others numbers.
static void printColumns(ArrayRef<std::vector<std::string>> lines,
                         size_t numNames, llvm::raw_ostream &os) {
  std::vector<size_t> widths(lines.front().size());
  for (const auto &line : lines)
    for (auto [width, cell] : llvm::zip_equal(widths, line))
      width = std::max(width, cell.size());
  for (const auto &line : lines) {
    std::string text;
    for (auto [column, cell] : llvm::enumerate(line)) {
      std::string padding(widths[column] - cell.size(), ' ');
      text += (column ? "  " : "") +
              (column < numNames ? cell + padding : padding + cell);
    }
    os << StringRef(text).rtrim() << '\n';
  }
}

static std::string toString(const CollectiveReport::Kernel &kernel) {
  return llvm::formatv("{0} x {1} {2}, {3} {4}", kernel.blocks, kernel.threads,
                       kernel.transfer, kernel.stages ? "stages" : "team",
                       kernel.stages ? *kernel.stages : *kernel.team);
}

void CompileReport::printTable(llvm::raw_ostream &os) const {
  bool hasKernels = llvm::any_of(
      collectives, [](const CollectiveReport &r) { return r.kernel; });
  bool isShared = llvm::any_of(collectives, [](const CollectiveReport &r) {
    return !r.function.empty();
  });
  std::vector<std::vector<std::string>> lines = {
      {"op", "location", "rows", "row bytes",
       hasMessages ? "table bytes" : "symmetric bytes", "wire bytes"}};
  if (hasKernels)
    lines.front().push_back("kernel");
  if (isShared)
    lines.front().push_back("lowered as");
  for (const CollectiveReport &report : collectives) {
    lines.push_back(
        {report.op, report.location, number(report.rows),
         number(report.rowBytes),
         number(hasMessages ? report.tableBytes : report.symmetricBytes),
         report.wireBytes ? number(*report.wireBytes) : "?"});
    if (hasKernels)
      lines.back().push_back(report.kernel ? toString(*report.kernel) : "?");
    if (isShared)
      lines.back().push_back(report.function);
  }
  printColumns(lines, /*numNames=*/2, os);
  os << "ranks: " << ranks << '\n';
  if (hasMessages)
    os << "messages: no symmetric memory\n";
  else
    os << "symmetric workspace: " << workspaceBytes << " bytes per rank, "
       << persistentBytes << " of them kept from run to run\n";
  if (!entries.empty()) {
    lines = {{"entry", "memory", "kept bytes", "temporary bytes"}};
    for (const EntryReport &entry : entries)
      lines.push_back({entry.name, entry.hasOwnWorkspace ? "own" : "shared",
                       number(entry.persistentBytes),
                       number(entry.temporaryBytes)});
    printColumns(lines, /*numNames=*/2, os);
  }
  if (artifactBytes)
    os << "artifact: " << artifactBytes << " bytes\n";
  if (kernels.empty())
    return;
  lines = {{"kernel", "location", "registers", "spill bytes", "local bytes",
            "shared bytes"}};
  for (const KernelResources &kernel : kernels)
    lines.push_back({kernel.name, kernel.location, number(kernel.registers),
                     number(kernel.spillBytes), number(kernel.localBytes),
                     number(kernel.sharedBytes)});
  printColumns(lines, /*numNames=*/2, os);
}
