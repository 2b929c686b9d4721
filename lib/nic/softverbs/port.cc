// SPDX-License-Identifier: Apache-2.0
#include <sched.h>

#include <algorithm>
#include <bit>
#include <mutex>
#include <utility>

#include "nic/offload/vlan_internal.h"
#include "nic/softverbs/port_internal.h"
#include "sluice/packet/checksum.h"
#include "sluice/packet/parse.h"

namespace sluice {
namespace {

constexpr uint32_t kFrameAround = 22;    // Ethernet header and two tags around an MTU
constexpr uint32_t kRing = 1024;         // of the wire
constexpr uint32_t kPackets = 8 * 1024;  // both ways, and some of them segments
constexpr uint32_t kTurnsWithoutServe = 128;
constexpr uint32_t kTurnsWithoutYield = 64;
constexpr uint64_t kStaged = 32;

// A wire to the kernel leaves checksums of local senders to the next device, which is this one. Frames that are still to
// be segmented do not come over wires that are opened for it.
void FinishArrival(Packet& packet) {
  const OffloadRequest asked = packet.offload;
  if (asked.segment || Parse(packet) != ParseVerdict::kOk) return;
  if (asked.l3_checksum) (void)FillIpv4Checksum(packet, LayerSet::kInnermost);
  if (asked.l4_checksum) (void)FillL4Checksum(packet, LayerSet::kInnermost);
  if (asked.insert_vlan) (void)InsertVlan(packet);
  packet.offload = {};
}

uint32_t BufferFor(uint32_t frame, uint32_t headroom) {
  return std::bit_ceil(std::max<uint32_t>(frame + headroom, 2048));
}

// Frames that a peer in this process has not received yet are packets of the pool still. Such pools stay until a later
// one finds their packets home.
void KeepUntilHome(std::unique_ptr<PacketPool> pool) {
  static std::mutex gate;
  static auto* const away = new std::vector<std::unique_ptr<PacketPool>>();
  const std::lock_guard lock(gate);
  away->push_back(std::move(pool));
  std::erase_if(*away, [](const auto& one) { return one->available() == one->options().packets; });
}

}  // namespace

SoftPort::SoftPort(const SoftwareVerbsOptions& options, const Clock& clock, std::unique_ptr<Wire> wire)
    : options_(options),
      clock_(clock),
      patience_(static_cast<Nanoseconds>(absl::ToInt64Nanoseconds(options.patience))),
      wire_(MakeFaultyWire(std::move(wire), {.transmit = options.faults.send,
                                             .receive = options.faults.receive,
                                             .seed = options.faults.seed,
                                             .clock = &clock})),
      max_frame_(std::min(options.mtu + kFrameAround, wire_->traits().max_frame)),
      steering_(options.multicast_loopback) {}

absl::Status SoftPort::Add(SoftQueuePair& pair) {
  if (pairs_.empty()) {
    if (absl::Status opened = Open(); !opened.ok()) return opened;
  }
  pairs_.push_back(&pair);
  return absl::OkStatus();
}

void SoftPort::Remove(SoftQueuePair& pair) {
  SetState(pair, SoftQueuePair::State::kReset);
  std::erase(pairs_, &pair);
  steering_.Forget(pair);
  if (pairs_.empty()) Close();
}

void SoftPort::SetState(SoftQueuePair& pair, SoftQueuePair::State state) {
  pair.SetState(state);
  std::erase(flushing_, &pair);
  if (state == SoftQueuePair::State::kError && !pair.Flush()) flushing_.push_back(&pair);
  if (sender_ == &pair && (pair.spreads() || pair.send().staged().empty())) {
    sender_ = nullptr;
    looped_ = 0;
  }
}

void SoftPort::SetOpen(SoftReceiveQueue& queue, bool open) {
  queue.set_open(open);
  std::erase(flushing_work_, &queue);
}

void SoftPort::Flush(SoftReceiveQueue& queue) {
  SetOpen(queue, false);
  if (!queue.Flush()) flushing_work_.push_back(&queue);
}

// A program may come and go often: the packets of its last visit are good for the next.
absl::Status SoftPort::MakePool() {
  if (pool_ != nullptr) return absl::OkStatus();
  PacketPoolOptions pool{.name = options_.name, .packets = kPackets, .huge_pages = HugePages::kOff};
  pool.buffer_size = BufferFor(max_frame_, pool.headroom);
  absl::StatusOr<std::unique_ptr<PacketPool>> made = PacketPool::Create(pool);
  if (made.ok()) pool_ = *std::move(made);
  return made.status();
}

absl::Status SoftPort::Open() {
  if (absl::Status made = MakePool(); !made.ok()) return made;
  if (absl::Status opened = wire_->Open({.lanes = 1, .ring = kRing, .pool = pool_.get()}); !opened.ok()) {
    return opened;
  }
  max_frame_ = std::min(max_frame_, wire_->traits().max_frame);
  egress_.emplace(FinisherOptions{
      .max_frame = max_frame_, .carries_fragments = wire_->traits().carries_fragments, .pool = pool_.get()});
  seen_up_ = false;
  link_ = wire_->link();
  down_since_ = clock_.Now();
  return absl::OkStatus();
}

void SoftPort::Close() {
  if (!egress_.has_value()) return;
  stats_.drops[DropReason::kStopped] += arrivals_.size();
  arrivals_.Clear();
  egress_.reset();
  wire_->Close();
  if (pool_->available() != pool_->options().packets) KeepUntilHome(std::move(pool_));
}

bool SoftPort::Step() {
  if (!egress_.has_value()) return false;
  if (link_ == LinkState::kDown || turns_to_serve_-- == 0) Serve();
  wire_->Reclaim(0);
  const bool sent = SendSome();
  const bool received = ReceiveSome();
  std::erase_if(flushing_, [](SoftQueuePair* pair) { return pair->Flush(); });
  std::erase_if(flushing_work_, [](SoftReceiveQueue* queue) { return queue->Flush(); });
  if (sent || received) {
    idle_turns_ = 0;
  } else if (++idle_turns_ % kTurnsWithoutYield == 0) {
    sched_yield();  // to the peer, which may be waiting for this very processor
  }
  return sent || received;
}

void SoftPort::Serve() {
  turns_to_serve_ = kTurnsWithoutServe;
  wire_->Service();
  const LinkState before = std::exchange(link_, wire_->link());
  seen_up_ = seen_up_ || link_ == LinkState::kUp;
  if (link_ == LinkState::kDown && before == LinkState::kUp) down_since_ = clock_.Now();
  out_of_buffer_.Show(stats().drops[DropReason::kReceiveRingFull]);
  TellChange();
}

SoftPort::Quiet SoftPort::Rest() {
  if (!egress_.has_value()) return {};
  Quiet quiet{.wire_fd = wire_->fd(), .service_fd = wire_->service_fd()};
  quiet.blocked = WireHolds() || paced_ || sender_ != nullptr || egress_->waiting() || !arrivals_.empty() ||
                  !flushing_.empty() || !flushing_work_.empty();
  quiet.may_sleep = quiet.wire_fd < 0 || quiet.blocked || wire_->Arm();
  return quiet;
}

// By a fault, and for a time that no descriptor announces.
bool SoftPort::WireHolds() const { return wire_->transmit_counts().held + wire_->receive_counts().held > 0; }

SoftwareVerbsStats SoftPort::stats() const {
  SoftwareVerbsStats sum = stats_;
  sum.drops += wire_->drops();
  return sum;
}

void SoftPort::SetPlugged(bool plugged) {
  if (plugged_ && !plugged) down_since_ = clock_.Now();
  plugged_ = plugged;
  TellChange();
}

void SoftPort::TellChange() {
  if (std::exchange(told_up_, up()) != up() && changed_) changed_(up());
}

// Whoever has frames under way goes on with them; else each in its turn.
bool SoftPort::SendSome() {
  if (egress_->waiting() && !egress_->Resume(to_wire_)) return false;
  bool sent = false;
  for (size_t left = pairs_.size(); left > 0; --left) {
    if (sender_ == nullptr) sender_ = NextSender();
    if (sender_ == nullptr) break;
    sent = SendFrom(*sender_) || sent;
    if (egress_->waiting() || (sender_ != nullptr && !sender_->send().staged().empty())) break;
    sender_ = nullptr;
  }
  return sent;
}

SoftQueuePair* SoftPort::NextSender() {
  paced_ = false;
  for (size_t i = 0; i < pairs_.size(); ++i) {
    SoftQueuePair* const pair = pairs_[turn_++ % pairs_.size()];
    if (!pair->sends() || pair->send().ring().waiting() == 0) continue;
    if (pair->send().pacer().Due(clock_)) return pair;
    paced_ = true;
  }
  return nullptr;
}

bool SoftPort::SendFrom(SoftQueuePair& pair) {
  Burst& staged = pair.send().staged();
  const bool paced = pair.send().pacer().rate() > 0;
  if (staged.empty() && !pair.send().Stage(*pool_, paced ? 1 : kStaged)) {
    SetState(pair, SoftQueuePair::State::kError);
    return true;
  }
  if (staged.empty()) return false;
  const uint64_t bytes = paced ? BytesOf(staged) : 0;
  const size_t taken = SendStaged(staged);
  if (taken == 0) return false;
  const Nanoseconds now = clock_.Now();
  pair.send().Complete(taken, now);
  if (paced) pair.send().pacer().Spend(bytes, now);
  return true;
}

// Frames to which nothing has to be done go past Egress.
size_t SoftPort::SendStaged(Burst& staged) {
  FirstLines lines = egress_->Look();
  for (const Packet* packet : staged) lines.Add(*packet);
  if (egress_->AnyOdd(lines)) return egress_->Send(staged, to_wire_);
  const size_t offered = staged.size();
  if (const std::optional<DropReason> reason = PutOnWire(staged)) {
    to_wire_.CountDrops(*reason, staged.size());
    staged.Clear();
  }
  return offered - staged.size();
}

// Copies for this port's own queues come first; from the first frame on that can have none yet, all stay.
std::optional<DropReason> SoftPort::PutOnWire(Burst& frames) {
  Burst ready;
  frames.MoveFront(looped_, ready);
  do {
    frames.MoveFront(Unwatched(frames), ready);
  } while (!frames.empty() && LoopBack(frames, ready));
  Transmit(ready);
  looped_ = ready.size();
  frames.MoveFront(frames.size(), ready);
  frames = std::move(ready);
  if (frames.empty() || WaitsForLink()) return std::nullopt;
  looped_ = 0;
  return DropReason::kLinkDown;
}

// How many from the front concern no rule of this port.
size_t SoftPort::Unwatched(const Burst& frames) const {
  size_t count = 0;
  while (count < frames.size() && !steering_.WatchesSent(frames[count])) ++count;
  return count;
}

// Of the first frame, which goes to `ready`, unless a rule drops it.
bool SoftPort::LoopBack(Burst& frames, Burst& ready) {
  if (!Deliver(frames[0], SoftSteering::Way::kSent, clock_.Now())) return false;
  if (!steering_.verdict().dropped) {
    frames.MoveFront(1, ready);
    return true;
  }
  ++stats_.drops[DropReason::kRule];
  PacketPtr dropped = frames.PopFront();
  return true;
}

void SoftPort::Transmit(Burst& frames) {
  const size_t offered = frames.size();
  const uint64_t bytes = BytesOf(frames);
  if (plugged_) wire_->Transmit(0, frames);
  stats_.sent_frames += offered - frames.size();
  stats_.sent_bytes += bytes - BytesOf(frames);
}

bool SoftPort::WaitsForLink() {
  return (link_ == LinkState::kUp && plugged_) || clock_.Now() - down_since_ < patience_;
}

bool SoftPort::ReceiveSome() {
  if (arrivals_.empty() && wire_->Receive(arrivals_) == 0) return false;
  if (!plugged_) {
    stats_.drops[DropReason::kLinkDown] += arrivals_.size();
    arrivals_.Clear();
    return true;
  }
  for (Packet* packet : arrivals_) {
    if (packet->offload.any()) FinishArrival(*packet);
  }
  const Nanoseconds now = clock_.Now();  // one reading a burst
  const size_t delivered = DeliverReceived(now);
  Burst done;  // home together
  arrivals_.MoveFront(delivered, done);
  return delivered > 0;
}

// Whether no queue can have it; then that is counted.
bool SoftPort::IsLost(const Packet& packet) {
  if (!packet.offload.segment && packet.head_length() >= FirstLines::kShortest) return false;
  ++stats_.drops[packet.offload.segment ? DropReason::kUnsupportedOffload : DropReason::kTooShort];
  return true;
}

// As ibv_poll_cq(3) has it: of IPv4 alone, and of both. That of IPv4 comes last, for UDP often has none.
bool SoftPort::ChecksumsGood(const Packet& packet, bool sound) const {
  return sound && options_.hardware.receive_checksums && packet.layers().outer.l3_type == L3Type::kIpv4 &&
         VerifyL4Checksum(packet, LayerSet::kOuter) == ChecksumVerdict::kGood &&
         VerifyIpv4Checksum(packet, LayerSet::kOuter) == ChecksumVerdict::kGood;
}

// How many of the arrivals, from the front, have gone where they belong.
size_t SoftPort::DeliverReceived(Nanoseconds now) {
  if (const SoftSteering::Sole* sole = steering_.sole()) return DeliverTo(*sole, now);
  size_t delivered = 0;
  while (delivered < arrivals_.size() && Deliver(arrivals_[delivered], SoftSteering::Way::kReceived, now)) {
    ++delivered;
  }
  return delivered;
}

// The same for one queue that gets all: places are claimed, and frames counted, for many at once. Each is parsed, for its
// checksums alone, right before it is copied: a pass of its own over all of them (ParseBurst) costs more, for their buffers
// lie in few sets of the first cache.
size_t SoftPort::DeliverTo(const SoftSteering::Sole& sole, Nanoseconds now) {
  using Place = SoftReceiveQueue::Place;
  const bool checksums = options_.hardware.receive_checksums;
  SoftReceiveQueue& queue = *sole.pair->only_receiver();
  uint64_t claimed = queue.ClaimSome(arrivals_.size());
  uint64_t received = 0, bytes = 0, missed = 0, missed_bytes = 0;
  size_t delivered = 0;
  for (; delivered < arrivals_.size(); ++delivered) {
    Packet& packet = arrivals_[delivered];
    if (IsLost(packet)) continue;
    if (claimed == 0) [[unlikely]] {
      const Place place = queue.Claim(clock_);
      if (place == Place::kNotYet) break;
      if (place == Place::kNone) {
        ++missed;
        missed_bytes += packet.length();
        continue;
      }
      ++claimed;
    }
    const bool sound = checksums && Parse(packet) == ParseVerdict::kOk;
    queue.Take({.packet = packet, .at = now, .checksums_good = ChecksumsGood(packet, sound)}, sole.mark);
    --claimed;
    ++received;
    bytes += packet.length();
  }
  queue.Release(claimed);
  sole.hits->packets.Add(received + missed);
  sole.hits->bytes.Add(bytes + missed_bytes);
  stats_.drops[DropReason::kReceiveRingFull] += missed;
  stats_.received_frames += received;
  stats_.received_bytes += bytes;
  return delivered;
}

// False when a queue that gets it has no place for it yet: then none has got it.
bool SoftPort::Deliver(Packet& packet, SoftSteering::Way way, Nanoseconds now) {
  if (IsLost(packet)) return true;
  const SoftSteering::Verdict& verdict = steering_.Find(packet, way);
  if (!ClaimAll(verdict, packet)) return false;
  steering_.CountHits(packet);
  if (way == SoftSteering::Way::kReceived && verdict.targets.empty()) {
    ++stats_.drops[verdict.dropped ? DropReason::kRule : DropReason::kNoDestination];
  }
  if (deliveries_.empty()) return true;
  const SoftArrival arrival{
      .packet = packet,
      .at = now,
      .checksums_good = ChecksumsGood(packet, verdict.sound),
  };
  for (const Delivery& delivery : deliveries_) {
    delivery.queue->Take(arrival, delivery.mark);
    ++stats_.received_frames;
    stats_.received_bytes += packet.length();
  }
  return true;
}

bool SoftPort::ClaimAll(const SoftSteering::Verdict& verdict, const Packet& packet) {
  deliveries_.clear();
  uint64_t none = 0;
  for (const SoftSteering::Target& target : verdict.targets) {
    SoftReceiveQueue& queue = target.pair->ReceiverOf(packet);
    const SoftReceiveQueue::Place place = queue.Claim(clock_);
    if (place == SoftReceiveQueue::Place::kNotYet) {
      for (const Delivery& delivery : deliveries_) delivery.queue->Release();
      return false;
    }
    if (place == SoftReceiveQueue::Place::kClaimed) deliveries_.push_back({&queue, target.mark});
    if (place == SoftReceiveQueue::Place::kNone) ++none;
  }
  stats_.drops[DropReason::kReceiveRingFull] += none;
  return true;
}

}  // namespace sluice
