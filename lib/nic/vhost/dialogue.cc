// SPDX-License-Identifier: Apache-2.0
// What was negotiated, and which message goes to which handler.
#include <linux/virtio_config.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nic/vhost/dialogue_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

constexpr int kMostMessages = 64;
constexpr uint64_t kLeastMtu = 68;  // RFC 791: what every IPv4 link carries
constexpr uint64_t kMostMtu = 65535;

absl::Status Lost(VhostArrival arrival) {
  switch (arrival) {
    case VhostArrival::kCutOff:
      return VhostBreach("the front-end hung up within a message", "see why the front-end died");
    case VhostArrival::kTooLong:
      return VhostBreach("a message claims more than 4096 bytes");
    case VhostArrival::kTooManyFds:
      return VhostBreach("more descriptors came with a message than 8, or than this process may open",
                         "raise the limit of open files, or update the front-end");
    case VhostArrival::kFailed:
      return VhostBreach("the socket failed", "see why the front-end died", errno);
    default:
      return absl::OkStatus();
  }
}

// The same, and of whom, and at which step.
absl::Status About(const std::string& path, std::string stage, const absl::Status& status) {
  std::optional<Problem> problem = ProblemOf(status);
  if (!problem) return status;
  problem->device = absl::StrCat("vhost ", path);
  problem->stage = std::move(stage);
  return ErrorStatus(absl::StatusCode::kInvalidArgument, *problem);
}

}  // namespace

VhostDialogue::VhostDialogue(UniqueFd connection, const VhostSessionOptions& options, VhostBackend& backend)
    : options_(options),
      backend_(backend),
      socket_(std::move(connection)),
      rings_(size_t{2} * options.queue_pairs) {
  backend_.OnConnected();
}

VhostDialogue::~VhostDialogue() {
  StopAll();
  backend_.OnDisconnected(why_);
}

bool VhostDialogue::Serve() {
  for (int i = 0; i < kMostMessages; ++i) {
    const VhostArrival arrival = socket_.Receive();
    if (arrival == VhostArrival::kNothing) return true;
    if (arrival != VhostArrival::kMessage) {
      why_ = About(options_.path, "receive", Lost(arrival));
      return false;
    }
    ++messages_;
    const uint32_t request = socket_.message().header.request;
    why_ = About(options_.path, VhostRequestName(request), Handle(socket_.message()));
    if (!why_.ok()) return false;
  }
  return true;
}

absl::Status VhostDialogue::Check(const VhostMessage& message, const VhostRule*& rule) const {
  const VhostHeader& header = message.header;
  if ((header.flags & (kVhostVersionMask | kVhostReply)) != kVhostVersion)
    return VhostBreach(
        absl::StrCat("flags 0x", absl::Hex(header.flags), " are none of a request of version 1"));
  rule = VhostRuleOf(header.request);
  if (rule == nullptr) return VhostBreach("no such request is served, nor was it offered");
  if (header.size < rule->least_bytes || header.size > rule->most_bytes)
    return VhostBreach(absl::StrCat("a payload of ", header.size, " bytes"));
  if ((protocol_features_ & rule->needs) != rule->needs)
    return VhostBreach(absl::StrCat(VhostProtocolFeatureNames(rule->needs), " was not negotiated"));
  const bool memory = rule->request == VhostRequest::kAddMemReg;
  if (memory && message.fd_count == 0) return VhostBreach("no descriptor came with it", kShareGuestMemory);
  if (message.fd_count < rule->least_fds || message.fd_count > rule->most_fds)
    return VhostBreach(absl::StrCat(message.fd_count, " descriptors came with it"));
  return absl::OkStatus();
}

absl::Status VhostDialogue::Handle(VhostMessage& message) {
  const VhostRule* rule = nullptr;
  refused_ = false;
  absl::Status done = Check(message, rule);
  if (done.ok()) done = Obey(rule->request, message);
  if (rule != nullptr && rule->answer == VhostAnswer::kAlways) return done;
  if ((message.header.flags & kVhostNeedReply) == 0 || !Negotiated(VhostProtocolFeature::kReplyAck))
    return done;
  // Who asked is told even when it is hung up on next.
  const absl::Status told = AnswerWith(message, uint64_t{done.ok() && !refused_ ? 0u : 1u});
  return done.ok() ? told : done;
}

absl::Status VhostDialogue::Obey(VhostRequest request, VhostMessage& message) {
  switch (request) {
    case VhostRequest::kGetFeatures:
      return AnswerWith(message, OfferedFeatures());
    case VhostRequest::kSetFeatures:
      return SetFeatures(message.As<uint64_t>());
    case VhostRequest::kGetProtocolFeatures:
      return AnswerWith(message, OfferedProtocolFeatures());
    case VhostRequest::kSetProtocolFeatures:
      return SetProtocolFeatures(message.As<uint64_t>());
    case VhostRequest::kGetQueueNum:
      return AnswerWith(message, uint64_t{options_.queue_pairs});
    case VhostRequest::kGetStatus:
      return AnswerWith(message, uint64_t{status_});
    case VhostRequest::kSetStatus:
      return SetStatus(message.As<uint64_t>());
    case VhostRequest::kNetSetMtu:
      return SetMtu(message.As<uint64_t>());
    case VhostRequest::kSendRarp:
      return SendRarp(message);
    case VhostRequest::kSetBackendReqFd:
      return SetBackendChannel(message);
    case VhostRequest::kResetDevice:
      return ResetDevice();

    case VhostRequest::kSetMemTable:
      return SetMemoryTable(message);
    case VhostRequest::kAddMemReg:
      return AddRegion(message);
    case VhostRequest::kRemMemReg:
      return RemoveRegion(message);
    case VhostRequest::kGetMaxMemSlots:
      return AnswerWith(message, uint64_t{kVhostMemorySlots});
    case VhostRequest::kSetLogBase:
      return SetLog(message);
    case VhostRequest::kGetInflightFd:
      return GetInflight(message);
    case VhostRequest::kSetInflightFd:
      return SetInflight(message);

    case VhostRequest::kSetVringNum:
    case VhostRequest::kSetVringBase:
    case VhostRequest::kSetVringEnable:
      return SetRing(request, message.As<VhostRingState>());
    case VhostRequest::kSetVringAddr:
      return SetAddress(message.As<VhostRingAddress>());
    case VhostRequest::kGetVringBase:
      return GetBase(message);
    case VhostRequest::kSetVringKick:
    case VhostRequest::kSetVringCall:
    case VhostRequest::kSetVringErr:
      return SetRingFd(request, message);
    case VhostRequest::kResetOwner:
      ResetOwner();
      return absl::OkStatus();

    // The owner is whoever connected. Nobody is told when the log was written to: the front-end reads it when it wants to.
    case VhostRequest::kSetOwner:
    case VhostRequest::kSetLogFd:
      return absl::OkStatus();
    default:
      return VhostBreach("no such request is served");
  }
}

absl::Status VhostDialogue::Answer(const VhostMessage& message, absl::Span<const uint8_t> payload,
                                   absl::Span<const int> fds) {
  const VhostHeader header{message.header.request, kVhostVersion | kVhostReply,
                           static_cast<uint32_t>(payload.size())};
  if (socket_.Send(header, payload, fds)) return absl::OkStatus();
  return VhostBreach("the answer can't be sent: the front-end died, or doesn't read", "see what it does");
}

uint64_t VhostDialogue::OfferedFeatures() const {
  return options_.features | kVhostLogAll | kVhostProtocolFeatures;
}

uint64_t VhostDialogue::OfferedProtocolFeatures() const {
  return options_.protocol_features & kVhostServedProtocolFeatures;
}

bool VhostDialogue::packed() const { return Has(features_.value_or(0), VirtioFeature::kPacked); }

// Each queue pair of QEMU sends it, those that come later while the first ones run.
absl::Status VhostDialogue::SetFeatures(uint64_t features) {
  if (const uint64_t more = features & ~OfferedFeatures(); more != 0)
    return VhostBreach(absl::StrCat("not offered: ", VhostFeatureNames(more)));
  if (const uint64_t missing = options_.required_features & ~features; missing != 0)
    return VhostBreach(absl::StrCat("required, and not taken: ", VhostFeatureNames(missing)),
                       "let the guest have it, or open the port without requiring it");
  const uint64_t changed = features ^ features_.value_or(~features);
  const bool running =
      std::any_of(rings_.begin(), rings_.end(), [](const Ring& r) { return r.state != RingState::kStopped; });
  if (running && (changed & ~kVhostLogAll) != 0)
    return VhostBreach("only LOG_ALL may change while rings run", "stop them first (GET_VRING_BASE)");
  if (changed == 0) return absl::OkStatus();
  RestAll();
  if ((changed & kVhostLogAll) != 0 && (features & kVhostLogAll) == 0) log_.reset();
  features_ = features;
  backend_.OnFeatures(features);
  return SettleAll();
}

absl::Status VhostDialogue::SetProtocolFeatures(uint64_t features) {
  if (const uint64_t more = features & ~OfferedProtocolFeatures(); more != 0)
    return VhostBreach(absl::StrCat("not offered: ", VhostProtocolFeatureNames(more)));
  protocol_features_ = features;
  return absl::OkStatus();
}

// virtio 1.2, 2.1. 0 resets the device: front-ends have stopped the rings by then. One that shares no memory goes on as if it did
// (QEMU 7.2 does, of memory that it cannot share), and comes to light when the driver is ready.
absl::Status VhostDialogue::SetStatus(uint64_t status) {
  if (status > 0xff) return VhostBreach(absl::StrCat("status 0x", absl::Hex(status)));
  const bool kicked = std::any_of(rings_.begin(), rings_.end(), [](const Ring& r) { return r.kicked; });
  if ((status & VIRTIO_CONFIG_S_DRIVER_OK) != 0 && kicked && memory_ == nullptr)
    return VhostBreach("the guest's driver is ready, and no memory of it is shared", kShareGuestMemory);
  status_ = static_cast<uint8_t>(status);
  if (status == 0) StopAllForGood();
  return absl::OkStatus();
}

absl::Status VhostDialogue::SetMtu(uint64_t mtu) {
  refused_ = mtu < kLeastMtu || mtu > kMostMtu || !backend_.SetMtu(static_cast<uint16_t>(mtu));
  return absl::OkStatus();
}

absl::Status VhostDialogue::SendRarp(const VhostMessage& message) {
  MacAddress guest;
  std::memcpy(&guest, message.payload.data(), sizeof(guest));
  backend_.SendRarp(guest);
  return absl::OkStatus();
}

// Nothing is asked of the front-end yet that would need it: it is kept so that the front-end finds it open.
absl::Status VhostDialogue::SetBackendChannel(VhostMessage& message) {
  UniqueFd channel = message.TakeFd();
  struct stat file {};
  if (fstat(channel.get(), &file) != 0 || !S_ISSOCK(file.st_mode)) return VhostBreach("it is no socket");
  backend_channel_ = std::move(channel);
  return absl::OkStatus();
}

// Connection and memory stay.
absl::Status VhostDialogue::ResetDevice() {
  StopAllForGood();
  for (Ring& ring : rings_) ring = Ring();
  features_.reset();
  log_.reset();
  inflight_.reset();
  status_ = 0;
  backend_.OnFeatures(0);
  return absl::OkStatus();
}

void VhostDialogue::Tell(VhostSnapshot& snapshot) const {
  snapshot.connected = true;
  snapshot.features = features_.value_or(0);
  snapshot.protocol_features = protocol_features_;
  snapshot.device_status = status_;
  snapshot.logging = log_ != nullptr && (snapshot.features & kVhostLogAll) != 0;
  for (const VhostMemoryMap::Region& region : map_.regions())
    snapshot.regions.push_back({region.said.guest, region.said.bytes, region.file.sealed});
  for (const Ring& ring : rings_) {
    snapshot.rings.push_back({.size = ring.size,
                              .enabled = Enabled(ring),
                              .runs = ring.state == RingState::kRunning,
                              .kick = ring.kick != nullptr,
                              .call = ring.call != nullptr});
  }
}

}  // namespace sluice
