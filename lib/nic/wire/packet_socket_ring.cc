// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "absl/numeric/bits.h"
#include "absl/strings/str_cat.h"
#include "nic/wire/packet_socket_ring_internal.h"
#include "nic/wire/piece_writer_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

// What the kernel puts in front of a frame in its slot, at most: header, address, and space to align (packet_mmap.rst).
constexpr size_t kSlotOverhead =
    TPACKET_ALIGN(TPACKET_ALIGN(sizeof(tpacket2_hdr)) + sizeof(sockaddr_ll) + 16);
constexpr size_t kBlock = 65536;
constexpr size_t kTagAt = 2 * ETH_ALEN;

template <typename T>
int Set(int fd, int name, const T& value) {
  return setsockopt(fd, SOL_PACKET, name, &value, sizeof(value)) == 0 ? 0 : errno;
}

std::atomic_ref<uint32_t> Status(tpacket2_hdr& header) { return std::atomic_ref<uint32_t>(header.tp_status); }

bool Write(PieceWriter& writer, const tpacket2_hdr& header) {
  const auto* frame = reinterpret_cast<const uint8_t*>(&header) + header.tp_mac;
  if ((header.tp_status & TP_STATUS_VLAN_VALID) == 0) return writer.Write(frame, header.tp_snaplen);

  // The tag that the kernel took out, in its place again (IEEE 802.1Q, 9.3).
  const bool says = (header.tp_status & TP_STATUS_VLAN_TPID_VALID) != 0;
  const std::array<uint16_t, 2> tag = {htons(says ? header.tp_vlan_tpid : ETH_P_8021Q),
                                       htons(header.tp_vlan_tci)};
  return writer.Write(frame, kTagAt) &&
         writer.Write(reinterpret_cast<const uint8_t*>(tag.data()), sizeof(tag)) &&
         writer.Write(frame + kTagAt, header.tp_snaplen - kTagAt);
}

}  // namespace

absl::StatusOr<std::unique_ptr<PacketSocketRing>> PacketSocketRing::Open(
    const PacketSocketWireOptions& options, uint32_t index, uint32_t slots, PacketPool& pool) {
  Problem problem{.device = absl::StrCat("packet socket ", options.interface),
                  .stage = "open socket",
                  .remedy = "run as root or with CAP_NET_RAW in the interface's network namespace"};
  // Protocol 0: nothing is heard before the ring is there and the interface chosen.
  UniqueFd fd(socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  problem.error_number = errno;
  if (!fd.valid()) return ErrorStatus(problem);
  std::unique_ptr<PacketSocketRing> ring(new PacketSocketRing(std::move(fd), pool));
  problem.error_number = ring->Configure(options, index, slots);
  if (problem.error_number == 0) return ring;
  problem.stage = absl::StrCat("set up a receive ring of ", slots);
  problem.remedy = "use a smaller ring or max_frame, and Linux 4.20 or later";
  return ErrorStatus(problem);
}

int PacketSocketRing::Configure(const PacketSocketWireOptions& options, uint32_t index, uint32_t slots) {
  if (const int error = Set(fd_.get(), PACKET_VERSION, int{TPACKET_V2})) return error;
  if (const int error = Set(fd_.get(), PACKET_IGNORE_OUTGOING, 1)) return error;
  if (const int error = Map(options.max_frame, slots)) return error;

  packet_mreq membership{};
  membership.mr_ifindex = static_cast<int>(index);
  membership.mr_type = PACKET_MR_PROMISC;
  if (const int error = options.promiscuous ? Set(fd_.get(), PACKET_ADD_MEMBERSHIP, membership) : 0)
    return error;

  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = static_cast<int>(index);
  return bind(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 ? 0 : errno;
}

// Slots of a power of two, in blocks of a power of two: they then lie one behind the other.
int PacketSocketRing::Map(uint32_t max_frame, uint32_t slots) {
  slot_size_ = absl::bit_ceil(kSlotOverhead + max_frame);
  const size_t block = std::max(slot_size_, std::min(kBlock, slot_size_ * slots));
  tpacket_req request{};
  request.tp_frame_size = static_cast<unsigned>(slot_size_);
  request.tp_frame_nr = static_cast<unsigned>(std::max<size_t>(slots, block / slot_size_));
  request.tp_block_size = static_cast<unsigned>(block);
  request.tp_block_nr = static_cast<unsigned>(request.tp_frame_nr * slot_size_ / block);
  if (const int error = Set(fd_.get(), PACKET_RX_RING, request)) return error;

  const size_t bytes = slot_size_ * request.tp_frame_nr;
  void* const mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd_.get(), 0);
  if (mapped == MAP_FAILED) return errno;
  ring_ = static_cast<uint8_t*>(mapped);
  ring_bytes_ = bytes;
  mask_ = request.tp_frame_nr - 1;
  return 0;
}

PacketSocketRing::~PacketSocketRing() {
  if (ring_ != nullptr) munmap(ring_, ring_bytes_);
}

size_t PacketSocketRing::Receive(Burst& burst) {
  // An interface that went down leaves an error on the socket, and a sleeper would find no rest from it.
  if (std::exchange(armed_, false)) {
    int error = 0;
    socklen_t length = sizeof(error);
    getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &length);
  }
  size_t got = 0;
  for (; burst.room() != 0 && Waiting(); ++next_) {
    tpacket2_hdr& header = slot(next_ & mask_);
    if (header.tp_len > header.tp_snaplen) {
      drops_.Add(DropReason::kTooLong);
    } else if (PacketPtr packet = Take(header)) {
      burst.Push(std::move(packet));
      ++got;
    } else {
      break;  // the pool is dry: the frame waits in its slot
    }
    Status(header).store(TP_STATUS_KERNEL, std::memory_order_release);
  }
  return got;
}

// Acquire: the rest of the slot was written before its status.
bool PacketSocketRing::Waiting() {
  return (Status(slot(next_ & mask_)).load(std::memory_order_acquire) & TP_STATUS_USER) != 0;
}

PacketPtr PacketSocketRing::Take(const tpacket2_hdr& header) {
  PieceWriter writer(pool_);
  if (!Write(writer, header)) return nullptr;
  PacketPtr packet = writer.Finish();
  if ((header.tp_status & TP_STATUS_CSUMNOTREADY) != 0) {
    packet->offload.l4_checksum = true;
    packet->l4_checksum = ChecksumVerdict::kPartial;
  } else if ((header.tp_status & TP_STATUS_CSUM_VALID) != 0) {
    packet->l4_checksum = ChecksumVerdict::kGood;
  }
  return packet;
}

// The kernel makes the socket readable for as long as a slot waits: nothing needs to be asked for.
bool PacketSocketRing::Arm() {
  armed_ = true;
  return !Waiting();
}

DropCounts PacketSocketRing::drops() const {
  DropCounts drops = drops_.Read();
  tpacket_stats stats{};
  socklen_t length = sizeof(stats);
  // Reading sets the kernel's count to zero.
  if (getsockopt(fd_.get(), SOL_PACKET, PACKET_STATISTICS, &stats, &length) == 0)
    overflowed_ += stats.tp_drops;
  drops[DropReason::kReceiveRingFull] += overflowed_;
  return drops;
}

}  // namespace sluice
