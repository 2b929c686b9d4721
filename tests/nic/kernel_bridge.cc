// SPDX-License-Identifier: Apache-2.0
#include "tests/nic/kernel_bridge.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "absl/strings/str_cat.h"
#include "sluice/nic/packet_socket_wire.h"
#include "sluice/packet/checksum.h"
#include "sluice/packet/parse.h"
#include "tests/nic/forwarding_wire.h"

namespace sluice::testing {
namespace {

constexpr const char* kWrongFrames =
    "IpInHdrErrors IpInTruncatedPkts IpExtInCsumErrors IcmpInCsumErrors TcpInErrs TcpInCsumErrors "
    "UdpInErrors "
    "UdpInCsumErrors";

constexpr const char* kReceiveStream = R"(
import hashlib, socket
listener = socket.create_server(('', 5001))
print('ready', flush=True)
stream = listener.accept()[0]
count, digest = 0, hashlib.sha256()
while data := stream.recv(1 << 20):
    count += len(data)
    digest.update(data)
print(count, digest.hexdigest())
)";

constexpr const char* kSendStream = R"(
import hashlib, os, socket, sys
data = os.urandom(int(sys.argv[2]))
stream = socket.create_connection((sys.argv[1], 5001))
stream.sendall(data)
stream.close()
print(len(data), hashlib.sha256(data).hexdigest())
)";

constexpr const char* kReceiveDatagrams = R"(
import hashlib, socket, sys
SO_RCVBUFFORCE = 33
wanted = int(sys.argv[1])
receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 25)
receiver.settimeout(2)
receiver.bind(('', 5001))
print('ready', flush=True)
count, digest = 0, hashlib.sha256()
try:
    while count < wanted:
        data = receiver.recv(65536)
        assert len(data) == 1400
        digest.update(data)
        count += 1
except TimeoutError:
    pass
print(count, digest.hexdigest())
)";

constexpr const char* kSendDatagrams = R"(
import hashlib, os, socket, sys
UDP_SEGMENT = 103
sends, datagrams = int(sys.argv[1]), int(sys.argv[2])
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1400)
sender.connect(('10.0.0.2', 5001))
digest = hashlib.sha256()
for _ in range(sends):
    data = os.urandom(datagrams * 1400)
    sender.send(data)
    digest.update(data)
print(sends * datagrams, digest.hexdigest())
)";

std::string Python(const std::string& program, const std::string& arguments) {
  return absl::StrCat("python3 -c \"", program, "\" ", arguments);
}

Transfer Carry(const KernelBridge& bridge, const std::string& receive, const std::string& send) {
  Process receiver = bridge.right.Start(receive);
  if (!receiver.WaitForOutput("ready\n", absl::Seconds(10))) throw std::runtime_error(receiver.Output());
  Transfer transfer;
  transfer.sent = bridge.left.MustRun(send);
  receiver.Wait(absl::Seconds(15));
  transfer.received = receiver.Output().substr(std::string("ready\n").size());
  return transfer;
}

template <typename T>
T Take(absl::StatusOr<T> made) {
  if (!made.ok()) throw std::runtime_error(made.status().ToString());
  return *std::move(made);
}

uint64_t Sum(const std::string& numbers) {
  std::istringstream in(numbers);
  uint64_t sum = 0;
  for (uint64_t number; in >> number;) sum += number;
  return sum;
}

// Spoils one bit of the innermost L4 checksum of each hundredth long frame that goes out.
class MarringWire final : public ForwardingWire {
 public:
  using ForwardingWire::ForwardingWire;

  size_t Transmit(uint16_t lane, Burst& burst) override {
    for (Packet* packet : burst) {
      if (packet->length() < 1000 || Parse(*packet) != ParseVerdict::kOk || ++long_frames_ % 100 != 0)
        continue;
      const LayerOffsets& at = Select(packet->layers(), LayerSet::kInnermost);
      packet->data()[at.l4 + ChecksumOffset(at.l4_type)] ^= 1;
    }
    return ForwardingWire::Transmit(lane, burst);
  }

 private:
  uint64_t long_frames_ = 0;
};

}  // namespace

std::unique_ptr<Wire> Marring(std::unique_ptr<Wire> wire) {
  return std::make_unique<MarringWire>(std::move(wire));
}

KernelBridge::KernelBridge(const BridgeOptions& options)
    : left(Namespace::Make("left")),
      middle(Namespace::Make("middle")),
      right(Namespace::Make("right")),
      right_interface(options.right_is_tap ? "tap0" : "eth0"),
      pool_(Take(PacketPool::Create({.packets = 8192, .huge_pages = HugePages::kOff}))) {
  if (!options.right_is_tap) veth_ = std::make_unique<VethPair>(middle, "port0", right, "eth0");
  left_nic_ = Started(ModelOn(LeftWire(options.left_tap), options.hardware));
  right_nic_ = RightNic(options);
  left.MustRun(options.setup_left);
  right.MustRun(options.setup_right.empty() ? "ip addr add 10.0.0.2/24 dev " + right_interface
                                            : options.setup_right);
  // By itself a kernel sends a millisecond's worth at once, which a slow machine makes short.
  for (const Namespace* kernel : {&left, &right}) {
    kernel->MustRun("echo 32 >/proc/sys/net/ipv4/tcp_min_tso_segs");
  }
  left.MustRun("ip link set tap0 up");
  right.MustRun("ip link set " + right_interface + " up");
  for (Nic* nic : {left_nic_.get(), right_nic_.get()}) {
    while (nic->link() == LinkState::kDown) nic->TakeEvents();
  }
  pump_ = std::thread(
      [this, to_right = options.to_right, to_left = options.to_left] { Pump(to_right, to_left); });
}

KernelBridge::~KernelBridge() {
  stop_ = true;
  pump_.join();
}

std::unique_ptr<Nic> KernelBridge::ModelOn(std::unique_ptr<Wire> wire, const ModelHardware& hardware) const {
  std::string name = wire->traits().name;
  return Take(ModelNic::Open({.name = std::move(name), .hardware = hardware}, std::move(wire)));
}

std::unique_ptr<Nic> KernelBridge::Started(std::unique_ptr<Nic> nic) const {
  const uint32_t ring = std::min(QueueOptions().tx_ring, nic->capabilities().max_ring_size);
  const absl::Status started = nic->Start({.rx_ring = ring, .tx_ring = ring, .pool = pool_.get()});
  if (!started.ok()) throw std::runtime_error(started.ToString());
  return nic;
}

std::unique_ptr<Nic> KernelBridge::RightNic(const BridgeOptions& options) const {
  if (!options.open_right) return Started(ModelOn(RightWire(options), options.hardware));
  const NamespaceScope inside(middle);
  return Started(options.open_right());
}

std::unique_ptr<Wire> KernelBridge::LeftWire(TapWireOptions options) const {
  options.interface = "tap0";
  options.netns = left.path();
  return Take(MakeTapWire(options));
}

std::unique_ptr<Wire> KernelBridge::RightWire(const BridgeOptions& options) const {
  TapWireOptions tap = options.right_tap;
  tap.interface = "tap0";
  tap.netns = right.path();
  auto wire =
      Take(options.right_is_tap ? MakeTapWire(tap)
                                : MakePacketSocketWire({.interface = "port0", .netns = middle.path()}));
  return options.around_right ? options.around_right(std::move(wire)) : std::move(wire);
}

uint64_t KernelBridge::Counter(const std::string& names) const {
  const std::string command = "nstat -asz " + names + " | awk '!/^#/ {print $2}'";
  return Sum(left.MustRun(command)) + Sum(right.MustRun(command));
}

uint64_t KernelBridge::WrongFrames() const { return Counter(kWrongFrames); }

uint64_t KernelBridge::MeanFrameAtRight() const {
  const std::string command =
      "ip -s link show " + right_interface + " | awk 'was {print int($1 / $2); exit} /RX:/ {was = 1}'";
  return Sum(right.MustRun(command));
}

std::string KernelBridge::Drops() const {
  DropCounts drops = left_nic_->drops();
  drops += right_nic_->drops();
  std::string text;
  for (size_t i = 0; i < kDropReasonCount; ++i) {
    const auto reason = static_cast<DropReason>(i);
    if (drops[reason] != 0) absl::StrAppend(&text, Name(reason), " ", drops[reason], "; ");
  }
  return text;
}

void KernelBridge::CountUncut(const Burst& burst) {
  for (const Packet* packet : burst) {
    if (!packet->offload.segment) continue;
    ++uncut_;
    longest_uncut_ = std::max<uint32_t>(longest_uncut_, packet->length());
  }
}

void KernelBridge::Move(Nic& from, Nic& to, const Stage& stage) {
  TxQueue& tx = to.tx(QueueId(0));
  Burst in, out;
  from.rx(QueueId(0)).Receive(in);
  if (&from == left_nic_.get()) CountUncut(in);
  do {
    if (stage) {
      stage(in, out);
    } else {
      std::swap(in, out);
    }
    while (!out.empty() && !stop_) tx.Send(out);
  } while (!in.empty() && !stop_);
  tx.Reclaim();
}

void KernelBridge::Pump(const Stage& to_right, const Stage& to_left) {
  while (!stop_) {
    Move(*left_nic_, *right_nic_, to_right);
    Move(*right_nic_, *left_nic_, to_left);
  }
}

Transfer SendStream(const KernelBridge& bridge, size_t bytes, const std::string& to) {
  return Carry(bridge, Python(kReceiveStream, ""), Python(kSendStream, absl::StrCat(to, " ", bytes)));
}

// A kernel that has to ask for the address first keeps few datagrams meanwhile.
Transfer SendDatagrams(const KernelBridge& bridge, int sends, int datagrams) {
  bridge.left.MustRun("ping -c 1 -W 5 10.0.0.2");
  return Carry(bridge, Python(kReceiveDatagrams, absl::StrCat(sends * datagrams)),
               Python(kSendDatagrams, absl::StrCat(sends, " ", datagrams)));
}

void CheckWhole(const KernelBridge& bridge, const Transfer& transfer) {
  CHECK(transfer.received == transfer.sent);
  CHECK(bridge.WrongFrames() == 0);
  CHECK(bridge.Drops() == "");
}

}  // namespace sluice::testing
