//===- ReportJSON.cpp - A report for programs -----------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/Driver/Report.h"

#include "llvm/Support/JSON.h"

using namespace mlir;
using namespace mlir::moe;

void CompileReport::printJSON(llvm::raw_ostream &os) const {
  llvm::json::OStream json(os, /*IndentSize=*/2);
  json.object([&] {
    json.attributeArray("ops", [&] {
      for (const CollectiveReport &report : collectives)
        json.object([&] {
          json.attribute("op", report.op);
          json.attribute("location", report.location);
          json.attribute("rows", report.rows);
          json.attribute("row_bytes", report.rowBytes);
          json.attribute("symmetric_bytes", report.symmetricBytes);
          json.attribute("wire_bytes", report.wireBytes);
          if (hasMessages)
            json.attribute("table_bytes", report.tableBytes);
          if (report.isPadded)
            json.attribute("padded", true);
          if (!report.function.empty())
            json.attribute("function", report.function);
          if (!report.kernel)
            return;
          json.attributeObject("kernel", [&] {
            json.attribute("blocks", report.kernel->blocks);
            json.attribute("threads", report.kernel->threads);
            json.attribute("transfer", report.kernel->transfer);
            if (report.kernel->stages)
              json.attribute("stages", *report.kernel->stages);
            if (report.kernel->team)
              json.attribute("team", *report.kernel->team);
          });
        });
    });
    json.attribute("ranks", ranks);
    json.attribute("transport", hasMessages ? "messages" : "direct");
    json.attribute("workspace_bytes", workspaceBytes);
    json.attribute("persistent_bytes", persistentBytes);
    json.attributeArray("entries", [&] {
      for (const EntryReport &entry : entries)
        json.object([&] {
          json.attribute("name", entry.name);
          json.attribute("own_workspace", entry.hasOwnWorkspace);
          json.attribute("persistent_bytes", entry.persistentBytes);
          json.attribute("temporary_bytes", entry.temporaryBytes);
        });
    });
    json.attribute("artifact_bytes", artifactBytes);
    if (kernels.empty())
      return;
    json.attributeArray("kernels", [&] {
      for (const KernelResources &kernel : kernels)
        json.object([&] {
          json.attribute("name", kernel.name);
          json.attribute("location", kernel.location);
          json.attribute("registers", kernel.registers);
          json.attribute("spill_bytes", kernel.spillBytes);
          json.attribute("local_bytes", kernel.localBytes);
          json.attribute("shared_bytes", kernel.sharedBytes);
        });
    });
  });
  os << '\n';
}
