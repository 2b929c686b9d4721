// SPDX-License-Identifier: Apache-2.0
// What a verbs port of ours executes for a packet, without the calls into the driver: it receives bursts of a device that
// there is not, and sends them. Counted by callgrind; count.sh builds and runs it, and leaves out this program's own share.
//
//   port_turns plain | extended      sends by ibv_post_send, or by ibv_wr_start and the like
//   port_turns direct | compressed <libmlx5.so.1 of hollow_card.cc>      extended, and receives from the card's rings
#include <dlfcn.h>
#include <valgrind/callgrind.h>

#include <cstdio>
#include <cstring>
#include <memory>

#include "benchmarks/nic/hollow_device.h"
#include "sluice/nic/pair_wire.h"
#include "sluice/nic/software_verbs.h"
#include "sluice/nic/verbs_nic.h"
#include "sluice/packet/packet_pool.h"

namespace sluice::bench {
namespace {

constexpr int kWarmUp = 64, kTurns = 256;

using Complete = void();  // by the card, where there is one

size_t Turn(VerbsNic& port, Complete* complete) {
  if (complete != nullptr) complete();
  Burst burst;
  port.rx(QueueId{0}).Receive(burst);
  return port.tx(QueueId{0}).Send(burst);
}

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return 1;
}

int Run(const VerbsNicOptions& asked, Complete* complete) {
  auto pool = PacketPool::Create({.huge_pages = HugePages::kOff});
  auto device = SoftwareVerbs::Create({}, MakeNullWire());
  if (!pool.ok() || !device.ok()) return Fail(pool.ok() ? device.status() : pool.status());
  VerbsNicOptions options = asked;
  options.device = "soft0";
  options.context = ibv_open_device((*device)->device());
  if (options.context == nullptr) return Fail(absl::UnavailableError("ibv_open_device"));
  size_t packets = 0;
  {
    auto port = OpenVerbsNic(options);
    if (!port.ok()) return Fail(port.status());
    HollowDevice::PutInto(*options.context);
    if (absl::Status started = (*port)->Start({.pool = pool->get()}); !started.ok()) return Fail(started);
    for (int i = 0; i < kWarmUp; ++i) Turn(**port, complete);
    CALLGRIND_TOGGLE_COLLECT;
    for (int i = 0; i < kTurns; ++i) packets += Turn(**port, complete);
    CALLGRIND_TOGGLE_COLLECT;
    HollowDevice::FallSilent();
  }
  ibv_close_device(options.context);
  std::printf("packets %zu\n", packets);
  return 0;
}

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
  const auto mode = [&](const char* name) { return argc > 1 && std::strcmp(argv[1], name) == 0; };
  const bool direct = mode("direct") || mode("compressed");
  sluice::VerbsNicOptions options{.marks = false};
  if (mode("plain")) options.extended_send = sluice::Want::kOff;
  if (!direct) return sluice::bench::Run(options, nullptr);
  void* const card = argc > 2 ? dlopen(argv[2], RTLD_NOW) : nullptr;
  if (card == nullptr) return 1;
  options.direct_receive = sluice::Want::kRequire;
  if (mode("compressed")) options.compressed_completions = sluice::Want::kRequire;
  return sluice::bench::Run(options, reinterpret_cast<void (*)()>(dlsym(card, "hollow_card_complete")));
}
