//===- DeviceRecordTest.cpp - tests of the errors that kernels record -----===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Core/DeviceRecord.h"

#include <gtest/gtest.h>

using namespace moe::rt;

static Manifest manifest() {
  Manifest m;
  m.sites = {{"moe.dispatch", "f.mlir:3:5"}};
  m.deviceStrings = {"exchange", "signal", "expert id"};
  return m;
}

TEST(DeviceRecordTest, TimeOut) {
  moert_device_record record{MOERT_TIMEOUT, 1, 0, 0, 1, 3, 7, 6};
  Status status = describeRecord(record, manifest(), 2,
                                 "rank 3 was last seen not in a "
                                 "call");
  EXPECT_EQ(status.code(), MOERT_TIMEOUT);
  EXPECT_EQ(status.message(),
            "moe.dispatch at f.mlir:3:5, phase 'exchange': timed out after 2 s "
            "waiting for rank 3: expected signal 7, seen 6; rank 3 was last "
            "seen not in a call");
}

TEST(DeviceRecordTest, FailedCheck) {
  moert_device_record record{
      MOERT_INVALID_EXPERT, 1, 0, -1, 2, -1, 255, 256, INT64_MIN, -1, -1};
  Status status = describeRecord(record, manifest(), 2, "");
  EXPECT_EQ(status.code(), MOERT_INVALID_EXPERT);
  EXPECT_EQ(status.message(), "moe.dispatch at f.mlir:3:5: invalid expert: "
                              "expert id: expected at most 255, seen 256");
  record.peer = 2;
  EXPECT_EQ(describeRecord(record, manifest(), 2, "").message(),
            status.message() + ", peer rank 2");
}

TEST(DeviceRecordTest, FailedAssertion) {
  moert_device_record record{MOERT_ASSERTION_FAILED, 1, 0, -1, 2, -1, 0, 0};
  Status status = describeRecord(record, manifest(), 2, "");
  EXPECT_EQ(status.code(), MOERT_ASSERTION_FAILED);
  EXPECT_EQ(status.message(),
            "moe.dispatch at f.mlir:3:5: assertion failed: expert id");
}

/// Bounds and places, as for errors that the host finds.
TEST(DeviceRecordTest, BoundsAndPlace) {
  moert_device_record record{
      MOERT_INVALID_EXPERT, 1, 0, -1, 2, -1, 7, -2, -1, 12, 3};
  EXPECT_EQ(describeRecord(record, manifest(), 2, "").message(),
            "moe.dispatch at f.mlir:3:5: invalid expert: expert id of token "
            "12, slot 3: expected -1 to 7, seen -2");
  record.slot = -1;
  record.most = INT64_MAX;
  EXPECT_EQ(describeRecord(record, manifest(), 2, "").message(),
            "moe.dispatch at f.mlir:3:5: invalid expert: expert id of token "
            "12: expected at least -1, seen -2");
  record.token = -1;
  record.least = record.most = 6;
  EXPECT_EQ(describeRecord(record, manifest(), 2, "").message(),
            "moe.dispatch at f.mlir:3:5: invalid expert: expert id: expected "
            "6, seen -2");
}

TEST(DeviceRecordTest, FailedPeer) {
  moert_device_record record{MOERT_PEER_FAILED, 1, 0, 0, 1, 1, 0, -1};
  EXPECT_EQ(describeRecord(record, manifest(), 2, "").message(),
            "moe.dispatch at f.mlir:3:5, phase 'exchange': rank 1 has failed");
}

TEST(DeviceRecordTest, IndicesOutOfRange) {
  moert_device_record record{99, 1, 5, 77, -1, -1, 1, 2, INT64_MIN, -1, -1};
  Status status = describeRecord(record, manifest(), 2, "");
  EXPECT_EQ(status.code(), MOERT_INTERNAL);
  EXPECT_EQ(status.message(), "a kernel, phase '?': internal: value: expected "
                              "at most 1, seen 2");
}

TEST(DeviceRecordTest, StoppingKernelsKeepsAnEarlierError) {
  moert_device_record record{};
  EXPECT_EQ(recordedCode(&record), MOERT_OK);
  stopKernels(&record);
  EXPECT_EQ(recordedCode(&record), MOERT_PEER_FAILED);
  EXPECT_FALSE(isRecordReady(&record));
  clearRecord(&record);
  EXPECT_EQ(recordedCode(&record), MOERT_OK);
  record.code = MOERT_INVALID_COUNT;
  record.ready = 1;
  stopKernels(&record);
  EXPECT_EQ(recordedCode(&record), MOERT_INVALID_COUNT);
  EXPECT_TRUE(isRecordReady(&record));
}
