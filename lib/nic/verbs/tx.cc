// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/time/clock.h"
#include "nic/verbs/tx_internal.h"
#include "sluice/packet/packet_pool.h"
#include "sluice/packet/parse.h"

namespace sluice {
namespace {

constexpr uint32_t kMostPieces = 8;  // each takes room in every entry of the ring; more are joined by a copy
constexpr absl::Duration kDrainStep = absl::Milliseconds(1);
constexpr int kDrainSteps = 50;  // at most, and ...
constexpr int kIdleSteps = 5;    // ... in which nothing completed

}  // namespace

VerbsTxQueue::VerbsTxQueue(QueueId id, const VerbsDevice& device, VerbsLink& link, uint32_t max_inline)
    : id_(id),
      device_(device),
      link_(link),
      max_inline_(max_inline),
      max_pieces_(std::min(device.max_pieces(), kMostPieces)),
      pieces_(Burst::kCapacity * max_pieces_) {
  for (size_t i = 0; i < requests_.size(); ++i) requests_[i].opcode = IBV_WR_SEND;
}

absl::Status VerbsTxQueue::Open(const QueueOptions& options, const ibv_mr& region) {
  absl::StatusOr<VerbsSender> made =
      MakeSender(device_, {.ring = options.tx_ring, .pieces = max_pieces_, .max_inline = max_inline_});
  if (!made.ok()) return made.status();
  if (const int error = MakeReady(device_, *made->pair, true); error != 0) {
    return device_.Failed(error, "start", "", "the queue pair does not get ready to send",
                          "see the kernel's log");
  }
  sender_ = *std::move(made);
  posted_.emplace(options.tx_ring);
  pool_ = options.pool;
  region_key_ = region.lkey;
  egress_.emplace(FinisherOptions{
      .max_frame = device_.able().max_frame, .taker = this, .pool = options.pool, .reads_only_pool = true});
  broken_ = false;
  return absl::OkStatus();
}

void VerbsTxQueue::Close() {
  if (sender_.pair == nullptr) return;
  Drain();
  egress_->GiveUp(DropReason::kStopped, *this);
  sender_.Destroy();
  LoseAll(DropReason::kStopped);
  posted_.reset();
}

void VerbsTxQueue::Drain() {
  int idle = 0;
  for (int step = 0; step < kDrainSteps && idle < kIdleSteps; ++step) {
    idle = Reclaim() > 0 ? 0 : idle + 1;
    if (posted_->count() == 0 || link_.last_known() == LinkState::kDown) return;
    absl::SleepFor(kDrainStep);
  }
}

size_t VerbsTxQueue::Send(Burst& burst) {
  if (sender_.pair == nullptr || burst.empty()) return 0;
  if (LinkIsDown()) return DropAll(burst);
  Reap();
  if (AnyOdd(burst)) [[unlikely]]
    return egress_->Send(burst, *this);

  const size_t offered = burst.size();
  const uint64_t bytes = Stage(burst);
  CountSent(offered - burst.size(), bytes);
  return offered - burst.size();
}

// Whether it came back is asked before anything is lost to it.
bool VerbsTxQueue::LinkIsDown() {
  return link_.last_known() == LinkState::kDown && link_.Refresh() == LinkState::kDown;
}

size_t VerbsTxQueue::DropAll(Burst& burst) {
  const size_t taken = burst.size();
  drops_.Add(DropReason::kLinkDown, taken);
  burst.Clear();
  egress_->GiveUp(DropReason::kLinkDown, *this);
  return taken;
}

// One pass over the first lines; who asks for something is looked at more closely.
bool VerbsTxQueue::AnyOdd(const Burst& burst) const {
  FirstLines lines = egress_->Look();
  bool in_reach = true;
  for (const Packet* packet : burst) {
    lines.Add(*packet);
    in_reach &= egress_->InReach(*packet);
  }
  if (in_reach && !egress_->AnyOdd(lines)) return false;
  return egress_->waiting() ||
         !std::all_of(burst.begin(), burst.end(), [this](const Packet* packet) { return Takes(*packet); });
}

bool VerbsTxQueue::Takes(const Packet& packet) const {
  if (packet.length() < FirstLines::kShortest || packet.length() > device_.able().max_frame) return false;
  return LiesInReach(packet) && (!packet.offload.any() || CardFinishes(packet));
}

bool VerbsTxQueue::LiesInReach(const Packet& packet) const {
  uint32_t pieces = 0;
  for (const Packet* piece = &packet; piece != nullptr; piece = piece->next()) {
    if (!egress_->InReach(*piece) || ++pieces > max_pieces_) return false;
  }
  return true;
}

// IBV_SEND_IP_CSUM fills the checksums of IPv4 and of TCP or UDP, of frames in no tunnel (ibv_post_send(3)).
bool VerbsTxQueue::CardFinishes(const Packet& packet) const {
  const OffloadRequest& asked = packet.offload;
  if (!device_.able().send_l4_checksum || !asked.l4_checksum) return false;
  if (asked.outer_checksum || asked.segment || asked.insert_vlan) return false;
  Layers layers;
  const absl::Span<const uint8_t> head(packet.data(), packet.head_length());
  if (Parse(head, packet.length(), layers) != ParseVerdict::kOk || layers.tunnel != TunnelType::kNone)
    return false;
  return layers.outer.l4_type == L4Type::kTcp || layers.outer.l4_type == L4Type::kUdp;
}

std::optional<DropReason> VerbsTxQueue::Put(Burst& frames) {
  if (LinkIsDown()) return DropReason::kLinkDown;
  if (posted_->room() < frames.size()) Reap();
  Stage(frames);
  return std::nullopt;
}

// Gives the card as many as there is room for, with one doorbell; returns the bytes of those.
uint64_t VerbsTxQueue::Stage(Burst& frames) {
  const size_t count = std::min<size_t>(frames.size(), posted_->room());
  if (count == 0) return 0;
  size_t piece = 0;
  for (size_t i = 0; i < count; ++i) {
    ibv_send_wr& request = requests_[i];
    request.wr_id = posted_->next();
    request.next = &request + 1;
    piece += Describe(frames[i], request, piece);
    posted_->Push(&frames[i]);
  }
  requests_[count - 1].next = nullptr;
  requests_[count - 1].send_flags |= IBV_SEND_SIGNALED;
  const size_t posted = Post(count);
  uint64_t bytes = 0;
  for (size_t i = 0; i < posted; ++i) bytes += frames[i].length();
  frames.DropFront(posted);
  if (broken_) [[unlikely]]
    DropFirst(frames);
  return bytes;
}

// The one that the card refused. The caller takes it for sent.
void VerbsTxQueue::DropFirst(Burst& frames) {
  if (frames.empty()) return;
  frames.PopFront();
  drops_.Add(DropReason::kDeviceError);
  ++debt_;
}

// Returns how many pieces it took.
size_t VerbsTxQueue::Describe(const Packet& packet, ibv_send_wr& request, size_t piece) {
  ibv_sge* const places = &pieces_[piece];
  int count = 0;
  for (const Packet* at = &packet; at != nullptr; at = at->next()) {
    places[count++] = {
        .addr = reinterpret_cast<uintptr_t>(at->data()), .length = at->head_length(), .lkey = region_key_};
  }
  request.sg_list = places;
  request.num_sge = count;
  request.send_flags = packet.offload.l4_checksum ? IBV_SEND_IP_CSUM : 0;
  if (packet.length() <= max_inline_) request.send_flags |= IBV_SEND_INLINE;
  return static_cast<size_t>(count);
}

// Returns how many the card took. It has room for all: what it refuses is wrong in itself, unless it says that it is full.
size_t VerbsTxQueue::Post(size_t count) {
  ibv_send_wr* bad = nullptr;
  const int error = ibv_post_send(sender_.pair.get(), requests_.data(), &bad);
  if (error == 0) [[likely]]
    return count;
  const auto taken = static_cast<size_t>(bad - requests_.data());
  posted_->Unpush(static_cast<uint32_t>(count - taken));
  broken_ = error != ENOMEM;
  return taken;
}

void VerbsTxQueue::CountSent(uint64_t packets, uint64_t bytes) {
  const uint64_t repaid = std::min(debt_, packets);
  debt_ -= repaid;
  packets_.Add(packets - repaid);
  bytes_.Add(bytes);
}

size_t VerbsTxQueue::Reclaim() {
  if (sender_.pair == nullptr) return 0;
  const size_t reaped = Reap();
  if (egress_->waiting()) [[unlikely]]
    egress_->Resume(*this);
  return reaped;
}

size_t VerbsTxQueue::Reap() {
  size_t reaped = 0;
  std::array<ibv_wc, 16> done;
  for (int polled = static_cast<int>(done.size()); polled == static_cast<int>(done.size());) {
    polled = ibv_poll_cq(sender_.completions.get(), static_cast<int>(done.size()), done.data());
    for (int i = 0; i < polled; ++i) {
      const ibv_wc& one = done[static_cast<size_t>(i)];
      if (!posted_->Holds(one.wr_id)) continue;  // a leftover of before a reset
      if (one.status != IBV_WC_SUCCESS) [[unlikely]]
        Fail(one.wr_id);
      reaped += FreeThrough(one.wr_id);
    }
  }
  if (broken_) [[unlikely]]
    Mend();
  return reaped;
}

size_t VerbsTxQueue::FreeThrough(uint64_t number) {
  const auto count = static_cast<uint32_t>(number - posted_->first() + 1);
  posted_->PopRuns(count, [](Packet** packets, uint32_t run) { PacketPool::Put(packets, run); });
  return count;
}

// Those in front of `number` were sent; it was not.
void VerbsTxQueue::Fail(uint64_t number) {
  broken_ = true;
  if (number != posted_->first()) FreeThrough(number - 1);
  drops_.Add(DropReason::kDeviceError);
  ++debt_;
}

// A request that failed stops its queue pair, and with it all behind.
void VerbsTxQueue::Mend() {
  broken_ = false;
  failed_.store(true, std::memory_order_relaxed);
  (void)MakeReady(device_, *sender_.pair, true);
  LoseAll(DropReason::kDeviceError);
}

void VerbsTxQueue::LoseAll(DropReason reason) {
  const uint32_t lost = posted_->count();
  if (lost == 0) return;
  drops_.Add(reason, lost);
  debt_ += lost;
  FreeThrough(posted_->next() - 1);
}

QueueStats VerbsTxQueue::stats() const {
  return {.packets = packets_.value(), .bytes = bytes_.value(), .wakeups = 0, .drops = drops_.Read()};
}

}  // namespace sluice
