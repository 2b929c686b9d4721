// SPDX-License-Identifier: Apache-2.0
#include "sluice/nic/tap_wire.h"

#include <poll.h>
#include <sys/epoll.h>

#include <cerrno>
#include <deque>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "nic/wire/interface_wire_internal.h"
#include "nic/wire/tap_receiver_internal.h"
#include "sluice/base/counters.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

constexpr uint16_t kUsoSegments = 64;  // UDP_MAX_SEGMENTS of Linux before 6.9
constexpr uint32_t kLongest = 65535;

struct TapSession {
  TapSession(TapDevice opened, PacketPool& pool, uint32_t longest, uint16_t lanes)
      : device(std::move(opened)), receiver(device, pool, longest), lane_drops(lanes) {}

  DropCounts drops() const {
    DropCounts drops = receive_drops.Read();
    for (const DropCounters& lane : lane_drops) drops += lane.Read();
    return drops;
  }

  TapDevice device;
  TapReceiver receiver;
  // An epoll set with the device: a deleted one, which is always readable, can be taken out.
  UniqueFd sleeper;
  std::unique_ptr<InterfaceLink> link;
  DropCounters receive_drops;
  std::deque<DropCounters> lane_drops;
};

class TapWire final : public InterfaceWire<TapSession> {
 public:
  explicit TapWire(const TapWireOptions& options)
      : InterfaceWire({.name = absl::StrCat("tap ", options.interface),
                       .max_frame = options.max_frame,
                       .carries_fragments = true},
                      options.netns),
        options_(options) {}

  std::vector<ModeInForce> modes() const override;

  size_t Transmit(uint16_t lane, Burst& burst) override;
  size_t Reclaim(uint16_t) override { return 0; }
  size_t Receive(Burst& burst) override;
  bool Arm() override;
  int fd() const override { return session() == nullptr ? -1 : session()->sleeper.get(); }

 private:
  absl::StatusOr<std::unique_ptr<TapSession>> MakeSession(const WireOptions& options) override;
  void StopWaking();

  const TapWireOptions options_;
};

absl::StatusOr<std::unique_ptr<TapSession>> TapWire::MakeSession(const WireOptions& options) {
  absl::StatusOr<TapDevice> device = TapDevice::Open(options_);
  if (!device.ok()) return device.status();
  const TapOffloads offloads = device->offloads();
  const uint32_t longest = offloads.tso || offloads.uso ? kLongest : options_.max_frame;
  auto session = std::make_unique<TapSession>(*std::move(device), *options.pool, longest, options.lanes);
  auto link = InterfaceLink::Find(traits_.name, options_.interface);
  if (!link.ok()) return link.status();
  session->link = *std::move(link);
  session->sleeper = UniqueFd(epoll_create1(EPOLL_CLOEXEC));
  epoll_event event{};
  event.events = EPOLLIN;
  if (epoll_ctl(session->sleeper.get(), EPOLL_CTL_ADD, session->device.fd(), &event) != 0) {
    return ErrorStatus({.device = traits_.name,
                        .stage = "open descriptors",
                        .error_number = errno,
                        .remedy = "raise the limit of open files"});
  }
  traits_.carries_l4_checksum = offloads.checksums;
  traits_.carries_tso = offloads.tso;
  traits_.uso_segments = offloads.uso ? kUsoSegments : uint16_t{0};
  return session;
}

std::vector<ModeInForce> TapWire::modes() const {
  const std::lock_guard<std::mutex> lock(mutex());
  return session() == nullptr ? std::vector<ModeInForce>{} : ModesOf(options_, session()->device.offloads());
}

size_t TapWire::Transmit(uint16_t lane, Burst& burst) {
  if (link() == LinkState::kDown) return 0;
  size_t taken = 0;
  for (; taken < burst.size(); ++taken) {
    DropReason reason;
    const TapResult result = session()->device.Write(burst[taken], reason);
    if (result == TapResult::kDropped) session()->lane_drops[lane].Add(reason);
    if (result == TapResult::kGone) StopWaking();
    if (result == TapResult::kGone || result == TapResult::kNotNow) break;
  }
  PacketPool::Put(burst.begin(), taken);
  burst.DropFront(taken);
  return taken;
}

size_t TapWire::Receive(Burst& burst) {
  size_t got = 0;
  while (burst.room() != 0 && !lost()) {
    PacketPtr packet;
    DropReason reason;
    const TapResult result = session()->receiver.Read(packet, reason);
    if (result == TapResult::kNotNow) break;
    if (result == TapResult::kGone) StopWaking();
    if (result == TapResult::kDropped) session()->receive_drops.Add(reason);
    if (result != TapResult::kDone) continue;
    burst.Push(std::move(packet));
    ++got;
  }
  session()->receiver.Rest();
  return got;
}

// What waits keeps fd() readable: nothing needs to be asked for.
bool TapWire::Arm() {
  pollfd sleeper{session()->sleeper.get(), POLLIN, 0};
  return poll(&sleeper, 1, 0) == 0;
}

// The interface was deleted. Its descriptor is readable from now on, with nothing to read.
void TapWire::StopWaking() {
  if (Lose()) epoll_ctl(session()->sleeper.get(), EPOLL_CTL_DEL, session()->device.fd(), nullptr);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Wire>> MakeTapWire(const TapWireOptions& options) {
  const std::string device = absl::StrCat("tap ", options.interface);
  if (absl::Status checked = CheckInterfaceOptions(device, options.interface, options.max_frame);
      !checked.ok())
    return checked;
  const bool cuts = options.tso == Want::kRequire || options.uso == Want::kRequire;
  if (options.checksums == Want::kOff && cuts)
    return RefuseOption(device, "tso or uso required, checksums off", "set checksums, or the others to kOff");
  return std::make_unique<TapWire>(options);
}

}  // namespace sluice
