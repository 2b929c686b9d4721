// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nic/offload/vlan_internal.h"
#include "nic/verbs/rx_internal.h"
#include "sluice/base/status.h"
#include "sluice/packet/packet_pool.h"

namespace sluice {
namespace {

VerbsPtr<ibv_comp_channel> MakeChannel(const VerbsPort& device) {
  if (!device.able().sleeps) return nullptr;
  VerbsPtr<ibv_comp_channel> channel(ibv_create_comp_channel(device.context()));
  if (channel != nullptr) fcntl(channel->fd, F_SETFL, fcntl(channel->fd, F_GETFL) | O_NONBLOCK);
  return channel;
}

}  // namespace

VerbsArrivals::VerbsArrivals(const VerbsPort& device, const VerbsNicOptions& options)
    : strip_vlan(options.strip_vlan),
      stamp(options.stamp),
      keep_fcs(options.keep_fcs),
      direct(options.direct_receive != Want::kOff && device.NoDirect(options).empty()),
      compressed(options.compressed_completions != Want::kOff && device.NoCompression(options).empty()),
      lro(device.NoLro(options).empty()),
      clock(options.clock == nullptr ? Clock::Monotonic() : *options.clock) {
  if (options.striding != Want::kOff && device.NoStriding(options).empty())
    strides = device.mlx5().strides(lro);
  if (options.marks) fields |= IBV_WC_EX_WITH_FLOW_TAG;
  if (strip_vlan) fields |= IBV_WC_EX_WITH_CVLAN;
  if (stamp) fields |= IBV_WC_EX_WITH_COMPLETION_TIMESTAMP;
  fields &= device.told();
  if (fields != 0) fields |= IBV_WC_EX_WITH_BYTE_LEN;
}

VerbsRxQueue::VerbsRxQueue(QueueId id, const VerbsPort& device, const VerbsArrivals& arrivals,
                           const VerbsAlarm& alarm)
    : id_(id),
      device_(device),
      arrivals_(arrivals),
      by_software_((arrivals.strip_vlan && !arrivals.card_strips()) ||
                   (arrivals.stamp && !arrivals.card_stamps())),
      always_by_field_(!device.polls_plainly() || arrivals.card_strips() || arrivals.card_stamps()),
      stamps_(device, arrivals.clock),
      channel_(MakeChannel(device)),
      failure_(alarm) {
  for (uint32_t i = 0; i < kRefill; ++i) {
    requests_[i].sg_list = &places_[i];
    requests_[i].num_sge = 1;
    if (i + 1 < kRefill) requests_[i].next = &requests_[i + 1];
  }
}

absl::Status VerbsRxQueue::Open(const QueueOptions& options, const ibv_mr& region) {
  if (arrivals_.strides) {
    if (absl::Status opened = OpenChunks(options); !opened.ok()) return opened;
  }
  absl::StatusOr<VerbsReceiver> made =
      VerbsReceiver::Make(device_, {.ring = chunks_ ? chunks_->count() : options.rx_ring,
                                    .channel = channel_.get(),
                                    .fields = arrivals_.fields,
                                    .spread = options.rx_queues > 1,
                                    .direct = arrivals_.direct,
                                    .compressed = arrivals_.compressed,
                                    .strides = arrivals_.strides,
                                    .strip_vlan = arrivals_.card_strips(),
                                    .keep_fcs = arrivals_.keep_fcs});
  if (!made.ok()) {
    chunks_.reset();
    return made.status();
  }
  receiver_ = *std::move(made);
  posted_.emplace(options.rx_ring);
  pool_ = options.pool;
  owner_ = options.pool->options().budget == nullptr ? kNobody : options.owner;
  arrival_ = Packet::Arrival(options.port, id_);
  headroom_ = options.pool->options().headroom;
  longest_ = options.pool->options().buffer_size - headroom_;
  refill_batch_ = std::min(kRefill, options.rx_ring);
  for (ibv_sge& place : places_) place = {.addr = 0, .length = longest_, .lkey = region.lkey};
  if (chunks_) {
    receiver_.direct()->Prepare(chunks_->chunk_bytes(), chunks_->key(), chunks_->At(0),
                                chunks_->chunk_bytes());
  } else if (receiver_.direct() != nullptr) {
    receiver_.direct()->Prepare(longest_, region.lkey);
  }
  broken_ = armed_ = dead_ = false;
  marks_.TurnOff();
  (void)failure_.TakeSuspicion();
  if (const int error = MakeReady(); error != 0) {
    Close();
    return device_.Failed(error, "start", "", "the queue does not get ready to receive",
                          "see the kernel's log");
  }
  Refill();
  const size_t wants = chunks_ ? PacketsForLongest() : options.rx_ring;
  if (chunks_ ? CanGet(wants) : posted_->room() == 0) return absl::OkStatus();
  Close();
  return ErrorStatus(absl::StatusCode::kResourceExhausted,
                     {.device = device_.name(),
                      .stage = "start",
                      .capability = "pool",
                      .what = absl::StrCat("queue ", id_.value(), " wants ", wants, " packets; the pool has ",
                                           pool_->options().packets, " in all"),
                      .remedy = "use a larger pool, shorter rings, or a larger allowance for the owner"});
}

// Of those that the card joins, which would else stay for good where it put them.
size_t VerbsRxQueue::PacketsForLongest() const {
  constexpr size_t kLongest = 0xffff;
  return arrivals_.lro ? std::min((kLongest + longest_ - 1) / longest_, Burst::kCapacity) : 0;
}

bool VerbsRxQueue::CanGet(size_t packets) {
  std::array<Packet*, Burst::kCapacity> fresh;
  const size_t got = GetFresh(fresh.data(), packets);
  PutFresh(fresh.data(), got);
  return got == packets;
}

void VerbsRxQueue::Close() {
  if (!receiver_.exists()) return;
  for (Burst unreceived; Poll(unreceived) != 0; unreceived.Clear()) {
    drops_.Add(DropReason::kStopped, unreceived.size());
  }
  if (chunks_) drops_.Add(DropReason::kStopped, receiver_.direct()->Drain());  // what no packet was left for
  drops_.Add(DropReason::kStopped, early_.size());
  early_.Clear();
  receiver_.Destroy();
  GiveBack();
  chunks_.reset();
  posted_.reset();
}

size_t VerbsRxQueue::Receive(Burst& burst) {
  if (!receiver_.exists()) return 0;
  const bool was_armed = std::exchange(armed_, false);
  if (was_armed) [[unlikely]]
    TakeEvent();
  const size_t early = std::min(early_.size(), burst.room());
  if (early != 0) [[unlikely]]
    early_.MoveFront(early, burst);
  size_t got = early;
  if (early_.empty()) got += Poll(burst);
  if (got == 0) return 0;
  uint64_t bytes = 0;
  for (size_t i = burst.size() - got; i < burst.size(); ++i) bytes += burst[i].length();
  packets_.Add(got);
  bytes_.Add(bytes);
  if (was_armed) wakeups_.Add();
  return got;
}

// Takes what has come, without counting it, and fills the ring up.
size_t VerbsRxQueue::Poll(Burst& burst) {
  const size_t before = burst.size();
  if (burst.room() > 0) PollCard(burst);
  if (by_software_) FinishInSoftware(burst, before);
  if (broken_ || failure_.TakeSuspicion()) [[unlikely]]
    Mend();
  if (posted_->room() >= refill_batch_ && !dead_) Refill();
  return burst.size() - before;
}

// A queue of the extended kind is polled as a plain one is, by one call for all, as long as it has nothing to tell; where
// the card's driver has shown that it may be.
void VerbsRxQueue::PollCard(Burst& burst) {
  if (chunks_) return TakeStrided(burst);
  if (receiver_.direct() != nullptr) return PollDirect(burst);
  if (receiver_.extended() == nullptr) return PollPlain(burst);
  if (always_by_field_ || marks_.BeginPoll()) return PollExtended(burst);
  PollPlain(burst);
  marks_.EndPoll();
}

void VerbsRxQueue::PollPlain(Burst& burst) {
  std::array<ibv_wc, Burst::kCapacity> done;
  const int polled = ibv_poll_cq(receiver_.completions(), static_cast<int>(burst.room()), done.data());
  const size_t end = polled < 0 ? 0 : static_cast<size_t>(polled);
  for (size_t i = 0; i < end;) {
    const size_t run = TakeRun(&done[i], end - i, burst);
    i += run;
    if (run > 0) continue;
    const ibv_wc& odd = done[i++];
    Packet* const packet = Describe({.number = odd.wr_id, .status = odd.status, .bytes = odd.byte_len});
    if (packet != nullptr) burst.PushRaw(packet);
  }
}

// Takes frames as long as each came into the oldest buffer; returns how many.
size_t VerbsRxQueue::TakeRun(const ibv_wc* done, size_t n, Burst& burst) {
  const absl::Span<Packet* const> oldest = posted_->Oldest(n);
  const uint64_t first = posted_->first();
  const Packet::Arrival arrival = arrival_;
  const uint32_t headroom = headroom_;
  Packet** const to = burst.Extend(oldest.size());
  size_t taken = 0;
  for (; taken < oldest.size(); ++taken) {
    const ibv_wc& one = done[taken];
    if (one.wr_id != first + taken || one.status != IBV_WC_SUCCESS) [[unlikely]]
      break;
    Packet* const packet = to[taken] = oldest[taken];
    packet->Restart(headroom, one.byte_len);
    packet->Arrive(arrival);
    if ((one.wc_flags & IBV_WC_IP_CSUM_OK) != 0) {
      packet->l3_checksum = packet->l4_checksum = ChecksumVerdict::kGood;
    }
  }
  burst.DropBack(oldest.size() - taken);
  posted_->Drop(taken);
  return taken;
}

// Each answer is a call into the driver: only what is needed is asked.
void VerbsRxQueue::PollExtended(Burst& burst) {
  ibv_cq_ex* const queue = receiver_.extended();
  ibv_poll_cq_attr attr{};
  if (ibv_start_poll(queue, &attr) != 0) return;
  do {
    Done done{.number = queue->wr_id, .status = queue->status};
    if (done.status == IBV_WC_SUCCESS) Ask(queue, done);
    if (Packet* const packet = Describe(done)) burst.PushRaw(packet);
  } while (burst.room() > 0 && ibv_next_poll(queue) == 0);
  ibv_end_poll(queue);
}

void VerbsRxQueue::Ask(ibv_cq_ex* queue, Done& done) const {
  done.bytes = ibv_wc_read_byte_len(queue);
  done.flags = ibv_wc_read_wc_flags(queue);
  if (arrivals_.Tells(IBV_WC_EX_WITH_FLOW_TAG)) done.mark = ibv_wc_read_flow_tag(queue);
  if (arrivals_.card_strips()) done.vlan_tci = ibv_wc_read_cvlan(queue);
  if (arrivals_.card_stamps()) done.stamp = ibv_wc_read_completion_ts(queue);
}

// Null when it is no frame. A number that is not the oldest's is a leftover of before a reset.
Packet* VerbsRxQueue::Describe(const Done& done) {
  if (posted_->count() == 0 || done.number != posted_->first()) return nullptr;
  Packet* packet = posted_->Pop();
  if (done.status != IBV_WC_SUCCESS) [[unlikely]] {
    CountFailure(done.status);
    PutFresh(&packet, 1);
    return nullptr;
  }
  packet->Restart(headroom_, done.bytes);
  packet->Arrive(arrival_);
  Finish(*packet, done);
  return packet;
}

// A tag that was taken off shows by its value alone.
void VerbsRxQueue::Finish(Packet& packet, const Done& done) {
  if ((done.flags & IBV_WC_IP_CSUM_OK) != 0) {
    packet.l3_checksum = packet.l4_checksum = ChecksumVerdict::kGood;
  }
  if (done.mark != 0) packet.set_mark(done.mark);
  if (done.vlan_tci != 0) {
    packet.vlan_tci = done.vlan_tci;
    packet.vlan_stripped = true;
  }
  if (arrivals_.card_stamps()) packet.set_timestamp(stamps_.TimeOf(done.stamp));
}

void VerbsRxQueue::FinishInSoftware(Burst& burst, size_t from) const {
  if (from == burst.size()) return;
  const Nanoseconds now = arrivals_.stamp ? arrivals_.clock.Now() : 0;
  for (size_t i = from; i < burst.size(); ++i) {
    if (arrivals_.strip_vlan && !arrivals_.card_strips()) StripVlan(burst[i]);
    if (arrivals_.stamp && !arrivals_.card_stamps()) burst[i].set_timestamp(now);
  }
}

// A request that failed stops its queue pair, and those behind it come back empty: no frame was in them.
void VerbsRxQueue::CountFailure(ibv_wc_status status) {
  broken_ = true;
  if (status == IBV_WC_WR_FLUSH_ERR) return;
  drops_.Add(status == IBV_WC_LOC_LEN_ERR ? DropReason::kTooLong : DropReason::kDeviceError);
}

// Frames that a reset passed over are lost.
int VerbsRxQueue::MakeReady() {
  uint32_t lost = 0;
  const int error = receiver_.MakeReady(device_, lost);
  drops_.Add(DropReason::kDeviceError, lost);
  if (error == 0 && chunks_) {
    chunks_->Restart();
    receiver_.direct()->PostAgain(chunks_->count());
  }
  return error;
}

void VerbsRxQueue::Mend() {
  broken_ = false;
  dead_ = dead_ || MakeReady() != 0;
  if (!dead_) GiveBack();
  failure_.Report();
}

void VerbsRxQueue::GiveBack() {
  posted_->PopRuns(posted_->count(), [this](Packet** packets, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) packets[i]->Restart(headroom_, 0);
    PacketPool::Put(packets, count);
  });
  if (receiver_.direct() != nullptr) posted_->Renumber();
}

// As they were left, and charged.
size_t VerbsRxQueue::GetFresh(Packet** to, size_t count) {
  if (owner_ == kNobody) return pool_->GetRaw(to, count);
  Burst charged;
  const size_t got = pool_->Get(charged, count, owner_);
  std::copy_n(charged.begin(), got, to);
  charged.DropFront(got);
  return got;
}

// Those that no frame came for.
void VerbsRxQueue::PutFresh(Packet* const* packets, size_t count) {
  if (owner_ == kNobody) return pool_->PutRaw(packets, count);
  for (size_t i = 0; i < count; ++i) packets[i]->Restart(headroom_, 0);
  PacketPool::Put(packets, count);
}

void VerbsRxQueue::Refill() {
  if (chunks_) return;
  while (posted_->room() >= refill_batch_) {
    std::array<Packet*, kRefill> fresh;
    const size_t got = GetFresh(fresh.data(), refill_batch_);
    if (got == 0 || !Post(fresh.data(), static_cast<uint32_t>(got)) || got < refill_batch_) return;
  }
}

// One doorbell. False when the card took less than all: then nothing more is tried before something has come.
bool VerbsRxQueue::Post(Packet* const* fresh, uint32_t count) {
  if (receiver_.direct() != nullptr) {
    posted_->Push(fresh, count);
    receiver_.direct()->Post(fresh, count, headroom_);
    return true;
  }
  const uint64_t first = posted_->next();
  const uint32_t headroom = headroom_;
  for (uint32_t i = 0; i < count; ++i) {
    places_[i].addr = reinterpret_cast<uintptr_t>(fresh[i]->buffer()) + headroom;
    requests_[i].wr_id = first + i;
  }
  posted_->Push(fresh, count);
  ibv_recv_wr* bad = nullptr;
  ibv_recv_wr* const next = std::exchange(requests_[count - 1].next, nullptr);
  const int error = receiver_.Post(requests_.data(), &bad);
  requests_[count - 1].next = next;
  if (error == 0) [[likely]]
    return true;
  const auto taken = static_cast<uint32_t>(bad - requests_.data());
  posted_->Unpush(count - taken);
  PutFresh(fresh + taken, count - taken);
  return false;
}

// What comes before the card is asked for an event is found by looking after that. An event of an earlier asking would
// wake for nothing.
bool VerbsRxQueue::Arm() {
  if (!receiver_.exists()) return true;
  if (channel_ == nullptr || !early_.empty()) return false;
  if (std::exchange(armed_, true)) return true;
  TakeEvent();
  if (receiver_.RequestEvent() != 0) return armed_ = false;
  return Poll(early_) == 0;
}

void VerbsRxQueue::TakeEvent() {
  ibv_cq* queue = nullptr;
  void* context = nullptr;
  unsigned events = 0;
  while (ibv_get_cq_event(channel_.get(), &queue, &context) == 0) ++events;
  if (events != 0) receiver_.CountEvents(events);
}

bool VerbsRxQueue::Has(const ibv_async_event& event) const {
  if (!receiver_.exists()) return false;
  switch (event.event_type) {
    case IBV_EVENT_CQ_ERR:
      return event.element.cq == receiver_.completions();
    case IBV_EVENT_WQ_FATAL:
      return event.element.wq == receiver_.work();
    case IBV_EVENT_QP_FATAL:
    case IBV_EVENT_QP_REQ_ERR:
    case IBV_EVENT_QP_ACCESS_ERR:
      return event.element.qp == &receiver_.pair();
    default:
      return false;
  }
}

QueueStats VerbsRxQueue::stats() const {
  return {.packets = packets_.value(),
          .bytes = bytes_.value(),
          .wakeups = wakeups_.value(),
          .drops = drops_.Read()};
}

}  // namespace sluice
