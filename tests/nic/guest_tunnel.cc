// SPDX-License-Identifier: Apache-2.0
#include "tests/nic/guest_tunnel.h"

#include <poll.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "absl/strings/str_cat.h"
#include "sluice/nic/packet_socket_wire.h"
#include "sluice/nic/tap_wire.h"
#include "sluice/packet/headers.h"
#include "sluice/packet/parse.h"
#include "sluice/packet/segment.h"

namespace sluice::testing {
namespace {

constexpr uint32_t kMtu = 1500;         // between here and the guest
constexpr uint32_t kInnerMtu = 1400;    // of the sender: what is cut again has another size
constexpr uint32_t kMostHeaders = 128;  // that are put in front of a joined packet, which has 16-bit lengths
constexpr int kSleepMilliseconds = 10;  // for as long nobody notices that the thread is to end

template <typename T>
T Must(absl::StatusOr<T> made) {
  if (!made.ok()) throw std::runtime_error(std::string(made.status().message()));
  return *std::move(made);
}

absl::StatusOr<std::unique_ptr<Wire>> SpoiledWire(const std::string& interface, const Namespace& host,
                                                  const SpoilPlan& plan) {
  auto wire = MakePacketSocketWire({.interface = interface, .netns = host.path()});
  if (!wire.ok()) return wire.status();
  return std::make_unique<SpoilingWire>(*std::move(wire), plan);
}

}  // namespace

GuestTunnel::GuestTunnel(const Namespace& sender, const Namespace& host, const std::string& guest_tap,
                         const GuestTunnelOptions& options)
    : options_(options),
      pool_(Must(PacketPool::Create({.packets = 8192, .huge_pages = HugePages::kOff}))),
      coalescer_(Must(Coalescer::Create({.max_bytes = 65535 - kMostHeaders, .udp = false}))),
      sender_(Open("sender", MakeTapWire({.interface = "tap0",
                                          .netns = sender.path(),
                                          .checksums = Want::kOff,
                                          .tso = Want::kOff,
                                          .uso = Want::kOff}))),
      guest_(Open("guest", SpoiledWire(guest_tap, host, options.spoil))) {
  Parse(options_.headers, static_cast<uint32_t>(options_.headers.size()), layers_);
  sender.MustRun(absl::StrCat("ip link set tap0 mtu ", kInnerMtu,
                              " up; echo 0 > /proc/sys/net/ipv6/conf/tap0/disable_ipv6; "
                              "ip addr add ",
                              options_.address, " dev tap0"));
  for (Nic* nic : {sender_.get(), guest_.get()}) {
    while (nic->link() == LinkState::kDown) nic->TakeEvents();
  }
  thread_ = std::thread([this] { Run(); });
}

GuestTunnel::~GuestTunnel() {
  stop_ = true;
  thread_.join();
}

std::unique_ptr<Nic> GuestTunnel::Open(const std::string& name,
                                       absl::StatusOr<std::unique_ptr<Wire>> wire) const {
  const bool tagged = options_.vlan_tci != 0 && name == "guest";
  auto nic = Must(ModelNic::Open({.name = name, .strip_vlan = tagged}, Must(std::move(wire))));
  const absl::Status started = nic->Start({.pool = pool_.get()});
  if (!started.ok()) throw std::runtime_error(std::string(started.message()));
  return nic;
}

void GuestTunnel::Run() {
  while (!stop_) {
    const size_t moved = ToGuest() + FromGuest();
    if (moved == 0) Sleep();
  }
}

// Nothing waits for more: a turn's arrivals are joined, and go.
size_t GuestTunnel::ToGuest() {
  Burst arrived, ready;
  const size_t got = sender_->rx(QueueId(0)).Receive(arrived);
  for (size_t i = 0; i < arrived.size(); ++i) Parse(arrived[i]);
  while (!arrived.empty() || coalescer_->waiting() != 0) {
    coalescer_->Add(arrived, 0, ready);
    if (arrived.empty()) coalescer_->FlushAll(ready);
    for (Packet* packet : ready) Wrap(*packet);
    SendAll(*guest_, ready);
  }
  return got;
}

size_t GuestTunnel::FromGuest() {
  Burst arrived, inside;
  const size_t got = guest_->rx(QueueId(0)).Receive(arrived);
  while (!arrived.empty()) {
    PacketPtr packet = arrived.PopFront();
    if (Unwrap(*packet)) inside.Push(std::move(packet));
  }
  SendAll(*sender_, inside);
  return got;
}

// What was joined is cut to what the underlay carries, which is not what it was joined of.
void GuestTunnel::Wrap(Packet& packet) const {
  const bool joined = packet.coalesced_segments() > 1;
  packet.offload = {};
  if (!options_.headers.empty()) PutHeaders(packet);
  if (options_.vlan_tci != 0) {
    packet.vlan_tci = options_.vlan_tci;
    packet.offload.insert_vlan = true;
  }
  if (!joined) return;
  Parse(packet);
  packet.offload.segment = packet.offload.l4_checksum = packet.offload.l3_checksum = true;
  packet.offload.mss = PayloadForMtu(kMtu, HeadersWithinMtu(packet.layers()));
}

void GuestTunnel::PutHeaders(Packet& packet) const {
  uint8_t* const to = packet.Prepend(static_cast<uint32_t>(options_.headers.size()));
  std::copy(options_.headers.begin(), options_.headers.end(), to);
  const LayerOffsets& at = layers_.outer;
  if (at.l3_type == L3Type::kIpv4) {
    HeaderAt<Ipv4Header>(to, at.l3)->total_length = static_cast<uint16_t>(packet.length() - at.l3);
  } else {
    HeaderAt<Ipv6Header>(to, at.l3)->payload_length =
        static_cast<uint16_t>(packet.length() - at.l3 - sizeof(Ipv6Header));
  }
  HeaderAt<UdpHeader>(to, at.l4)->length = static_cast<uint16_t>(packet.length() - at.l4);
  packet.offload.outer_checksum = true;
}

// False for what the guest sent beside the tunnel, as its neighbour discovery does.
bool GuestTunnel::Unwrap(Packet& packet) const {
  if (options_.headers.empty())
    return packet.vlan_stripped && packet.vlan_tci == (options_.vlan_tci & 0x0fff);
  if (Parse(packet) != ParseVerdict::kOk || packet.layers().tunnel != layers_.tunnel) return false;
  packet.TrimFront(packet.layers().inner_l2);
  return true;
}

void GuestTunnel::SendAll(Nic& nic, Burst& burst) {
  while (!burst.empty() && !stop_) nic.tx(QueueId(0)).Send(burst);
  nic.tx(QueueId(0)).Reclaim();
}

void GuestTunnel::Sleep() {
  pollfd waited[2];
  size_t n = 0;
  for (Nic* nic : {sender_.get(), guest_.get()}) {
    if (!nic->rx(QueueId(0)).Arm()) return;
    waited[n++] = {.fd = nic->rx(QueueId(0)).fd(), .events = POLLIN, .revents = 0};
  }
  poll(waited, n, kSleepMilliseconds);
}

DropCounts GuestTunnel::drops() const {
  DropCounts drops = sender_->drops();
  return drops += guest_->drops();
}

}  // namespace sluice::testing
