//===- NpyTest.cpp - tests of .npy files ----------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/Npy.h"

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <gtest/gtest.h>
#include <iterator>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace moe::rt;

namespace {
class NpyTest : public ::testing::Test {
protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "moe-npy-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder = name;
  }
  void TearDown() override {
    unlink(file().c_str());
    rmdir(folder.c_str());
  }
  std::string file() const { return folder + "/a.npy"; }
  void put(const std::string &bytes) {
    std::ofstream(file(), std::ios::binary) << bytes;
  }
  std::string get() {
    std::ifstream in(file(), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  /// Expects an error that names the file.
  void expectError(DType dtype, const std::string &message,
                   moert_code code = MOERT_INVALID_ARGUMENT) {
    auto array = readNpy(file(), dtype);
    ASSERT_FALSE(array.isOk());
    EXPECT_EQ(array.status().message(), file() + ": " + message);
    EXPECT_EQ(array.status().code(), code);
  }
  std::string folder;
};
} // namespace

/// A version 1.0 file with any header text.
static std::string npy(const std::string &header, const std::string &data) {
  std::string text("\x93NUMPY\1\0", 8);
  text += char(header.size() & 0xff);
  text += char(header.size() >> 8);
  return text + header + data;
}

static std::string headerOf(const char *descr, const char *shape,
                            const char *order = "False") {
  return std::string("{'descr': '") + descr + "', 'fortran_order': " + order +
         ", 'shape': " + shape + ", }\n";
}

TEST_F(NpyTest, HeaderIsThatOfNumpy) {
  // As numpy.save wrote it for ones((2, 3), ml_dtypes.bfloat16).
  std::string header = npyHeader(DType::BF16, {2, 3});
  EXPECT_EQ(header.size(), 128u);
  EXPECT_EQ(header.substr(0, 10), std::string("\x93NUMPY\1\0\x76\0", 10));
  EXPECT_EQ(header.substr(10, 59),
            "{'descr': '<V2', 'fortran_order': False, 'shape': (2, 3), }");
  EXPECT_EQ(header.find_first_not_of(' ', 69), 127u);
  EXPECT_EQ(header.back(), '\n');
}

TEST_F(NpyTest, HeadersOfAllRanksAreAligned) {
  std::vector<int64_t> shape;
  for (int rank = 0; rank < 12; ++rank) {
    EXPECT_EQ(npyHeader(DType::F32, shape).size() % 64, 0u);
    shape.push_back(1000 + rank);
  }
  EXPECT_NE(npyHeader(DType::I1, {7}).find("(7,)"), std::string::npos);
  EXPECT_NE(npyHeader(DType::I1, {}).find("()"), std::string::npos);
}

TEST_F(NpyTest, RoundTripOfEveryType) {
  for (DType dtype : {DType::F64, DType::F32, DType::F16, DType::BF16,
                      DType::F8E4M3FN, DType::F8E5M2, DType::I64, DType::I32,
                      DType::I16, DType::I8, DType::I1})
    for (const std::vector<int64_t> &shape :
         {std::vector<int64_t>{}, {5}, {0, 3}, {2, 3, 4}}) {
      NpyArray array;
      array.dtype = dtype;
      array.shape = shape;
      array.data.resize(*countElements(shape.data(), shape.size()) *
                        dtypeBytes(dtype));
      for (size_t i = 0; i < array.data.size(); ++i)
        array.data[i] = char(i * 37 + 255);
      Status status = writeNpy(file(), array.view(), dtype);
      ASSERT_TRUE(status.isOk()) << status.message();
      auto back = readNpy(file(), dtype);
      ASSERT_TRUE(back.isOk()) << back.status().message();
      EXPECT_EQ(back->shape, shape);
      EXPECT_EQ(back->data, array.data);
    }
}

TEST_F(NpyTest, StridedTensorsArePacked) {
  int32_t data[] = {0, 1, 2, 3, 4, 5};
  int64_t shape[] = {3, 2}, strides[] = {1, 3};
  DLTensor tensor{};
  tensor.data = data;
  tensor.ndim = 2;
  tensor.shape = shape;
  tensor.strides = strides;
  ASSERT_TRUE(writeNpy(file(), tensor, DType::I32).isOk());
  auto back = readNpy(file(), DType::I32);
  ASSERT_TRUE(back.isOk());
  auto *values = reinterpret_cast<const int32_t *>(back->data.data());
  EXPECT_EQ(std::vector<int32_t>(values, values + 6),
            (std::vector<int32_t>{0, 3, 1, 4, 2, 5}));
}

TEST_F(NpyTest, SpellingsThatAreAccepted) {
  struct Case {
    DType dtype;
    const char *descr;
    bool isGood;
  };
  for (Case c : {Case{DType::BF16, "<V2", true},
                 {DType::BF16, "|V2", true},
                 {DType::BF16, "<f2", false},
                 {DType::F16, "<V2", false},
                 {DType::BF16, ">V2", false},
                 {DType::F8E4M3FN, "<V1", true},
                 {DType::F8E4M3FN, "|V1", true},
                 {DType::F8E4M3FN, "<f1", false},
                 {DType::F8E5M2, "<f1", true},
                 {DType::F8E5M2, "|f1", true},
                 {DType::F8E5M2, "|V1", true},
                 {DType::I8, "<i1", true},
                 {DType::I8, "|u1", false},
                 {DType::I1, "|b1", true},
                 {DType::I1, "|i1", false},
                 {DType::F16, "<f2", true},
                 {DType::F16, "|f2", false}}) {
    put(npy(headerOf(c.descr, "(0,)"), ""));
    EXPECT_EQ(readNpy(file(), c.dtype).isOk(), c.isGood)
        << dtypeName(c.dtype) << " " << c.descr;
  }
}

TEST_F(NpyTest, OtherHeaderLayouts) {
  std::string data(24, 'x');
  // Any order of keys, double quotes, no trailing comma, integers of Python 2.
  put(npy("{\"shape\":(2L,3L),\"fortran_order\":False,\"descr\":\"<f4\"}",
          data));
  auto array = readNpy(file(), DType::F32);
  ASSERT_TRUE(array.isOk()) << array.status().message();
  EXPECT_EQ(array->shape, (std::vector<int64_t>{2, 3}));
  // Version 2.0 has a header length of four bytes.
  std::string header = headerOf("<f4", "(2, 3)");
  std::string v2("\x93NUMPY\2\0", 8);
  v2 += char(header.size());
  put(v2 + std::string(3, '\0') + header + data);
  EXPECT_TRUE(readNpy(file(), DType::F32).isOk());
  // One dimension has no order.
  put(npy(headerOf("<f4", "(6,)", "True"), data));
  EXPECT_TRUE(readNpy(file(), DType::F32).isOk());
}

TEST_F(NpyTest, WrongFiles) {
  expectError(DType::F32, "No such file or directory", MOERT_IO);
  put("");
  expectError(DType::F32, "not a .npy file");
  put("hello, this is some text");
  expectError(DType::F32, "not a .npy file");
  put(std::string("\x93NUMPY\x09\0ab", 10));
  expectError(DType::F32, "unknown version 9.0 of the .npy format");
  put(std::string("\x93NUMPY\2\0\xff\xff\xff\xff", 12));
  expectError(DType::F32, "a header of 4294967295 bytes is too long");
  put(npy(headerOf(">f4", "(1,)"), "abcd"));
  expectError(DType::F32, "holds big-endian data ('>f4'); only little-endian "
                          "is read");
  put(npy(headerOf("<f8", "(1,)"), "abcdefgh"));
  expectError(DType::F32,
              "expected element type f32 ('<f4'), but the file holds '<f8'");
  put(npy(headerOf("<f4", "(2, 2)", "True"), std::string(16, 'x')));
  expectError(DType::F32, "holds a Fortran-order array; save it in C order "
                          "(numpy.ascontiguousarray)");
  put(npy(headerOf("<f4", "(2, 2)"), "abc"));
  expectError(DType::F32, "the file is truncated: shape [2, 2] of f32 needs 16 "
                          "bytes of data, the file has 3");
  put(npy(headerOf("<f4", "(1,)"), "abcdefgh"));
  expectError(DType::F32, "the file is too long: shape [1] of f32 needs 4 "
                          "bytes of data, the file has 8");
  put(npy(headerOf("<f4", "(4294967296, 4294967296)"), ""));
  expectError(DType::F32, "the shape is too large");
  put(npy(headerOf("<f4", "(4611686018427387904,)"), ""));
  expectError(DType::F32, "the shape is too large");
}

TEST_F(NpyTest, MalformedHeaders) {
  for (const char *header :
       {"", "{", "{}", "{'descr': '<f4'}", "not a dict",
        "{'descr': '<f4', 'fortran_order': Maybe, 'shape': (), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1, }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1 2), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': "
        "(99999999999999999999,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (), } x",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (), 'a': 1}",
        "{'descr': '<f4, 'fortran_order': False, 'shape': (), }"}) {
    put(npy(header, "abcd"));
    expectError(DType::F32, "malformed .npy header");
  }
}

TEST_F(NpyTest, StructuredTypesAreNamed) {
  for (const char *descr : {"[('a', '<f4'), ('b', '<i4')]", "('<f4', (2,))"}) {
    put(npy(std::string("{'descr': ") + descr +
                ", 'fortran_order': False, 'shape': (1,), }\n",
            "abcdefgh"));
    expectError(DType::F32,
                "holds an array of a structured type, whose elements have "
                "fields; save a field as an array of its own");
  }
}

/// Files with holes: they take no room, but reading them takes memory.
TEST_F(NpyTest, ShapeAndMemoryAreLookedAtBeforeTheData) {
  std::string header = npyHeader(DType::F32, {int64_t(1) << 38, 4});
  put(header);
  if (truncate(file().c_str(), off_t(header.size()) + (off_t(1) << 42)) != 0)
    GTEST_SKIP() << "no file of this size can be made";
  auto array = readNpy(file(), DType::F32, [](const auto &shape) {
    return std::string(shape[1] == 4 ? "the wrong shape" : "");
  });
  ASSERT_FALSE(array.isOk());
  EXPECT_EQ(array.status().message(), file() + ": the wrong shape");
  array =
      readNpy(file(), DType::F32, [](const auto &) { return std::string(); });
  ASSERT_FALSE(array.isOk());
  EXPECT_EQ(array.status().code(), MOERT_OUT_OF_MEMORY);
  std::string text = array.status().message();
  std::string begin = file() + ": the array needs 4398046511104 bytes of "
                               "memory, but this machine, or its container, "
                               "has ";
  EXPECT_EQ(text.substr(0, begin.size()), begin);
  EXPECT_EQ(text.substr(text.find_first_not_of("0123456789", begin.size())),
            " free");
}

TEST_F(NpyTest, EveryTruncationIsAnError) {
  std::string whole = npyHeader(DType::F32, {2, 3}) + std::string(24, 'x');
  for (size_t length = 0; length < whole.size(); ++length) {
    put(whole.substr(0, length));
    auto array = readNpy(file(), DType::F32);
    EXPECT_FALSE(array.isOk()) << length;
  }
  put(whole);
  EXPECT_TRUE(readNpy(file(), DType::F32).isOk());
}

TEST_F(NpyTest, NotARegularFile) {
  auto array = readNpy(folder, DType::F32);
  EXPECT_EQ(array.status().message(), folder + ": not a regular file");
  // Opening a pipe that nobody writes to must not block.
  ASSERT_EQ(mkfifo(file().c_str(), 0600), 0);
  expectError(DType::F32, "not a regular file", MOERT_IO);
}

TEST_F(NpyTest, FailedWritesLeaveNoFile) {
  float value = 1;
  DLTensor tensor{};
  tensor.data = &value;
  Status status = writeNpy(folder + "/none/a.npy", tensor, DType::F32);
  EXPECT_EQ(status.code(), MOERT_IO);
  EXPECT_EQ(status.message(), "cannot write " + folder +
                                  "/none/a.npy: No such file or directory");

  // As on a full disk.
  std::vector<float> values(10000);
  int64_t shape[] = {10000};
  tensor.data = values.data();
  tensor.ndim = 1;
  tensor.shape = shape;
  rlimit before, small;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  small = {1000, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  status = writeNpy(file(), tensor, DType::F32);
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_EQ(status.message(),
            "cannot write " + file() +
                ": files of this process may have 1000 bytes at most; raise "
                "that limit (ulimit -f)");
  EXPECT_NE(access(file().c_str(), F_OK), 0);
}
