// SPDX-License-Identifier: Apache-2.0
#include "tests/nic/virtio_user_queue.h"

#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <numeric>

#include "nic/wire/piece_writer_internal.h"
#include "tests/nic/driver_ring_book.h"
#include "tests/nic/virtio_features.h"

namespace sluice::testing {
namespace {

constexpr size_t kLongestFrame = 14 + 4 + 65535;  // 5.1.6.3.1: tagged, the datagram as long as it can tell
constexpr size_t kHashHeader = 20;
constexpr size_t kPlainFrame = 14 + 4 + 1500;

UniqueFd NewEvent() { return UniqueFd(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)); }

void Signal(int fd) {
  if (eventfd_write(fd, 1) != 0) throw std::runtime_error("eventfd_write");
}
bool Drain(int fd) {
  eventfd_t count = 0;
  return eventfd_read(fd, &count) == 0;
}

}  // namespace

bool GuestQueueSetup::mergeable() const { return Has(feature::kMrgRxbuf); }

// 5.1.6.1: `num_buffers` is there in a header of version 1, whether it means something or not.
size_t GuestQueueSetup::header_bytes() const {
  if (Has(feature::kHashReport)) return kHashHeader;
  return Has(feature::kVersion1 | feature::kMrgRxbuf) ? 12 : 10;
}

// 5.1.6.3.1.
size_t GuestQueueSetup::rx_chain_bytes() const {
  if (mergeable()) return layout.rx_buffer;
  return header_bytes() + (Has(feature::kGuestTso | feature::kGuestUso) ? kLongestFrame : kPlainFrame);
}
size_t GuestQueueSetup::rx_chain_pieces() const {
  return (rx_chain_bytes() + layout.rx_buffer - 1) / layout.rx_buffer;
}

size_t GuestQueueSetup::RxPages() const {
  const size_t pieces = rx_chain_pieces();
  const size_t chains = ring.indirect && pieces <= ring.table ? ring.size : ring.size / pieces;
  return pieces * chains;
}
size_t GuestQueueSetup::TxPages() const { return ring.size + 16 * (kLongestFrame / kGuestPage + 1); }

GuestQueue::GuestQueue() : kick_(NewEvent()), call_(NewEvent()) {}

void GuestQueue::SetUp(const GuestQueueSetup& setup) {
  const std::lock_guard<std::mutex> lock(mutex_);
  setup_ = setup;
  free_ = setup.pages;
  retired_.clear();
  chains_.assign(setup.ring.size, {});
  tokens_.resize(setup.ring.size);
  std::iota(tokens_.begin(), tokens_.end(), size_t{0});
  ring_ = DriverRing::Make(setup.ring, setup.memory);
  OnSetUp();
}

void GuestQueue::TakeDown() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (ring_ == nullptr) return;
  OnTakeDown();
  ring_.reset();
}

RingParts GuestQueue::parts() const { return ring_->parts(); }
uint32_t GuestQueue::size() const { return ring_->options().size; }

uint32_t GuestQueue::BaseFromUsed() {
  const std::lock_guard<std::mutex> lock(mutex_);
  OnHarvest();
  return ring_->BaseFromUsed();
}

uint16_t GuestQueue::outstanding() {
  const std::lock_guard<std::mutex> lock(mutex_);
  OnHarvest();
  return ring_->outstanding();
}

void GuestQueue::Kick() { Signal(kick_.get()); }

void GuestQueue::AddPages(const std::vector<GuestPage>& pages) {
  const std::lock_guard<std::mutex> lock(mutex_);
  free_.insert(free_.begin(), pages.begin(), pages.end());
}

bool GuestQueue::RetirePages(uint64_t guest, uint64_t bytes) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const std::pair<uint64_t, uint64_t> range = {guest, bytes};
  if (std::find(retired_.begin(), retired_.end(), range) == retired_.end()) retired_.push_back(range);
  std::erase_if(free_, [this](const GuestPage& page) { return IsRetired(page); });
  return std::none_of(chains_.begin(), chains_.end(), [this](const Chain& chain) {
    return std::any_of(chain.pages.begin(), chain.pages.end(),
                       [this](const GuestPage& page) { return IsRetired(page); });
  });
}

bool GuestQueue::IsRetired(const GuestPage& page) const {
  return std::any_of(retired_.begin(), retired_.end(),
                     [&](const auto& range) { return page.guest - range.first < range.second; });
}

std::optional<GuestPage> GuestQueue::TakePage() {
  if (free_.empty()) return std::nullopt;
  const GuestPage page = free_.back();
  free_.pop_back();
  return page;
}

void GuestQueue::ReturnPages(const std::vector<GuestPage>& pages) {
  for (const GuestPage& page : pages) {
    if (!IsRetired(page)) free_.push_back(page);
  }
}

bool GuestQueue::Add(Chain& chain) {
  if (tokens_.empty()) return false;
  const size_t token = tokens_.back();
  if (!ring_->Add(chain.pieces, token)) {
    if (ring_->outstanding() == 0) throw std::logic_error("a frame of more pieces than its ring has");
    return false;
  }
  tokens_.pop_back();
  chains_[token] = std::move(chain);
  return true;
}

std::optional<GuestQueue::UsedOne> GuestQueue::TakeChain() {
  const std::optional<UsedChain> used = ring_->TakeUsed();
  if (!used) return std::nullopt;
  tokens_.push_back(used->token);
  return UsedOne{std::exchange(chains_[used->token], {}), used->written};
}

void GuestQueue::PublishAndKick() {
  ring_->Publish();
  if (ring_->KickWanted()) Kick();
}

// Receive.
// ---------------------------------------------------------------------------------------------------------------------

void VirtioUserRxQueue::OnSetUp() {
  Refill();
  if (armed_) {
    ring_->AskForCall();
  } else {
    ring_->RefuseCalls();
  }
}

void VirtioUserRxQueue::OnTakeDown() { arrived_.clear(); }

size_t VirtioUserRxQueue::Receive(Burst& burst) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (ring_ == nullptr) return 0;
  Disarm();
  OnHarvest();
  const size_t before = burst.size();
  while (burst.room() > 0 && !arrived_.empty()) TakeFrame(burst);
  Refill();
  return burst.size() - before;
}

void VirtioUserRxQueue::Disarm() {
  if (!std::exchange(armed_, false)) return;
  if (Drain(call_fd())) wakeups_.Add();
  ring_->RefuseCalls();
}

// What came before is drained first: a call that comes later is for what the look below may miss.
bool VirtioUserRxQueue::Arm() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!armed_) Drain(call_fd());
  armed_ = true;
  return arrived_.empty() && (ring_ == nullptr || ring_->AskForCall());
}

void VirtioUserRxQueue::OnHarvest() {
  while (std::optional<UsedOne> used = TakeChain()) arrived_.push_back(*std::move(used));
}

void VirtioUserRxQueue::Refill() {
  while (std::optional<Chain> chain = FreshChain()) {
    if (Add(*chain)) continue;
    ReturnPages(chain->pages);
    break;
  }
  PublishAndKick();
}

std::optional<GuestQueue::Chain> VirtioUserRxQueue::FreshChain() {
  Chain chain;
  for (size_t left = setup_.rx_chain_bytes(); left > 0;) {
    const std::optional<GuestPage> page = TakePage();
    if (!page) {
      ReturnPages(chain.pages);
      return std::nullopt;
    }
    const size_t bytes = std::min<size_t>(left, setup_.layout.rx_buffer);
    chain.pages.push_back(*page);
    chain.pieces.push_back({.guest = page->guest, .bytes = static_cast<uint32_t>(bytes), .writable = true});
    left -= bytes;
  }
  return chain;
}

void VirtioUserRxQueue::TakeFrame(Burst& burst) {
  const size_t chains = CountChains();
  PacketPtr packet;
  const std::optional<DropReason> reason = ReadFrame(chains, packet);
  for (size_t i = 0; i < chains; ++i) {
    ReturnPages(arrived_.front().chain.pages);
    arrived_.pop_front();
  }
  if (reason) return drops_.Add(*reason);
  packets_.Add();
  bytes_.Add(packet->length());
  burst.Push(std::move(packet));
}

// 5.1.6.4.1: the chains of a frame come together.
size_t VirtioUserRxQueue::CountChains() const {
  const UsedOne& first = arrived_.front();
  Demand(first.written >= setup_.header_bytes(), "wrote less than a header");
  if (setup_.header_bytes() < 12) return 1;
  uint16_t chains = 0;
  std::memcpy(&chains, first.chain.pages[0].here + sizeof(VirtioNetHeader), sizeof(chains));
  if (!setup_.mergeable() && !setup_.strict) return 1;
  Demand(chains == 1 || (chains > 1 && setup_.mergeable()), "says a wrong number of buffers");
  Demand(chains <= arrived_.size(), "gave fewer buffers than it says");
  return chains;
}

namespace {

// What was negotiated says which marks a device may set (5.1.6.4.1).
void CheckHeader(const VirtioNetHeader& header, const GuestQueueSetup& setup) {
  const auto needs = [&](bool set, uint64_t feature) {
    Demand(!set || setup.Has(feature), "marks a frame as the driver did not agree to");
  };
  needs(header.flags != 0, feature::kGuestCsum);
  const int type = header.gso_type & ~VirtioNetHeader::kEcn;
  needs(type == VirtioNetHeader::kTcp4, feature::kGuestTso4);
  needs(type == VirtioNetHeader::kTcp6, feature::kGuestTso6);
  needs(type == VirtioNetHeader::kUdp, feature::kGuestUso4 | feature::kGuestUso6);
  needs((header.gso_type & VirtioNetHeader::kEcn) != 0, feature::kGuestEcn);
  Demand(type == VirtioNetHeader::kWhole || (header.flags & VirtioNetHeader::kNeedsChecksum) != 0,
         "has segments without a checksum to fill");
}

// 5.1.6.4.4.
void ReadHash(const uint8_t* header, Packet& packet) {
  constexpr std::array kTypes = {RssType::kNone, RssType::kIpv4,    RssType::kIpv4Tcp, RssType::kIpv4Udp,
                                 RssType::kIpv6, RssType::kIpv6Tcp, RssType::kIpv6Udp};
  uint16_t type = 0;
  std::memcpy(&packet.rss_hash, header + 12, sizeof(packet.rss_hash));
  std::memcpy(&type, header + 16, sizeof(type));
  Demand(type < kTypes.size(), "reports a kind of hash that is none");
  packet.rss_type = kTypes[type];
}

}  // namespace

std::optional<DropReason> VirtioUserRxQueue::ReadFrame(size_t chains, PacketPtr& packet) const {
  PieceWriter writer(*setup_.queues.pool, setup_.queues.owner);
  size_t skip = setup_.header_bytes();
  for (size_t i = 0; i < chains; ++i) {
    size_t left = arrived_[i].written;
    for (size_t piece = 0; left > 0; ++piece) {
      const size_t bytes = std::min<size_t>(left, arrived_[i].chain.pieces[piece].bytes);
      const size_t from = std::min(skip, bytes);
      if (!writer.Write(arrived_[i].chain.pages[piece].here + from, bytes - from))
        return DropReason::kNoBuffer;
      skip -= from;
      left -= bytes;
    }
  }
  packet = writer.Finish();
  if (packet == nullptr) return DropReason::kTooShort;
  VirtioNetHeader header;
  std::memcpy(&header, arrived_.front().chain.pages[0].here, sizeof(header));
  CheckHeader(header, setup_);
  packet->Arrive(setup_.queues.port, id_);
  if (setup_.Has(feature::kHashReport)) ReadHash(arrived_.front().chain.pages[0].here, *packet);
  return TakeIn(header, *packet);
}

QueueStats VirtioUserRxQueue::stats() const {
  return {.packets = packets_.value(),
          .bytes = bytes_.value(),
          .wakeups = wakeups_.value(),
          .drops = drops_.Read()};
}

// Send.
// ---------------------------------------------------------------------------------------------------------------------

void VirtioUserTxQueue::OnSetUp() {
  const bool csum = setup_.Has(feature::kCsum);
  const bool tso = (setup_.features & feature::kHostTso) == feature::kHostTso;
  egress_.emplace(
      FinisherOptions{.max_frame = kLongestFrame,
                      .carries_l4_checksum = csum,
                      .carries_tso = csum && tso,
                      .uso_segments = static_cast<uint16_t>(csum && setup_.Has(feature::kHostUso) ? 64 : 0),
                      .carries_fragments = true,
                      .pool = setup_.queues.pool});
  ring_->RefuseCalls();
}

void VirtioUserTxQueue::OnTakeDown() {
  egress_->GiveUp(DropReason::kStopped, *this);
  up_ = false;
}

void VirtioUserTxQueue::SetLink(bool up) {
  const std::lock_guard<std::mutex> lock(mutex_);
  up_ = up;
}

size_t VirtioUserTxQueue::Send(Burst& burst) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (ring_ == nullptr || !up_) {
    const size_t taken = burst.size();
    drops_.Add(DropReason::kLinkDown, taken);
    burst.Clear();
    return taken;
  }
  OnHarvest();
  return egress_->Send(burst, *this);
}

size_t VirtioUserTxQueue::Reclaim() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (ring_ == nullptr) return 0;
  OnHarvest();
  if (up_ && egress_->waiting()) egress_->Resume(*this);
  return std::exchange(reaped_, 0);
}

void VirtioUserTxQueue::OnHarvest() {
  while (std::optional<UsedOne> used = TakeChain()) {
    ReturnPages(used->chain.pages);
    ++reaped_;
  }
}

std::optional<DropReason> VirtioUserTxQueue::Put(Burst& frames) {
  std::optional<DropReason> reason;
  while (!frames.empty() && !reason) {
    VirtioNetHeader header;
    reason = Express(frames[0], header);
    if (reason || !PutOne(frames[0], header)) break;
    frames.PopFront();
  }
  PublishAndKick();
  return reason;
}

bool VirtioUserTxQueue::PutOne(const Packet& frame, const VirtioNetHeader& header) {
  Chain chain;
  if (Write(frame, header, chain) && Add(chain)) return true;
  ReturnPages(chain.pages);
  return false;
}

// Fills pages, and says in which pieces.
class VirtioUserTxQueue::Writer {
 public:
  Writer(VirtioUserTxQueue& queue, Chain& chain) : queue_(queue), chain_(chain) {}

  void EndPiece() { piece_left_ = 0; }
  bool Write(const void* from, size_t bytes) {
    for (const auto* at = static_cast<const uint8_t*>(from); bytes > 0;) {
      if (piece_left_ == 0 && !NewPiece()) return false;
      const size_t some = std::min(bytes, piece_left_);
      std::memcpy(chain_.pages.back().here + kGuestPage - page_left_, at, some);
      chain_.pieces.back().bytes += static_cast<uint32_t>(some);
      at += some;
      bytes -= some;
      page_left_ -= some;
      piece_left_ -= some;
    }
    return true;
  }

 private:
  bool NewPiece() {
    if (page_left_ == 0) {
      const std::optional<GuestPage> page = queue_.TakePage();
      if (!page) return false;
      chain_.pages.push_back(*page);
      page_left_ = kGuestPage;
    }
    chain_.pieces.push_back({.guest = chain_.pages.back().guest + kGuestPage - page_left_});
    piece_left_ = std::min<size_t>(page_left_, queue_.setup_.layout.tx_piece);
    return true;
  }

  VirtioUserTxQueue& queue_;
  Chain& chain_;
  size_t page_left_ = 0;
  size_t piece_left_ = 0;
};

bool VirtioUserTxQueue::Write(const Packet& frame, const VirtioNetHeader& header, Chain& chain) {
  Writer writer(*this, chain);
  const std::array<uint8_t, kHashHeader> rest = {};
  bool written = writer.Write(&header, sizeof(header)) &&
                 writer.Write(rest.data(), setup_.header_bytes() - sizeof(header));
  if (setup_.layout.header_apart) writer.EndPiece();
  for (const Packet* piece = &frame; piece != nullptr; piece = piece->next()) {
    written = written && writer.Write(piece->data(), piece->head_length());
  }
  return written;
}

void VirtioUserTxQueue::CountSent(uint64_t packets, uint64_t bytes) {
  packets_.Add(packets);
  bytes_.Add(bytes);
}

QueueStats VirtioUserTxQueue::stats() const {
  return {.packets = packets_.value(), .bytes = bytes_.value(), .wakeups = 0, .drops = drops_.Read()};
}

}  // namespace sluice::testing
