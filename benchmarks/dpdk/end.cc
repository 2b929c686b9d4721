// SPDX-License-Identifier: Apache-2.0
#include "benchmarks/dpdk/end.h"

#include <rte_ethdev.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "benchmarks/dpdk/eal.h"

namespace sluice::bench::dpdk {
namespace {

bool ParseOne(absl::string_view argument, EndOptions& options) {
  const auto is = [&argument](absl::string_view name) { return absl::ConsumePrefix(&argument, name); };
  if (argument == "--busy") return options.busy = true;
  if (argument == "--tso") return options.tso = true;
  if (is("--mode=")) return options.mode = std::string(argument), true;
  if (is("--vdev=")) return options.vdevs.emplace_back(argument), true;
  if (is("--huge-dir=")) return options.huge_dir = std::string(argument), true;
  if (is("--cpu=")) return absl::SimpleAtoi(argument, &options.cpu);
  if (is("--length=")) return absl::SimpleAtoi(argument, &options.length);
  if (is("--under-way=")) return absl::SimpleAtoi(argument, &options.under_way);
  if (is("--room=")) return absl::SimpleAtoi(argument, &options.room);
  return is("--seconds=") && absl::SimpleAtod(argument, &options.seconds);
}

absl::Status StartEalOf(const EndOptions& options) {
  std::vector<std::string> arguments = {absl::StrCat("--file-prefix=sluice", getpid()),
                                        "--force-max-simd-bitwidth=512"};
  for (const std::string& vdev : options.vdevs) arguments.insert(arguments.end(), {"--vdev", vdev});
  if (options.huge_dir.empty()) {
    arguments.insert(arguments.end(), {"--no-huge", "--no-shconf"});
  } else {
    // Memory that the other end can map: files, few of them.
    arguments.insert(arguments.end(),
                     {absl::StrCat("--huge-dir=", options.huge_dir), "--single-file-segments"});
  }
  return StartEal(options.cpu, arguments);
}

}  // namespace

absl::StatusOr<rte_mempool*> StartEnd(const EndOptions& options) {
  if (absl::Status status = StartEalOf(options); !status.ok()) return status;
  constexpr uint32_t kMostBytes = 128 << 20;
  absl::StatusOr<rte_mempool*> buffers =
      MakeBuffers("buffers", std::min(16384u, kMostBytes / options.room), options.room);
  if (!buffers.ok()) return buffers.status();
  for (uint16_t port = 0; port < options.vdevs.size(); ++port) {
    if (absl::Status status = StartPort(port, *buffers, options.tso); !status.ok()) return status;
  }
  return buffers;
}

bool LinkUp(uint16_t port) {
  rte_eth_link link{};
  return rte_eth_link_get_nowait(port, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

int EndMain(int argc, char** argv, absl::Status (*run)(const EndOptions&)) {
  EndOptions options;
  for (int i = 1; i < argc; ++i) {
    if (!ParseOne(argv[i], options)) return std::fprintf(stderr, "bad option %s\n", argv[i]), 2;
  }
  const absl::Status status = run(options);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  // Not rte_eal_cleanup: the other end may be in the middle of our memory.
  std::fflush(stdout);
  _exit(status.ok() ? 0 : 1);
}

}  // namespace sluice::bench::dpdk
