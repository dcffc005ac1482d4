//===- Context.cpp - a rank's membership in a group -----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Context.h"

#include "Stream.h"

#include <algorithm>
#include <cstring>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>
#include <optional>
#include <thread>

namespace nb = nanobind;
using namespace moe::py;

Context::Context(moert_context *handle, nb::object allGather)
    : handle(handle), allGather(std::move(allGather)),
      myRank(moert_context_rank(handle)), groupSize(moert_context_size(handle)),
      where(moert_context_device(handle)) {}

/// Not collective: the other ranks see that this one leaves.
Context::~Context() { destroy(); }

moert_context *Context::open(const char *what) const {
  if (!closed)
    return handle;
  std::string message =
      "rank " + std::to_string(myRank) + ": " + what + ": the group is closed";
  if (graphsAtEnd)
    message += (graphsAtEnd == 1
                    ? std::string("; a CUDA graph")
                    : "; " + std::to_string(graphsAtEnd) + " CUDA graphs") +
               " had calls of it, whose replays give no results any more";
  refuse(message, myRank, "an open group", "a closed one");
}

void Context::close() {
  // A call that begins on a thread without the GIL either sees this, or is
  // seen.
  bool wasClosed = closed.exchange(true);
  if (running) {
    closed = wasClosed;
    refuse("rank " + std::to_string(myRank) +
               ": close: a call on the group is running in another thread",
           myRank);
  }
  if (!wasClosed)
    graphsAtEnd = moert_context_num_graphs(handle);
  if (views == 0)
    destroy();
}

bool Context::hasFailed() {
  Running guard(*this);
  return closed || moert_context_failed_rank(handle) >= 0;
}

void Context::tellFailure(moert_code code, const std::string &message) {
  Running guard(*this);
  if (!closed)
    (void)moert_context_fail(handle, code, message.c_str());
}

void Context::dropView() {
  if (--views == 0 && closed)
    destroy();
}

void Context::destroy() {
  moert_context *last = std::exchange(handle, nullptr);
  if (!last)
    return;
  // On a GPU this waits. The last view may go on a thread without the GIL, or
  // after Python has ended.
  if (!Py_IsInitialized()) {
    moert_context_destroy(last);
    (void)allGather.release();
    return;
  }
  // Whether this thread has it cannot be asked, but with it, it can be dropped.
  WithGil acquired;
  {
    WithoutGil released;
    moert_context_destroy(last);
  }
  // It keeps the process group, whose threads otherwise outlive its end.
  allGather.reset();
}

//===----------------------------------------------------------------------===//
// Making contexts
//===----------------------------------------------------------------------===//

namespace {
/// moert_options, and what it points to.
struct Options {
  Options(std::optional<double> timeout, std::optional<size_t> reserve,
          const std::string &backend, std::optional<int> device,
          std::optional<uintptr_t> nccl = std::nullopt)
      : backend(backend) {
    given.struct_size = sizeof(given);
    // As the runtime checks it, for which 0 stands for the default.
    if (timeout && !(*timeout > 0 && *timeout <= 1e6)) {
      std::string range = "more than 0 and at most 1e6 seconds";
      std::string seen = nb::repr(nb::float_(*timeout)).c_str();
      refuse("timeout: expected " + range + ", got " + seen, -1, range, seen);
    }
    given.timeout_seconds = timeout.value_or(0);
    given.symm_reserve_bytes = reserve.value_or(0);
    given.backend = this->backend.c_str();
    given.device = device.value_or(-1);
    given.nccl_comm = reinterpret_cast<void *>(nccl.value_or(0));
    given.nccl_lent = nccl.has_value();
  }
  Options(const Options &) = delete;

  std::string backend;
  moert_options given{};
};
} // namespace

static ContextRef adopt(moert_context *context, nb::object allGather = {}) {
  return std::make_shared<Context>(context, std::move(allGather));
}

static ContextRef createFromEnvironment(std::optional<double> timeout,
                                        std::optional<size_t> reserve,
                                        const std::string &backend,
                                        std::optional<int> device) {
  Options options(timeout, reserve, backend, device);
  moert_context *context = nullptr;
  moert_code code;
  {
    WithoutGil released;
    code = moert_context_create_from_environment(&options.given, &context);
  }
  check(code);
  return adopt(context);
}

/// `communicator` is the address of a variable of type MPI_Comm.
static ContextRef createWithMpi(uintptr_t communicator,
                                std::optional<double> timeout,
                                std::optional<size_t> reserve,
                                const std::string &backend,
                                std::optional<int> device) {
  Options options(timeout, reserve, backend, device);
  moert_context *context = nullptr;
  moert_code code;
  {
    WithoutGil released;
    code = moert_context_create_mpi(
        reinterpret_cast<const void *>(communicator), &options.given, &context);
  }
  check(code);
  return adopt(context);
}

/// Calls the all-gather of Python: `function(bytes, timeout)` returns the bytes
/// of all ranks in rank order. What it raises becomes the error's text.
static int32_t gatherInPython(void *user, const void *in, size_t bytes,
                              void *out, double timeout, char *error,
                              size_t errorBytes) {
  WithGil acquired;
  auto *self = static_cast<std::pair<nb::object, int> *>(user);
  std::string why;
  try {
    nb::object result;
    orWaitForTheEnd([&] {
      result =
          self->first(nb::bytes(static_cast<const char *>(in), bytes), timeout);
    });
    if (!nb::isinstance<nb::bytes>(result)) {
      why = "it returned no bytes";
    } else {
      auto all = nb::cast<nb::bytes>(result);
      size_t expected = bytes * size_t(self->second);
      if (all.size() == expected) {
        std::memcpy(out, all.c_str(), expected);
        return 0;
      }
      why = "it returned " + std::to_string(all.size()) + " bytes; expected " +
            std::to_string(expected);
    }
  } catch (nb::python_error &raised) {
    why = raised.what();
    // The last line names the exception; the rest is the way there.
    while (!why.empty() && why.back() == '\n')
      why.pop_back();
    why = why.substr(why.rfind('\n') + 1);
  } catch (const std::exception &other) {
    why = other.what();
  }
  std::snprintf(error, errorBytes, "the all-gather of the program failed: %s",
                why.c_str());
  return 1;
}

static ContextRef createWithAllGather(int rank, int size, nb::object allGather,
                                      std::optional<double> timeout,
                                      std::optional<size_t> reserve,
                                      const std::string &backend,
                                      std::optional<int> device,
                                      std::optional<uintptr_t> nccl) {
  Options options(timeout, reserve, backend, device, nccl);
  auto user = std::make_unique<std::pair<nb::object, int>>(allGather, size);
  moert_bootstrap bootstrap{};
  bootstrap.struct_size = sizeof(bootstrap);
  bootstrap.rank = rank;
  bootstrap.size = size;
  bootstrap.user = user.get();
  bootstrap.allgather_explained = gatherInPython;
  moert_context *context = nullptr;
  moert_code code;
  {
    WithoutGil released;
    code = moert_context_create(&bootstrap, &options.given, &context);
  }
  check(code);
  nb::object keep = nb::capsule(user.release(), [](void *pointer) noexcept {
    delete static_cast<std::pair<nb::object, int> *>(pointer);
  });
  return adopt(context, std::move(keep));
}

/// All ranks at the same time, on threads that end with this function.
static std::vector<ContextRef>
createInThreads(int size, std::optional<double> timeout,
                std::optional<size_t> reserve, const std::string &backend,
                std::optional<int> device, const std::vector<int> &devices) {
  Options options(timeout, reserve, backend, device);
  if (!devices.empty() && int(devices.size()) != size)
    refuse("expected a device for each of " + std::to_string(size) +
           " ranks, got " + std::to_string(devices.size()));
  moert_thread_group *group = nullptr;
  check(moert_thread_group_create(size, &group));
  struct Made {
    moert_context *context = nullptr;
    moert_code code = MOERT_OK;
  };
  std::vector<Made> made(static_cast<size_t>(size));
  int failed = -1;
  {
    WithoutGil released;
    std::vector<std::thread> threads;
    auto create = [&](int rank) {
      moert_options mine = options.given;
      if (!devices.empty())
        mine.device = devices[rank];
      made[rank].code = moert_context_create_in_threads(group, rank, &mine,
                                                        &made[rank].context);
    };
    try {
      for (int rank = 1; rank < size; ++rank)
        threads.emplace_back(create, rank);
    } catch (const std::exception &) {
      // Those that have begun end when the group does.
      moert_thread_group_destroy(std::exchange(group, nullptr));
    }
    if (group)
      create(0);
    for (std::thread &thread : threads)
      thread.join();
    for (int rank = 0; rank < size; ++rank)
      if (made[rank].code != MOERT_OK && failed < 0)
        failed = rank;
    if (!group || failed >= 0)
      for (Made &one : made)
        moert_context_destroy(one.context);
  }
  bool isStarted = group != nullptr;
  moert_thread_group_destroy(group);
  if (!isStarted)
    refuse("cannot start " + std::to_string(size) + " threads");
  // Rank 0 ran here, so its error is this thread's; all ranks hear of all.
  if (failed == 0)
    raiseLastError();
  if (failed > 0)
    refuse("rank " + std::to_string(failed) + " could not join the group",
           failed);
  std::vector<ContextRef> all;
  for (Made &one : made)
    all.push_back(adopt(one.context));
  return all;
}

//===----------------------------------------------------------------------===//
// Methods
//===----------------------------------------------------------------------===//

static nb::list timings(Context &self) {
  moert_context *context = self.open("timings");
  nb::list rows;
  for (size_t i = 0; i < moert_context_num_timings(context); ++i) {
    moert_timing row;
    check(moert_context_timing(context, i, &row));
    rows.append(nb::make_tuple(row.op, row.location, row.phase, row.calls,
                               row.nanoseconds));
  }
  return rows;
}

/// The hosts' names, each with its ranks.
static nb::list hosts(Context &self) {
  moert_context *context = self.open("hosts");
  std::vector<nb::list> ranks(size_t(moert_context_num_hosts(context)));
  for (int32_t rank = 0; rank < self.size(); ++rank)
    ranks[size_t(moert_context_host_of(context, rank))].append(rank);
  nb::list all;
  for (size_t host = 0; host < ranks.size(); ++host)
    all.append(nb::make_tuple(moert_context_host_name(context, int32_t(host)),
                              nb::tuple(ranks[host])));
  return all;
}

void moe::py::bindContext(nb::module_ &module) {
  nb::class_<Context>(module, "Context",
                      "A rank's membership in a group of ranks.")
      .def_prop_ro("rank", &Context::rank)
      .def_prop_ro("size", &Context::size)
      .def_prop_ro("is_closed", &Context::isClosed)
      .def_prop_ro(
          "device",
          [](Context &self) {
            return nb::make_tuple(int(self.device().device_type),
                                  self.device().device_id);
          },
          nb::sig("def device(self) -> tuple[int, int]"))
      .def_prop_ro("device_name",
                   [](Context &self) {
                     return nb::str(
                         moert_context_device_name(self.open("device_name")));
                   })
      .def_prop_ro("target",
                   [](Context &self) {
                     return nb::str(moert_context_target(self.open("target")));
                   })
      .def_prop_ro(
          "hosts", hosts,
          nb::sig("def hosts(self) -> list[tuple[str, tuple[int, ...]]]"))
      .def_prop_ro("failed_rank",
                   [](Context &self) {
                     return moert_context_failed_rank(self.open("failed_rank"));
                   })
      .def("close", &Context::close)
      .def("reset",
           [](Context &self) { self.run("reset", moert_context_reset); })
      .def(
          "fail",
          [](Context &self, int code, const std::string &message) {
            check(moert_context_fail(self.open("fail"),
                                     static_cast<moert_code>(code),
                                     message.c_str()));
          },
          nb::arg("code"), nb::arg("message"))
      .def("check",
           [](Context &self) { self.run("check", moert_context_check); })
      .def(
          "synchronize",
          [](Context &self, nb::object stream) {
            void *handle = streamOf(stream);
            self.run("synchronize", [handle](moert_context *context) {
              return moert_context_synchronize(context, handle);
            });
          },
          nb::arg("stream") = nb::none())
      .def("timings", timings,
           nb::sig("def timings(self) -> list[tuple[str, str, str, int, "
                   "int]]"))
      .def("clear_timings", [](Context &self) {
        moert_context_clear_timings(self.open("clear_timings"));
      });
  module.def("create_from_environment", createFromEnvironment,
             nb::arg("timeout") = nb::none(), nb::arg("reserve") = nb::none(),
             nb::arg("backend") = "host", nb::arg("device") = nb::none());
  module.def("create_with_mpi", createWithMpi, nb::arg("communicator"),
             nb::arg("timeout") = nb::none(), nb::arg("reserve") = nb::none(),
             nb::arg("backend") = "host", nb::arg("device") = nb::none());
  module.def("create_with_allgather", createWithAllGather, nb::arg("rank"),
             nb::arg("size"), nb::arg("allgather"),
             nb::arg("timeout") = nb::none(), nb::arg("reserve") = nb::none(),
             nb::arg("backend") = "host", nb::arg("device") = nb::none(),
             nb::arg("nccl") = nb::none());
  module.def("create_in_threads", createInThreads, nb::arg("size"),
             nb::arg("timeout") = nb::none(), nb::arg("reserve") = nb::none(),
             nb::arg("backend") = "host", nb::arg("device") = nb::none(),
             nb::arg("devices") = std::vector<int>());
}
