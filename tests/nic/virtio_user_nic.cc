// SPDX-License-Identifier: Apache-2.0
#include "tests/nic/virtio_user_nic.h"

#include <algorithm>
#include <bit>
#include <random>
#include <stdexcept>
#include <utility>

#include "absl/strings/str_cat.h"
#include "sluice/base/status.h"

namespace sluice::testing {
namespace {

constexpr uint32_t kLargestRing = 32768;

// 2.1.
constexpr uint8_t kAcknowledged = 1;
constexpr uint8_t kDriver = 2;
constexpr uint8_t kDriverOk = 4;
constexpr uint8_t kFeaturesOk = 8;

Capabilities AbleTo(uint16_t pairs) {
  Capabilities able;
  able.max_rx_queues = able.max_tx_queues = pairs;
  able.max_ring_size = kLargestRing;
  able.max_frame = 14 + 4 + 65535;
  able.vlan_insert = able.send_l3_checksum = able.send_l4_checksum = able.segmentation = true;
  able.fragments = able.sleeps = true;
  return able;
}

}  // namespace

VirtioUserNic::VirtioUserNic(const VirtioUserNicOptions& options)
    : options_(options),
      name_(absl::StrCat("virtio-user ", options.path)),
      able_(AbleTo(options.queue_pairs)),
      bases_(size_t{2} * options.queue_pairs),
      front_({.path = options.path, .listens = options.listens}) {
  for (uint16_t i = 0; i < options.queue_pairs; ++i) {
    rx_.push_back(std::make_unique<VirtioUserRxQueue>(QueueId{i}));
    tx_.push_back(std::make_unique<VirtioUserTxQueue>(QueueId{i}));
  }
}

VirtioUserNic::~VirtioUserNic() { (void)VirtioUserNic::Stop(); }

absl::Status VirtioUserNic::Refuse(absl::StatusCode code, std::string what, std::string remedy,
                                   std::string capability) const {
  return ErrorStatus(code, {.device = name_,
                            .stage = "check options",
                            .capability = std::move(capability),
                            .what = std::move(what),
                            .remedy = std::move(remedy)});
}

absl::Status VirtioUserNic::Lacks(const std::string& capability) const {
  return Refuse(absl::StatusCode::kUnimplemented, "a driver without steering", "steer behind it", capability);
}

absl::Status VirtioUserNic::CheckQueues(const QueueOptions& queues) const {
  const auto good = [](uint32_t ring) { return ring <= kLargestRing && std::has_single_bit(ring); };
  const uint16_t most = options_.queue_pairs;
  const bool counts =
      queues.rx_queues >= 1 && queues.rx_queues <= most && queues.tx_queues >= 1 && queues.tx_queues <= most;
  if (counts && queues.pool != nullptr && good(queues.rx_ring) && good(queues.tx_ring))
    return absl::OkStatus();
  return Refuse(absl::StatusCode::kInvalidArgument, "no such queues",
                absl::StrCat("ask for 1 to ", most, " of each, a pool, and rings of a power of two"));
}

absl::Status VirtioUserNic::Start(const QueueOptions& queues) {
  if (running_) return Refuse(absl::StatusCode::kFailedPrecondition, "running already", "stop it first");
  if (absl::Status checked = CheckQueues(queues); !checked.ok()) return checked;
  queues_ = queues;
  pairs_ = std::max(queues.rx_queues, queues.tx_queues);
  vanished_ = false;
  running_ = true;
  return absl::OkStatus();
}

absl::Status VirtioUserNic::Stop() {
  if (!running_) return absl::OkStatus();
  front_.Leave();
  Lose();
  for (uint16_t ring = 0; ring < rings(); ++ring) Ring(ring).TakeDown();
  agreed_.reset();
  trouble_.clear();
  regions_ = GuestRegions();
  inflight_fd_.reset();
  unshared_.clear();
  leaving_.clear();
  log_.reset();
  logging_ = false;
  running_ = false;
  return absl::OkStatus();
}

GuestQueue& VirtioUserNic::Ring(uint16_t ring) {
  const size_t pair = ring / 2u;
  return ring % 2 == 0 ? static_cast<GuestQueue&>(*rx_[pair]) : *tx_[pair];
}

DropCounts VirtioUserNic::drops() const {
  DropCounts sum;
  for (const auto& queue : rx_) sum += queue->stats().drops;
  for (const auto& queue : tx_) sum += queue->stats().drops;
  return sum;
}

std::vector<NicEvent> VirtioUserNic::TakeEvents() {
  if (running_ && !vanished_) {
    front_.Poll();
    if (talking_ && !front_.connected()) Lose();
    if (!talking_ && front_.connected()) Greet();
    FinishRemovals();
  }
  return std::exchange(events_, {});
}

void VirtioUserNic::Lose() {
  talking_ = false;
  std::fill(bases_.begin(), bases_.end(), std::nullopt);
  SetLink(LinkState::kDown);
}

void VirtioUserNic::SetLink(LinkState state) {
  for (uint16_t i = 0; i < pairs_; ++i) tx_[i]->SetLink(state == LinkState::kUp);
  if (link_.exchange(state) == state) return;
  const bool up = state == LinkState::kUp;
  events_.push_back({.kind = up ? NicEvent::Kind::kLinkUp : NicEvent::Kind::kLinkDown, .detail = name_});
}

void VirtioUserNic::Vanish() {
  front_.Leave();
  vanished_ = true;
  Lose();
}

void VirtioUserNic::Return() { vanished_ = false; }

// The conversation.
// ---------------------------------------------------------------------------------------------------------------------

void VirtioUserNic::Greet() {
  talking_ = true;
  protocol_ = 0;
  offered_pairs_ = 1;
  front_.Ask(VhostRequest::kGetFeatures, {}, [this](const VhostMessage& answer) {
    if ((answer.Number() & options_.features & kVhostProtocolFeatures) == 0) {
      front_.Tell(VhostRequest::kSetOwner);
      return Agree(answer.Number());
    }
    front_.Ask(VhostRequest::kGetProtocolFeatures, {},
               [this](const VhostMessage& offer) { AgreeOnProtocol(offer.Number()); });
  });
}

void VirtioUserNic::AgreeOnProtocol(uint64_t offered) {
  protocol_ = offered & options_.protocol_features;
  front_.Tell(VhostRequest::kSetProtocolFeatures, PayloadOf(protocol_));
  front_.set_acknowledged(Speaks(VhostProtocolFeature::kReplyAck));
  if (!Speaks(VhostProtocolFeature::kMq)) return AskForQueues();
  front_.Ask(VhostRequest::kGetQueueNum, {}, [this](const VhostMessage& answer) {
    offered_pairs_ = static_cast<uint16_t>(answer.Number());
    AskForQueues();
  });
}

void VirtioUserNic::AskForQueues() {
  front_.Tell(VhostRequest::kSetOwner);
  // Asked again, as others do.
  front_.Ask(VhostRequest::kGetFeatures, {}, [this](const VhostMessage& answer) { Agree(answer.Number()); });
}

void VirtioUserNic::Agree(uint64_t offered) {
  if (offered_pairs_ < pairs_) {
    trouble_ = absl::StrCat("the device has ", offered_pairs_, " of ", pairs_, " queue pairs");
    return;
  }
  const uint64_t features = offered & options_.features;
  if (agreed_ && (*agreed_ & ~features) != 0) {
    trouble_ = "the device came back without " + VhostFeatureNames(*agreed_ & ~features);
    return;
  }
  if (!agreed_) {
    agreed_ = features;
    MakeMachine();
  }
  TellAll();
}

void VirtioUserNic::MakeMachine() {
  const auto has = [this](uint64_t feature) { return (*agreed_ & feature) != 0; };
  GuestQueueSetup rx = {
      .features = *agreed_, .layout = options_.layout, .queues = queues_, .strict = options_.strict};
  rx.ring = {.packed = has(feature::kPacked),
             .indirect = has(feature::kIndirect),
             .event_index = has(feature::kEventIndex),
             .in_order = has(feature::kInOrder),
             .size = static_cast<uint16_t>(queues_.rx_ring),
             .table = options_.table};
  GuestQueueSetup tx = rx;
  tx.ring.size = static_cast<uint16_t>(queues_.tx_ring);

  const size_t rx_bytes = DriverRing::BytesFor(rx.ring), tx_bytes = DriverRing::BytesFor(tx.ring);
  const size_t rings_bytes = pairs_ * (rx_bytes + tx_bytes);
  const size_t pages = pairs_ * (rx.RxPages() + tx.TxPages());
  const size_t share = (pages / options_.regions + 1) * kGuestPage;
  const size_t first_page = (rings_bytes + kGuestPage - 1) / kGuestPage * kGuestPage;
  for (uint32_t i = 0; i < options_.regions; ++i) {
    const size_t offset = i == 0 ? first_page : 0;
    const std::vector<GuestPage> more = GuestRegions::PagesOf(*regions_.Add(offset + share), offset);
    unshared_.insert(unshared_.end(), more.begin(), more.end());
  }
  // A buffer follows the one before it in no region for long.
  std::shuffle(unshared_.begin(), unshared_.end(), std::mt19937(1));

  SharedMemory left = regions_.files()[0]->memory();
  for (uint16_t i = 0; i < pairs_; ++i) {
    rx.memory = left.Part(0, rx_bytes);
    tx.memory = left.Part(rx_bytes, tx_bytes);
    left = left.Part(rx_bytes + tx_bytes, left.bytes - rx_bytes - tx_bytes);
    rx.pages = SharePages(rx.RxPages());
    tx.pages = SharePages(tx.TxPages());
    rx_[i]->SetUp(rx);
    tx_[i]->SetUp(tx);
  }
}

std::vector<GuestPage> VirtioUserNic::SharePages(size_t count) {
  const auto from = unshared_.end() - static_cast<std::ptrdiff_t>(count);
  std::vector<GuestPage> pages(from, unshared_.end());
  unshared_.erase(from, unshared_.end());
  return pages;
}

void VirtioUserNic::TellAll() {
  TellStatus(kAcknowledged | kDriver);
  TellFeatures();
  TellStatus(kAcknowledged | kDriver | kFeaturesOk);
  if (Speaks(VhostProtocolFeature::kInflightShmfd) && inflight_fd_ == nullptr) {
    AskForInflight();
  } else {
    TellRest();
  }
}

// Once for the machine: a device that comes back is given what the one before has made.
void VirtioUserNic::AskForInflight() {
  const auto longest = static_cast<uint16_t>(std::max(queues_.rx_ring, queues_.tx_ring));
  const VhostInflightArea wanted = {.bytes = 0, .offset = 0, .queues = rings(), .ring = longest};
  front_.Ask(VhostRequest::kGetInflightFd, PayloadOf(wanted), [this](const VhostMessage& answer) {
    if (answer.fds.size() != 1) throw std::logic_error("no memory came for what is in flight");
    inflight_ = answer.As<VhostInflightArea>();
    inflight_fd_ = answer.fds[0];
    TellRest();
  });
}

void VirtioUserNic::TellRest() {
  if (Speaks(VhostProtocolFeature::kInflightShmfd))
    front_.Tell(VhostRequest::kSetInflightFd, PayloadOf(inflight_), {inflight_fd_->get()});
  if (Speaks(VhostProtocolFeature::kConfigureMemSlots)) {
    for (const auto& file : regions_.files()) TellRegion(VhostRequest::kAddMemReg, *file);
  } else {
    TellTable();
  }
  for (uint16_t ring = 0; ring < rings(); ++ring) StartRing(ring);
  TellStatus(kAcknowledged | kDriver | kFeaturesOk | kDriverOk);
  // An answer to this means that all before it was heard.
  front_.Ask(VhostRequest::kGetFeatures, {}, [this](const VhostMessage&) { SetLink(LinkState::kUp); });
}

void VirtioUserNic::TellFeatures() {
  const uint64_t logged = logging_ ? kVhostLogAll : 0;
  front_.Tell(VhostRequest::kSetFeatures, PayloadOf(*agreed_ | logged));
}

void VirtioUserNic::TellStatus(uint8_t status) {
  if (Speaks(VhostProtocolFeature::kStatus))
    front_.Tell(VhostRequest::kSetStatus, PayloadOf(uint64_t{status}));
}

void VirtioUserNic::TellTable() {
  const auto& files = regions_.files();
  if (files.size() > kVhostTableRegions) throw std::logic_error("more regions than a table has room for");
  VhostMemoryTable table = {.count = static_cast<uint32_t>(files.size())};
  std::vector<int> fds;
  for (const auto& file : files) {
    table.regions[fds.size()] = file->description();
    fds.push_back(file->fd());
  }
  Bytes payload = PayloadOf(table);
  payload.resize(offsetof(VhostMemoryTable, regions) + files.size() * sizeof(VhostMemoryRegion));
  front_.Tell(VhostRequest::kSetMemTable, payload, fds);
}

void VirtioUserNic::TellRegion(VhostRequest request, const GuestMemoryFile& file) {
  const bool added = request == VhostRequest::kAddMemReg;
  front_.Tell(request, PayloadOf(VhostSingleRegion{.region = file.description()}),
              added ? std::vector<int>{file.fd()} : std::vector<int>{});
}

// Rings.
// ---------------------------------------------------------------------------------------------------------------------

void VirtioUserNic::TellAddress(uint16_t ring) {
  const SharedMemory memory = regions_.files()[0]->memory();
  const RingParts parts = Ring(ring).parts();
  const auto user = [&](const uint8_t* part) { return GuestMemoryFile::UserOf(memory.GuestOf(part)); };
  const VhostRingAddress address = {.index = ring,
                                    .flags = logging_ ? kVhostRingLog : 0,
                                    .descriptors = user(parts.descriptors),
                                    .used = user(parts.device),
                                    .available = user(parts.driver),
                                    .log = memory.GuestOf(parts.device)};
  front_.Tell(VhostRequest::kSetVringAddr, PayloadOf(address));
}

void VirtioUserNic::StartRing(uint16_t ring) {
  GuestQueue& queue = Ring(ring);
  const uint32_t base = bases_[ring].value_or(queue.BaseFromUsed());
  bases_[ring].reset();
  front_.Tell(VhostRequest::kSetVringNum, PayloadOf(VhostRingState{ring, queue.size()}));
  front_.Tell(VhostRequest::kSetVringBase, PayloadOf(VhostRingState{ring, base}));
  TellAddress(ring);
  front_.Tell(VhostRequest::kSetVringCall, PayloadOf(uint64_t{ring}), {queue.call_fd()});
  front_.Tell(VhostRequest::kSetVringKick, PayloadOf(uint64_t{ring}), {queue.kick_fd()});
  EnableRing(ring, true);
  queue.Kick();
}

void VirtioUserNic::EnableRing(uint16_t ring, bool enabled) {
  if ((*agreed_ & kVhostProtocolFeatures) == 0) return;
  front_.Tell(VhostRequest::kSetVringEnable, PayloadOf(VhostRingState{ring, enabled ? 1u : 0u}));
}

void VirtioUserNic::StopRing(uint16_t ring) {
  front_.Ask(VhostRequest::kGetVringBase, PayloadOf(VhostRingState{ring, 0}),
             [this, ring](const VhostMessage& answer) { bases_[ring] = answer.As<VhostRingState>().num; });
}

// Memory.
// ---------------------------------------------------------------------------------------------------------------------

void VirtioUserNic::AddMemory(size_t bytes) {
  const auto file = regions_.Add(bytes);
  if (Speaks(VhostProtocolFeature::kConfigureMemSlots)) {
    TellRegion(VhostRequest::kAddMemReg, *file);
  } else {
    TellTable();
  }
  // Only the pages that a device was told of may come into a ring; messages overtake no frames, which go by another way.
  front_.Ask(VhostRequest::kGetFeatures, {}, [this, file](const VhostMessage&) {
    const std::vector<GuestPage> pages = GuestRegions::PagesOf(*file);
    const size_t share = pages.size() / rings();
    for (uint16_t ring = 0; ring < rings(); ++ring) {
      const auto from = pages.begin() + static_cast<std::ptrdiff_t>(ring * share);
      Ring(ring).AddPages({from, from + static_cast<std::ptrdiff_t>(share)});
    }
  });
}

void VirtioUserNic::RemoveMemory(size_t region) {
  if (region == 0) throw std::invalid_argument("the rings are in the first region");
  leaving_.push_back(regions_.files()[region]);
  FinishRemovals();
}

void VirtioUserNic::FinishRemovals() {
  std::erase_if(leaving_, [this](const std::shared_ptr<const GuestMemoryFile>& file) {
    const VhostMemoryRegion region = file->description();
    bool empty = true;
    for (uint16_t ring = 0; ring < rings(); ++ring) {
      empty = Ring(ring).RetirePages(region.guest, region.bytes) && empty;
    }
    if (!empty) return false;
    regions_.Remove(*file);
    if (Speaks(VhostProtocolFeature::kConfigureMemSlots)) {
      TellRegion(VhostRequest::kRemMemReg, *file);
    } else {
      TellTable();
    }
    return true;
  });
}

// Moving.
// ---------------------------------------------------------------------------------------------------------------------

void VirtioUserNic::StartLog() {
  const size_t bytes = regions_.end() / kGuestPage / 8 + 1;
  absl::StatusOr<std::unique_ptr<Region>> log =
      Region::Create({.name = "dirty", .bytes = bytes, .huge_pages = HugePages::kOff});
  if (!log.ok()) throw std::runtime_error(std::string(log.status().message()));
  log_ = *std::move(log);
  logging_ = true;
  front_.Ask(VhostRequest::kSetLogBase, PayloadOf(VhostLogArea{.bytes = bytes, .offset = 0}),
             [](const VhostMessage&) {}, {log_->fd()});
  TellFeatures();
  for (uint16_t ring = 0; ring < rings(); ++ring) TellAddress(ring);
}

void VirtioUserNic::StopLog() {
  logging_ = false;
  TellFeatures();
  for (uint16_t ring = 0; ring < rings(); ++ring) TellAddress(ring);
}

bool VirtioUserNic::IsLogged(uint64_t guest) const {
  const uint64_t page = guest / kGuestPage;
  return (__atomic_load_n(&log_->data()[page / 8], __ATOMIC_ACQUIRE) >> (page % 8) & 1) != 0;
}

void VirtioUserNic::ClearLog() {
  for (uint8_t& byte : log_->bytes()) __atomic_store_n(&byte, uint8_t{0}, __ATOMIC_RELEASE);
}

void VirtioUserNic::Announce() {
  uint64_t mac = 0;
  std::memcpy(&mac, &options_.mac, sizeof(options_.mac));
  front_.Tell(VhostRequest::kSendRarp, PayloadOf(mac));
}

}  // namespace sluice::testing
