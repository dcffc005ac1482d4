//===- ContextArtifacts.cpp - the artifacts of a group --------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/Context.h"

#include "DeviceRecord.h"

#include <algorithm>

using namespace moe::rt;

Status Context::checkLoadable(const Manifest &manifest) {
  if (Status s = backend->checkArtifact(manifest); !s.isOk())
    return s;
  if (manifest.ranks != 0 && manifest.ranks != size())
    return makeError(MOERT_ABI_MISMATCH,
                     "the artifact is for %lld ranks, but the group has %d",
                     (long long)manifest.ranks, size());
  return checkTransport(manifest);
}

/// All ranks have read the same bytes. What else differs, such as the name,
/// may.
Status Context::agreeOnBytes(const Artifact &artifact) {
  std::vector<Digest> digests(size());
  const Digest &mine = artifact.digest();
  if (Status s = bootstrap->allGather(&mine, sizeof(mine), digests.data());
      !s.isOk())
    return s;
  auto other = std::find_if(digests.begin(), digests.end(),
                            [&](auto &digest) { return digest != digests[0]; });
  if (other == digests.end())
    return Status::ok();
  auto names = allGatherText(*bootstrap, artifact.name());
  auto manifests = allGatherText(*bootstrap, artifact.manifestText());
  if (!names.isOk() || !manifests.isOk())
    return names.isOk() ? manifests.status() : names.status();
  size_t rank = other - digests.begin();
  std::string difference =
      describeDifference((*manifests)[0], (*manifests)[rank]);
  if (difference.empty())
    difference = format("nothing but their bytes (SHA-256 %.16s and %.16s)",
                        toHex(digests[0]).c_str(), toHex(*other).c_str());
  return makeError(MOERT_COLLECTIVE_MISMATCH,
                   "ranks load different artifacts: %s on rank 0 and %s on "
                   "rank %zu differ in %s; give all ranks copies of one file",
                   (*names)[0].c_str(), (*names)[rank].c_str(), rank,
                   difference.c_str());
}

/// Loads are collective, so all ranks count alike.
void Context::number(Artifact &artifact) {
  bool isAgain = false;
  for (const std::unique_ptr<Artifact> &other : artifacts)
    isAgain |= other->name() == artifact.name() ||
               other->digest() == artifact.digest();
  artifact.setIdentity(++numLoads, isAgain);
}

Expected<Artifact *> Context::load(const std::string &path,
                                   const std::string &displayName) {
  if (Status s = refuseIfFailed(); !s.isOk())
    return s;
  return adopt(Artifact::open(path, displayName), displayName);
}

Expected<Artifact *> Context::loadBytes(std::string_view bytes,
                                        const std::string &displayName) {
  if (Status s = refuseIfFailed(); !s.isOk())
    return s;
  return adopt(Artifact::openBytes(bytes, displayName), displayName);
}

/// The part of a load that all ranks do together.
Expected<Artifact *> Context::adopt(Expected<std::unique_ptr<Artifact>> opened,
                                    const std::string &displayName) {
  Status local = opened.status();
  if (local.isOk())
    local = checkLoadable((*opened)->manifest()).withPrefix(displayName);
  if (local.isOk()) {
    auto program = backend->loadProgram((*opened)->gpuImage);
    local = program.status().withPrefix(displayName);
    if (program.isOk())
      (*opened)->program = program.take();
  }
  Status status =
      runGroupOp({GroupOp::Load, 0, "load of artifact " + displayName, local});
  if (status.isOk())
    status = prefixed(agreeOnBytes(**opened));
  if (status.isOk())
    number(**opened);
  if (status.isOk() && (*opened)->manifest().usesMessages())
    status =
        prefixed(openTransport().withPrefix("load of " + (*opened)->label()));
  if (status.isOk() && (*opened)->manifest().symmBytes > 0) {
    size_t bytes = (*opened)->manifest().symmBytes;
    auto workspace = symmHeap->allocate(bytes);
    if (workspace.isOk()) {
      (*opened)->workspace = *workspace;
      (*opened)->symmetricResults.setWorkspace(*workspace, bytes);
    }
    status = prefixed(workspace.status().withPrefix(
        format("load of %s: workspace of %zu bytes (symm_bytes)",
               (*opened)->label().c_str(), bytes)));
  }
  group->endGroupOp();
  if (!status.isOk())
    return status;
  artifacts.push_back(opened.take());
  return artifacts.back().get();
}

Status Context::unload(Artifact *artifact) {
  if (Status s = refuseIfForked(); !s.isOk())
    return s;
  auto it = std::find_if(artifacts.begin(), artifacts.end(),
                         [&](auto &held) { return held.get() == artifact; });
  if (it == artifacts.end())
    return prefixed(Status(MOERT_INVALID_ARGUMENT, "no such artifact"));
  // In a group that has failed nobody can be met, and the workspace stays
  // with the heap until the context ends. So it does where a graph of some rank
  // may have launches of the artifact.
  Status status;
  if (group->groupError().isOk()) {
    status = runGroupOp({GroupOp::Unload, artifact->identity(),
                         "unloading of " + artifact->label(), Status::ok()});
    bool isFree = true;
    if (status.isOk())
      status = prefixed(findGraphs(isFree));
    if (status.isOk() && isFree && artifact->workspace)
      status = prefixed(symmHeap->free(artifact->workspace));
    group->endGroupOp();
  }
  times.forgetStrings();
  if (backend->numGraphs() == 0) {
    retired.clear();
  } else {
    if (artifact->program)
      stopKernels(artifact->program->record());
    retired.push_back(std::move(*it));
  }
  artifacts.erase(it);
  return status;
}

/// Whether no rank has graphs, since heaps of all ranks do the same. Collective
/// where there can be graphs.
Status Context::findGraphs(bool &areNone) const {
  if (!backend->isAsynchronous())
    return Status::ok();
  int64_t mine = backend->numGraphs();
  std::vector<int64_t> all(size());
  if (Status s = bootstrap->allGather(&mine, sizeof(mine), all.data());
      !s.isOk())
    return s;
  areNone = std::all_of(all.begin(), all.end(),
                        [](int64_t number) { return number == 0; });
  return Status::ok();
}
