//===- SharedObjectTest.cpp - tests of loading artifacts ------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/Context.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>

using namespace moe::rt;

static std::string bytesOf(const std::string &name) {
  std::ifstream file(std::string(MOE_TEST_ARTIFACT_DIR) + "/" + name + ".so",
                     std::ios::binary);
  return {std::istreambuf_iterator<char>(file),
          std::istreambuf_iterator<char>()};
}

namespace {
class SharedObjectTest : public ::testing::Test {
protected:
  void SetUp() override {
    char name[] = "/tmp/moe-load-XXXXXX";
    ASSERT_TRUE(mkdtemp(name));
    folder = name;
    path = folder + "/artifact.so";
  }
  void TearDown() override { std::filesystem::remove_all(folder); }

  void write(const std::string &bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  }
  /// Another file with the same path.
  void replace(const std::string &bytes) {
    std::string other = folder + "/other";
    std::ofstream(other, std::ios::binary) << bytes;
    std::filesystem::rename(other, path);
  }
  std::unique_ptr<Artifact> open(const std::string &from) {
    auto artifact = Artifact::open(from, "artifact.so");
    EXPECT_TRUE(artifact.isOk()) << artifact.status().message();
    return artifact.isOk() ? artifact.take() : nullptr;
  }
  static EntryFunction codeOf(Artifact &artifact, const char *entry) {
    return (*artifact.entry(entry))->function;
  }

  std::string folder, path;
};
} // namespace

TEST_F(SharedObjectTest, ReplacedFileIsAnotherArtifact) {
  write(bytesOf("local"));
  auto first = open(path);
  replace(bytesOf("exchange1"));
  auto second = open(path);
  EXPECT_EQ(first->manifest().hash, "local");
  EXPECT_EQ(second->manifest().hash, "exchange");
  EXPECT_NE(first->digest(), second->digest());
  // Both work on.
  EXPECT_TRUE(codeOf(*first, "scalar"));
  EXPECT_TRUE(codeOf(*second, "gather"));
}

TEST_F(SharedObjectTest, FileThatIsRewrittenInPlaceIsAnotherArtifact) {
  write(bytesOf("exchange1"));
  auto first = open(path);
  EntryFunction code = codeOf(*first, "rotate");
  char before[64], after[64];
  std::memcpy(before, reinterpret_cast<void *>(code), sizeof(before));
  write(bytesOf("local"));
  auto second = open(path);
  EXPECT_EQ(second->manifest().hash, "local");
  // What is loaded does not change with the file.
  std::memcpy(after, reinterpret_cast<void *>(code), sizeof(after));
  EXPECT_EQ(std::memcmp(before, after, sizeof(before)), 0);
}

TEST_F(SharedObjectTest, SymbolicLinkThatIsTurned) {
  for (const char *name : {"local", "exchange1"}) {
    std::ofstream(folder + "/" + name, std::ios::binary) << bytesOf(name);
    std::filesystem::remove(path);
    std::filesystem::create_symlink(name, path);
    auto artifact = open(path);
    EXPECT_EQ(artifact->manifest().hash,
              std::string(name) == "local" ? "local" : "exchange");
  }
}

/// The same manifest, but other code: bytes past the last that is loaded.
TEST_F(SharedObjectTest, BytesDecideWhatIsTheSame) {
  std::string bytes = bytesOf("local");
  write(bytes);
  auto first = open(path);
  replace(bytes);
  auto same = open(path);
  replace(bytes + "x");
  auto other = open(path);
  EXPECT_EQ(codeOf(*first, "scalar"), codeOf(*same, "scalar"));
  EXPECT_NE(codeOf(*first, "scalar"), codeOf(*other, "scalar"));
  EXPECT_EQ(first->digest(), sha256(bytes));
  EXPECT_EQ(other->digest(), sha256(bytes + "x"));
}

/// Numbers of descriptors are used again; the loader goes by them.
TEST_F(SharedObjectTest, LoadedAndUnloadedByTurns) {
  for (int round = 0; round < 3; ++round)
    for (const char *name : {"local", "exchange1"}) {
      replace(bytesOf(name));
      auto artifact = open(path);
      EXPECT_EQ(artifact->manifest().hash,
                std::string(name) == "local" ? "local" : "exchange");
    }
}

TEST_F(SharedObjectTest, FromMemory) {
  auto artifact = Artifact::openBytes(bytesOf("local"), "in memory");
  ASSERT_TRUE(artifact.isOk()) << artifact.status().message();
  EXPECT_EQ((*artifact)->label(), "artifact in memory");
  auto part = Artifact::openBytes("\177ELF", "in memory");
  EXPECT_EQ(part.status().message(),
            "in memory: not an artifact, or only a part of one");
}

/// An artifact that ends as those of the compiler do.
static std::string sealed(std::string bytes) {
  Digest digest = sha256(bytes);
  return bytes.append(digest.begin(), digest.end()).append(MOERT_ARTIFACT_SEAL);
}

TEST_F(SharedObjectTest, Sealed) {
  std::string bytes = sealed(bytesOf("local"));
  write(bytes);
  auto artifact = open(path);
  ASSERT_TRUE(artifact);
  EXPECT_EQ(artifact->digest(), sha256(bytes));
}

TEST_F(SharedObjectTest, DamagedBytesAreNotLoaded) {
  const std::string whole = sealed(bytesOf("local"));
  // The table of segments, code or data, and the digest itself.
  for (size_t at :
       {size_t(64), whole.size() / 3, whole.size() / 2, whole.size() - 12}) {
    SCOPED_TRACE(at);
    std::string bytes = whole;
    bytes[at] = char(bytes[at] ^ 0x10);
    auto artifact = Artifact::openBytes(bytes, "in memory");
    EXPECT_EQ(artifact.status().code(), MOERT_INVALID_ARGUMENT);
    EXPECT_NE(artifact.status().message().find(
                  "in memory: the artifact is damaged: expected bytes with the "
                  "SHA-256 "),
              std::string::npos)
        << artifact.status().message();
  }
}

TEST_F(SharedObjectTest, ImportThatIsMissing) {
  write(bytesOf("bad-import"));
  auto artifact = Artifact::open(path, "bad.so");
  EXPECT_EQ(artifact.status().code(), MOERT_ABI_MISMATCH);
  EXPECT_EQ(artifact.status().message(),
            "bad.so: cannot load the artifact: undefined symbol: "
            "moert_function_of_the_future");
}

/// Where code cannot be mapped from the file itself.
TEST_F(SharedObjectTest, FolderWithoutExecutableFiles) {
  pid_t child = fork();
  if (child == 0) {
    if (unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("moe", folder.c_str(), "tmpfs", MS_NOEXEC, nullptr) != 0)
      _exit(errno == EPERM || errno == EACCES ? 77 : 2);
    write(bytesOf("local"));
    _exit(open(path) ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
    GTEST_SKIP() << "this process may not mount a file system";
  EXPECT_EQ(status, 0);
}
