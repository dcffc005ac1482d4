//===- CApiForkTest.cpp - the C API in forks of a rank
//----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CApiFixture.h"

namespace {
class CApiForkTest : public LocalArtifactTest {};
} // namespace

/// A child of a rank is not the rank: what it does must not reach the group.
TEST_F(CApiForkTest, ForkedChildIsRefusedAndTheParentGoesOn) {
  moert_artifact *communicating = nullptr;
  moert_entry *rotate = nullptr;
  ASSERT_MOERT(moert_artifact_load(context, artifact("exchange1").c_str(),
                                   &communicating));
  ASSERT_MOERT(moert_artifact_entry(communicating, "rotate", &rotate));
  Matrix in(3, 4);
  const DLTensor *inputs[] = {&in.tensor};
  DLManagedTensor *out = nullptr;
  ASSERT_MOERT(moert_entry_call(rotate, inputs, 1, &out, 1));
  void *memory = nullptr;
  ASSERT_MOERT(moert_symm_alloc(context, 64, &memory));
  pid_t parent = getpid();
  expectInChild([&] {
    std::string refused = "rank 0 is process " + std::to_string(parent) +
                          "; this is process " + std::to_string(getpid()) +
                          ", a fork of it, which has to join a group with a "
                          "context of its own";
    DLManagedTensor *other = nullptr;
    Matrix room(3, 4);
    const DLTensor *into[] = {&room.tensor};
    moert_artifact *again = nullptr;
    void *more = nullptr;
    float values[12];
    moert_code codes[] = {
        moert_entry_call(rotate, inputs, 1, &other, 1),
        moert_entry_call(entry("copy_f32"), inputs, 1, &other, 1),
        moert_entry_launch(rotate, inputs, 1, &other, 1, nullptr),
        moert_entry_call_into(rotate, inputs, 1, into, 1),
        moert_entry_launch_into(rotate, inputs, 1, into, 1, nullptr),
        moert_artifact_load(context, artifact("local").c_str(), &again),
        moert_artifact_load_bytes(context, "", 0, "none", &again),
        moert_artifact_unload(communicating),
        moert_context_reset(context),
        moert_context_fail(context, MOERT_IO, "no"),
        moert_context_synchronize(context, nullptr),
        moert_context_check(context),
        moert_tensor_copy_to_host(context, &in.tensor, values, sizeof(values)),
        moert_tensor_copy_from_host(context, &in.tensor, values,
                                    sizeof(values)),
        moert_symm_alloc(context, 64, &more),
        moert_symm_free(context, memory)};
    bool isFine = moert_last_error() == refused;
    for (moert_code code : codes)
      isFine &= code == MOERT_INVALID_ARGUMENT;
    // What asks nothing of the group works.
    isFine &= moert_context_size(context) == 1 &&
              valuesOf(out->dl_tensor) == in.values;
    out->deleter(out);
    moert_context_destroy(context);
    // A context of its own is fine.
    moert_context *own = nullptr;
    isFine &=
        moert_context_create(nullptr, nullptr, &own) == MOERT_OK &&
        moert_artifact_load(own, artifact("local").c_str(), &again) == MOERT_OK;
    moert_context_destroy(own);
    return isFine;
  });
  out->deleter(out);
  EXPECT_EQ(moert_context_failed_rank(context), -1);
  ASSERT_MOERT(moert_entry_call(rotate, inputs, 1, &out, 1));
  EXPECT_EQ(valuesOf(out->dl_tensor), in.values);
  out->deleter(out);
  ASSERT_MOERT(moert_symm_free(context, memory));
}
