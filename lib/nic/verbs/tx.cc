// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/time/clock.h"
#include "nic/offload/vlan_internal.h"
#include "nic/verbs/tx_internal.h"
#include "sluice/packet/packet_pool.h"
#include "sluice/packet/parse.h"
#include "sluice/packet/segment.h"

namespace sluice {
namespace {

constexpr uint32_t kMostPieces = 8;  // each takes room in every entry of the ring; more are joined by a copy
constexpr uint16_t kMostHeaders = 128;  // of what the card cuts: Ethernet, two tags, IPv6, TCP with options
constexpr absl::Duration kDrainStep = absl::Milliseconds(1);
constexpr int kDrainSteps = 50;  // at most, and ...
constexpr int kIdleSteps = 5;    // ... in which nothing completed

// So few bytes that pieces need not be gathered by the card.
void SetInline(ibv_qp_ex& pair, const ibv_send_wr& request) {
  std::array<ibv_data_buf, kMostPieces> bytes;
  const auto count = static_cast<size_t>(request.num_sge);
  for (size_t i = 0; i < count; ++i) {
    bytes[i] = {.addr = reinterpret_cast<void*>(request.sg_list[i].addr),
                .length = request.sg_list[i].length};
  }
  ibv_wr_set_inline_data_list(&pair, count, bytes.data());
}

}  // namespace

VerbsTxQueue::VerbsTxQueue(QueueId id, const VerbsPort& device, VerbsLink& link, const VerbsSending& sending,
                           const VerbsAlarm& alarm)
    : id_(id),
      device_(device),
      link_(link),
      sending_(sending),
      max_pieces_(std::min(device.max_pieces(), kMostPieces)),
      failure_(alarm),
      pieces_(Burst::kCapacity * max_pieces_) {
  for (size_t i = 0; i < plain_.size(); ++i) {
    plain_[i].opcode = IBV_WR_SEND;
    plain_[i].sg_list = &plain_pieces_[i];
    plain_[i].num_sge = 1;
    if (i + 1 < plain_.size()) plain_[i].next = &plain_[i + 1];
  }
}

absl::Status VerbsTxQueue::Open(const QueueOptions& options, const ibv_mr& region) {
  absl::StatusOr<VerbsSender> made =
      MakeSender(device_, {.ring = options.tx_ring,
                           .pieces = max_pieces_,
                           .max_inline = sending_.max_inline,
                           .max_headers = sending_.segments ? kMostHeaders : uint16_t{0},
                           .extended = sending_.extended});
  if (!made.ok()) return made.status();
  if (const int error = MakeReady(device_, *made->pair, true); error != 0) {
    return device_.Failed(error, "start", "", "the queue pair does not get ready to send",
                          "see the kernel's log");
  }
  if (const int error = ChooseLagPort(*made->pair); error != 0) {
    return device_.Failed(error, "start", "lag ports", "no choice among the card's ports",
                          "make a bond of them, or set lag_port=0");
  }
  sender_ = *std::move(made);
  posted_.emplace(options.tx_ring);
  pool_ = options.pool;
  region_key_ = region.lkey;
  for (ibv_sge& piece : plain_pieces_) piece.lkey = region.lkey;
  egress_.emplace(FinisherOptions{
      .max_frame = device_.able().max_frame, .taker = this, .pool = options.pool, .reads_only_pool = true});
  broken_ = dead_ = false;
  (void)failure_.TakeSuspicion();
  rate_ = 0;
  return absl::OkStatus();
}

// To be done anew with each change of state, which may undo it. Returns an errno.
int VerbsTxQueue::ChooseLagPort(ibv_qp& pair) const {
  return sending_.lag_port == 0 ? 0 : device_.mlx5().SetLagPort(pair, sending_.lag_port);
}

void VerbsTxQueue::Close() {
  if (sender_.pair == nullptr) return;
  Drain();
  egress_->GiveUp(DropReason::kStopped, *this);
  sender_.Destroy();
  LoseAll(dead_ ? DropReason::kDeviceError : DropReason::kStopped);
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
  if (LinkIsDown()) return DropAll(burst, DropReason::kLinkDown);
  Reap();
  if (dead_) [[unlikely]]
    return DropAll(burst, DropReason::kDeviceError);
  const bool plain = AllPlain(burst);
  if (!plain && !TakesAll(burst)) [[unlikely]] {
    PutTags(burst);
    return egress_->Send(burst, *this);
  }

  const size_t offered = burst.size();
  const uint64_t bytes = plain ? StagePlain(burst) : Stage(burst);
  CountSent(offered - burst.size(), bytes);
  return offered - burst.size();
}

// Whether it came back is asked before anything is lost to it.
bool VerbsTxQueue::LinkIsDown() {
  return link_.last_known() == LinkState::kDown && link_.Refresh() == LinkState::kDown;
}

size_t VerbsTxQueue::DropAll(Burst& burst, DropReason reason) {
  const size_t taken = burst.size();
  drops_.Add(reason, taken);
  burst.Clear();
  egress_->GiveUp(reason, *this);
  return taken;
}

// One pass over the first lines: in one piece each, within the card's reach, and nothing asked for.
bool VerbsTxQueue::AllPlain(const Burst& burst) const {
  FirstLines lines = egress_->Look();
  bool in_reach = true;
  for (const Packet* packet : burst) {
    lines.Add(*packet);
    in_reach &= egress_->InReach(*packet);
  }
  return in_reach && !egress_->AnyOdd(lines);
}

bool VerbsTxQueue::TakesAll(const Burst& burst) const {
  return !egress_->waiting() &&
         std::all_of(burst.begin(), burst.end(), [this](const Packet* packet) { return Takes(*packet); });
}

bool VerbsTxQueue::Takes(const Packet& packet) const {
  if (packet.length() < FirstLines::kShortest) return false;
  if (packet.length() > device_.able().max_frame && !packet.offload.segment) return false;
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
  if (asked.outer_checksum || asked.insert_vlan) return false;
  if (asked.segment ? !sending_.segments : !asked.l4_checksum || !device_.able().send_l4_checksum)
    return false;
  Layers layers;
  const absl::Span<const uint8_t> head(packet.data(), packet.head_length());
  if (Parse(head, packet.length(), layers) != ParseVerdict::kOk || layers.tunnel != TunnelType::kNone)
    return false;
  if (asked.segment) return CardCuts(packet, layers.outer);
  return layers.outer.l4_type == L4Type::kTcp || layers.outer.l4_type == L4Type::kUdp;
}

// What fits one frame is no segment; software sends it as it is. A card counts up the identifications of IPv4.
bool VerbsTxQueue::CardCuts(const Packet& packet, const LayerOffsets& at) const {
  if (packet.offload.fixed_ids.outer) return false;
  const uint16_t size = SegmentSize(packet.offload, at.l4_type);
  const uint32_t payload = packet.length() - at.payload;
  return at.l4_type == L4Type::kTcp && size > 0 && payload > size && payload <= device_.max_segmented() &&
         at.payload <= kMostHeaders && at.payload + size <= device_.able().max_frame;
}

// The card puts in none; with the tag in its place, it may do what else is asked for.
void VerbsTxQueue::PutTags(Burst& burst) {
  for (Packet* packet : burst) {
    OffloadRequest& asked = packet->offload;
    if (!asked.insert_vlan || !(asked.segment || asked.l4_checksum)) continue;
    if (InsertVlan(*packet)) asked.insert_vlan = false;
  }
}

std::optional<DropReason> VerbsTxQueue::Put(Burst& frames) {
  if (LinkIsDown()) return DropReason::kLinkDown;
  if (posted_->room() < frames.size()) Reap();
  if (dead_) return DropReason::kDeviceError;
  Stage(frames);
  return std::nullopt;
}

// Gives the card as many as there is room for, with one doorbell; returns the bytes of those.
uint64_t VerbsTxQueue::StagePlain(Burst& frames) {
  const size_t count = std::min<size_t>(frames.size(), posted_->room());
  Packet* const* const packets = frames.begin();
  if (sender_.extended != nullptr && count > 0 && SendExtended(packets, count) == 0) [[likely]] {
    posted_->Push(packets, static_cast<uint32_t>(count));
    frames.DropFront(count);
    return BytesOf(packets, count);
  }
  const uint64_t first = posted_->next();
  const uint32_t max_inline = sending_.max_inline;
  for (size_t i = 0; i < count; ++i) {
    const uint32_t length = packets[i]->length();
    plain_pieces_[i].addr = reinterpret_cast<uintptr_t>(packets[i]->data());
    plain_pieces_[i].length = length;
    plain_[i].wr_id = first + i;
    plain_[i].send_flags = length <= max_inline ? IBV_SEND_INLINE : 0;
  }
  return PostFirst(plain_.data(), count, frames);
}

// Plain ones by the extended calls, with nothing described beforehand. All or none.
int VerbsTxQueue::SendExtended(Packet* const* packets, size_t count) const {
  ibv_qp_ex* const pair = sender_.extended;
  const uint64_t first = posted_->next();
  const uint32_t key = region_key_, max_inline = sending_.max_inline;
  ibv_wr_start(pair);
  for (size_t i = 0; i < count; ++i) {
    Packet& packet = *packets[i];
    const uint32_t length = packet.length();
    pair->wr_id = first + i;
    pair->wr_flags = i + 1 < count ? 0 : IBV_SEND_SIGNALED;
    ibv_wr_send(pair);
    if (length <= max_inline) {
      ibv_wr_set_inline_data(pair, packet.data(), length);
    } else {
      ibv_wr_set_sge(pair, key, reinterpret_cast<uintptr_t>(packet.data()), length);
    }
  }
  return ibv_wr_complete(pair);
}

// The same for any that the card takes.
uint64_t VerbsTxQueue::Stage(Burst& frames) {
  const size_t count = std::min<size_t>(frames.size(), posted_->room());
  size_t piece = 0;
  for (size_t i = 0; i < count; ++i) {
    ibv_send_wr& request = requests_[i];
    request.wr_id = posted_->next() + i;
    request.next = &request + 1;
    piece += Describe(frames[i], request, piece);
  }
  return PostFirst(requests_.data(), count, frames);
}

// Of the first `count` frames, which are described. Returns the bytes of those that the card took.
uint64_t VerbsTxQueue::PostFirst(ibv_send_wr* requests, size_t count, Burst& frames) {
  if (count == 0) return 0;
  posted_->Push(frames.begin(), static_cast<uint32_t>(count));
  ibv_send_wr& last = requests[count - 1];
  last.send_flags |= IBV_SEND_SIGNALED;
  ibv_send_wr* const next = std::exchange(last.next, nullptr);
  const size_t posted = Post(requests, count);
  last.next = next;
  const uint64_t bytes = BytesOf(frames.begin(), posted);
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
size_t VerbsTxQueue::Describe(Packet& packet, ibv_send_wr& request, size_t piece) {
  const OffloadRequest& asked = packet.offload;
  uint32_t skip = asked.segment ? DescribeCut(packet, request) : 0;
  if (!asked.segment) request.opcode = IBV_WR_SEND;
  ibv_sge* const places = &pieces_[piece];
  int count = 0;
  for (const Packet* at = &packet; at != nullptr; at = at->next(), skip = 0) {
    if (at->head_length() == skip) continue;
    places[count++] = {.addr = reinterpret_cast<uintptr_t>(at->data()) + skip,
                       .length = at->head_length() - skip,
                       .lkey = region_key_};
  }
  request.sg_list = places;
  request.num_sge = count;
  request.send_flags = asked.l4_checksum || asked.segment ? IBV_SEND_IP_CSUM : 0;
  if (packet.length() <= sending_.max_inline && !asked.segment) request.send_flags |= IBV_SEND_INLINE;
  return static_cast<size_t>(count);
}

// The headers go apart, and are repeated in front of each segment. Returns their length.
uint32_t VerbsTxQueue::DescribeCut(Packet& packet, ibv_send_wr& request) const {
  Layers layers;
  const absl::Span<const uint8_t> head(packet.data(), packet.head_length());
  (void)Parse(head, packet.length(), layers);
  request.opcode = IBV_WR_TSO;
  request.tso.hdr = packet.data();
  request.tso.hdr_sz = layers.outer.payload;
  request.tso.mss = SegmentSize(packet.offload, L4Type::kTcp);
  return layers.outer.payload;
}

// Returns how many the card took. It has room for all: what it refuses is wrong in itself, unless it says that it is full.
// The extended calls take all or none; which one is wrong, the plain call then tells.
size_t VerbsTxQueue::Post(ibv_send_wr* requests, size_t count) {
  const bool extended = sender_.extended != nullptr;
  ibv_send_wr* bad = requests;
  int error = extended ? PostExtended(requests) : ibv_post_send(sender_.pair.get(), bad, &bad);
  if (extended && error != 0 && error != ENOMEM) {
    error = ibv_post_send(sender_.pair.get(), bad, &bad);
  }
  if (error == 0) [[likely]]
    return count;
  const auto taken = static_cast<size_t>(bad - requests);
  posted_->Unpush(static_cast<uint32_t>(count - taken));
  broken_ = error != ENOMEM;
  return taken;
}

int VerbsTxQueue::PostExtended(const ibv_send_wr* first) {
  ibv_qp_ex* const pair = sender_.extended;
  ibv_wr_start(pair);
  for (const ibv_send_wr* at = first; at != nullptr; at = at->next) {
    const ibv_send_wr& request = *at;
    const auto pieces = static_cast<size_t>(request.num_sge);
    pair->wr_id = request.wr_id;
    pair->wr_flags = request.send_flags & ~unsigned{IBV_SEND_INLINE};
    if (request.opcode == IBV_WR_TSO) {
      ibv_wr_send_tso(pair, request.tso.hdr, request.tso.hdr_sz, request.tso.mss);
    } else {
      ibv_wr_send(pair);
    }
    if ((request.send_flags & IBV_SEND_INLINE) != 0) {
      SetInline(*pair, request);
    } else if (pieces == 1) {
      ibv_wr_set_sge(pair, request.sg_list->lkey, request.sg_list->addr, request.sg_list->length);
    } else {
      ibv_wr_set_sge_list(pair, pieces, request.sg_list);
    }
  }
  return ibv_wr_complete(pair);
}

int VerbsTxQueue::LimitRate(uint32_t kilobits_a_second) {
  ibv_qp_rate_limit_attr limit{};
  limit.rate_limit = kilobits_a_second;
  const int error = ibv_modify_qp_rate_limit(sender_.pair.get(), &limit);
  if (error == 0) rate_.store(kilobits_a_second, std::memory_order_relaxed);
  return error;
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
  if (broken_ || failure_.TakeSuspicion()) [[unlikely]]
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
  dead_ = dead_ || MakeReady(device_, *sender_.pair, true) != 0 || ChooseLagPort(*sender_.pair) != 0;
  failure_.Report();
  if (dead_) return;
  if (const uint32_t rate = rate_.load(std::memory_order_relaxed); rate != 0) (void)LimitRate(rate);
  LoseAll(DropReason::kDeviceError);
}

void VerbsTxQueue::LoseAll(DropReason reason) {
  const uint32_t lost = posted_->count();
  if (lost == 0) return;
  drops_.Add(reason, lost);
  debt_ += lost;
  FreeThrough(posted_->next() - 1);
}

bool VerbsTxQueue::Has(const ibv_async_event& event) const {
  switch (event.event_type) {
    case IBV_EVENT_CQ_ERR:
      return event.element.cq == sender_.completions.get();
    case IBV_EVENT_QP_FATAL:
    case IBV_EVENT_QP_REQ_ERR:
    case IBV_EVENT_QP_ACCESS_ERR:
      return event.element.qp == sender_.pair.get();
    default:
      return false;
  }
}

QueueStats VerbsTxQueue::stats() const {
  return {.packets = packets_.value(), .bytes = bytes_.value(), .wakeups = 0, .drops = drops_.Read()};
}

}  // namespace sluice
