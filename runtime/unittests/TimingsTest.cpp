//===- TimingsTest.cpp - tests of the time accounting ---------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/Timings.h"

#include <gtest/gtest.h>
#include <map>

using namespace moe::rt;

static void oneCall(Timings &timings, const char *op, const char *phase) {
  timings.beginCall();
  timings.beginCollective(op, "f.mlir:1:2");
  timings.phase(phase);
  timings.endCollective();
  timings.endCall();
}

TEST(TimingsTest, AccumulatesByNameNotByAddress) {
  Timings timings;
  std::string op = "moe.dispatch", again = "moe.dispatch";
  oneCall(timings, op.c_str(), "put");
  timings.forgetStrings();
  oneCall(timings, again.c_str(), "put");
  ASSERT_EQ(timings.rows().size(), 3u);
  const Timings::Row &compute = timings.rows()[0];
  EXPECT_EQ(compute.phase, "compute");
  EXPECT_EQ(compute.op, "");
  EXPECT_EQ(compute.calls, 4);
  const Timings::Row &put = timings.rows()[2];
  EXPECT_EQ(put.op + put.location + put.phase, "moe.dispatchf.mlir:1:2put");
  EXPECT_EQ(put.calls, 2);
}

TEST(TimingsTest, PhasesInAnyOrderCountForTheirOwnRows) {
  Timings timings;
  const char *ops[] = {"a", "b", "c"};
  for (int op : {0, 1, 2, 2, 0, 1, 0})
    oneCall(timings, ops[op], "put");
  std::map<std::string, int64_t> calls;
  for (const Timings::Row &row : timings.rows())
    calls[row.op + row.phase] += row.calls;
  std::map<std::string, int64_t> expected = {
      {"compute", 14}, {"abegin", 3}, {"aput", 3}, {"bbegin", 2},
      {"bput", 2},     {"cbegin", 2}, {"cput", 2}};
  EXPECT_EQ(calls, expected);
}

TEST(TimingsTest, TimeBetweenCallsDoesNotCount) {
  Timings timings;
  timings.beginCall();
  timings.endCall();
  int64_t before = timings.rows()[0].ns;
  timings.endCall();
  EXPECT_EQ(timings.rows()[0].ns, before);
  EXPECT_EQ(timings.rows()[0].calls, 1);
}

TEST(TimingsTest, TraceHasBeginAndEndOfEachPhase) {
  Timings timings;
  oneCall(timings, "op", "put");
  Trace trace(16);
  timings.clear();
  timings.setTrace(&trace);
  int64_t before = nowNs();
  oneCall(timings, "op", "put");
  int64_t after = nowNs();
  timings.setTrace(nullptr);
  oneCall(timings, "op", "put");
  std::vector<std::string> phases;
  int64_t last = before;
  for (const Trace::Event &event : trace.events()) {
    phases.push_back(timings.rows()[event.row].phase);
    EXPECT_GE(event.begin, last);
    EXPECT_GE(event.end, event.begin);
    last = event.end;
  }
  EXPECT_LE(last, after);
  EXPECT_EQ(phases,
            (std::vector<std::string>{"compute", "begin", "put", "compute"}));
  EXPECT_EQ(trace.dropped(), 0u);
}

TEST(TimingsTest, FullTraceCountsWhatItDrops) {
  Timings timings;
  Trace trace(3);
  timings.setTrace(&trace);
  size_t capacity = 3;
  for (int i = 0; i < 4; ++i)
    oneCall(timings, "op", "put");
  EXPECT_GE(trace.events().size(), capacity);
  EXPECT_EQ(trace.events().size() + trace.dropped(), 16u);
}

TEST(TimingsTest, ClearKeepsTheRows) {
  Timings timings;
  oneCall(timings, "op", "put");
  timings.clear();
  ASSERT_EQ(timings.rows().size(), 3u);
  for (const Timings::Row &row : timings.rows()) {
    EXPECT_EQ(row.calls, 0);
    EXPECT_EQ(row.ns, 0);
  }
}
