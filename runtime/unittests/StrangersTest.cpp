//===- StrangersTest.cpp - who else connects to ranks ---------------------===//
//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "BootstrapGroup.h"
#include "moe-runtime/MemoryFile.h"

#include <csignal>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace moe::rt;
using namespace moe::rt::tests;

namespace {
/// Processes that connect to every abstract Unix socket there is, again and
/// again, and say nothing. The kernel lists the sockets to all users.
class Strangers {
public:
  explicit Strangers(uid_t user) {
    pid = fork();
    if (pid != 0)
      return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (user && setuid(user) != 0)
      _exit(77);
    std::vector<int> held;
    for (;;) {
      std::ifstream sockets("/proc/net/unix");
      for (std::string line; std::getline(sockets, line);)
        if (size_t at = line.find('@'); at != std::string::npos)
          for (int i = 0; i < 20; ++i)
            call(line.substr(at + 1), held);
      while (held.size() > 800) {
        close(held.front());
        held.erase(held.begin());
      }
    }
  }
  ~Strangers() {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
  }

private:
  static void call(const std::string &name, std::vector<int> &held) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (name.size() + 1 > sizeof(address.sun_path))
      return;
    std::memcpy(address.sun_path + 1, name.data(), name.size());
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0)
      return;
    if (connect(fd, reinterpret_cast<sockaddr *>(&address),
                socklen_t(offsetof(sockaddr_un, sun_path) + 1 + name.size())) ==
        0)
      held.push_back(fd);
    else
      close(fd);
  }

  pid_t pid;
};
} // namespace

/// How long senders of this process wait before each message, in microseconds:
/// between connecting to a rank and telling it who they are.
static std::atomic<unsigned> mostSenderDelay{0};

/// Stands before that of the C library.
extern "C" ssize_t sendmsg(int socket, const msghdr *message, int flags) {
  if (unsigned most = mostSenderDelay)
    usleep(static_cast<unsigned>(rand()) % most);
  return syscall(SYS_sendmsg, socket, message, flags);
}

static void passAmongStrangers(uid_t user, unsigned senderDelay) {
  Strangers strangers(user);
  mostSenderDelay = senderDelay;
  Group group(Kind::Callbacks, 4);
  group.run([&](Bootstrap &bootstrap) {
    bootstrap.setTimeout(20);
    for (int round = 0; round < 20; ++round) {
      UniqueFd mine = createMemoryFile(1000 + bootstrap.rank()).take();
      std::vector<UniqueFd> fds;
      EXPECT_OK(bootstrap.exchangeFds(mine.get(), fds));
      ASSERT_EQ(fds.size(), 4u);
      for (int r = 0; r < 4; ++r) {
        struct stat info;
        EXPECT_EQ(fstat(fds[r].get(), &info), 0);
        EXPECT_EQ(info.st_size, 1000 + r);
      }
    }
  });
}

/// In a network namespace, so that no other program is called.
static void expectDescriptorsPassInChild(uid_t user, unsigned senderDelay = 0) {
  fflush(nullptr);
  pid_t child = fork();
  if (child == 0) {
    if (unshare(CLONE_NEWNET) != 0)
      _exit(77);
    passAmongStrangers(user, senderDelay);
    fflush(nullptr);
    _exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
    GTEST_SKIP() << "this process may not make a network namespace";
  EXPECT_EQ(status, 0);
}

TEST(StrangersTest, ThatSayNothing) { expectDescriptorsPassInChild(0); }

/// A rank that has connected and is held up before it speaks looks like one of
/// them for a while.
TEST(StrangersTest, BeforeSlowSenders) {
  expectDescriptorsPassInChild(0, /*senderDelay=*/4000);
}

TEST(StrangersTest, OfAnotherUser) { expectDescriptorsPassInChild(65534); }
