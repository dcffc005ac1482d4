//===- Segment.cpp - memory that ranks of the stand-in share --------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A memory file without a name, which other processes open by the number that
/// its descriptor has in the process of rank 0. So nothing is left behind,
/// however a test ends.
///
//===----------------------------------------------------------------------===//

#include "StandIn.h"

#include <cstring>
#include <fcntl.h>
#include <set>
#include <sys/mman.h>
#include <unistd.h>

using namespace moe::standin;

namespace {
struct Layout {
  uint64_t number; ///< of the id, since descriptors are used again
  Segment::Member members[Segment::mostRanks];
  // Pages that nobody writes take no memory.
  Segment::Ring rings[Segment::mostRanks][Segment::mostRanks];
};

struct Place {
  char magic[8];
  int32_t process, descriptor;
  uint64_t number; ///< in its process
};
constexpr char magic[8] = {'s', 't', 'a', 'n', 'd', '-', 'i', 'n'};

/// Ids of this process whose descriptor is open.
struct Open {
  std::mutex mutex;
  uint64_t last = 0;
  std::set<uint64_t> numbers;
};
} // namespace

static Open &openIds() {
  static Open *it = new Open();
  return *it;
}

Result Segment::make(UniqueId &id) {
  int fd = memfd_create("stand-in-nccl", MFD_CLOEXEC);
  if (fd < 0 || ftruncate(fd, sizeof(Layout)) != 0)
    return systemError;
  Open &open = openIds();
  std::lock_guard<std::mutex> lock(open.mutex);
  Place place{{}, getpid(), fd, ++open.last};
  if (pwrite(fd, &place.number, sizeof(place.number), 0) < 0)
    return systemError;
  open.numbers.insert(place.number);
  std::memcpy(place.magic, magic, sizeof(magic));
  id = {};
  std::memcpy(&id, &place, sizeof(place));
  return success;
}

static bool readId(const UniqueId &id, Place &place) {
  std::memcpy(&place, &id, sizeof(place));
  return std::memcmp(place.magic, magic, sizeof(magic)) == 0;
}

std::unique_ptr<Segment> Segment::open(const UniqueId &id) {
  Place place;
  if (!readId(id, place))
    return nullptr;
  std::string path = "/proc/" + std::to_string(place.process) + "/fd/" +
                     std::to_string(place.descriptor);
  int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0)
    return nullptr;
  void *memory = mmap(nullptr, sizeof(Layout), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_NORESERVE, fd, 0);
  close(fd);
  if (memory == MAP_FAILED)
    return nullptr;
  std::unique_ptr<Segment> segment(new Segment(memory));
  bool isIt = static_cast<Layout *>(memory)->number == place.number;
  return isIt ? std::move(segment) : nullptr;
}

void Segment::forget(const UniqueId &id) {
  Place place;
  if (!readId(id, place) || place.process != getpid())
    return;
  Open &open = openIds();
  std::lock_guard<std::mutex> lock(open.mutex);
  if (open.numbers.erase(place.number))
    close(place.descriptor);
}

Segment::~Segment() { munmap(memory, sizeof(Layout)); }

Segment::Member &Segment::member(int rank) {
  return static_cast<Layout *>(memory)->members[rank];
}

Segment::Ring &Segment::ring(int from, int to) {
  return static_cast<Layout *>(memory)->rings[from][to];
}
