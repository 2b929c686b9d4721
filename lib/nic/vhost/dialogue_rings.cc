// SPDX-License-Identifier: Apache-2.0
// Rings: what is said of each, and when that is enough to serve it.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nic/vhost/dialogue_internal.h"
#include "nic/vhost/guest_words_internal.h"
#include "nic/vhost/inflight_internal.h"
#include "nic/vhost/ring_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

// What a part of a ring takes, and a multiple of what it starts at.
struct Part {
  const char* name;
  uint64_t user;
  uint64_t bytes;
  uint64_t alignment;
};

std::array<Part, 3> PartsOf(bool packed, uint32_t size, const VhostRingAddress& at) {
  const RingAreas areas = RingAreas::Of(size, packed);
  if (packed) {
    return {{{"ring", at.descriptors, areas.descriptors, 16},
             {"driver's event suppression", at.available, areas.driver, 4},
             {"device's event suppression", at.used, areas.device, 4}}};
  }
  return {{{"descriptor table", at.descriptors, areas.descriptors, 16},
           {"available ring", at.available, areas.driver, 2},
           {"used ring", at.used, areas.device, 4}}};
}

absl::Status Find(const GuestMemory& memory, const Part& part, uint8_t*& here) {
  here = memory.AtUser(part.user, part.bytes);
  const auto where = absl::StrCat("the ", part.name, " at 0x", absl::Hex(part.user));
  if (here == nullptr) return VhostBreach(absl::StrCat(where, " is not in one region of memory"));
  if (reinterpret_cast<uintptr_t>(here) % part.alignment != 0)
    return VhostBreach(absl::StrCat(where, " is not aligned to ", part.alignment, " bytes"));
  return absl::OkStatus();
}

absl::Status CheckBase(bool packed, uint32_t base, uint32_t size) {
  constexpr uint32_t kIndex = 0x7fff;
  const bool in_ring = packed ? (base & kIndex) < size && (base >> 16 & kIndex) < size : base <= 0xffff;
  return in_ring ? absl::OkStatus()
                 : VhostBreach(absl::StrCat("base 0x", absl::Hex(base), " of a ring of ", size, " entries"));
}

// By its name: nothing is written to it to find out. Where that can't be read, others without a file are taken for one: none of
// them blocks who writes to it, nor ends it by a signal, as a pipe or a socket without a reader does.
bool IsEventFd(int fd) {
  struct stat file {};
  if (fstat(fd, &file) != 0 || (file.st_mode & S_IFMT) != 0) return false;
  std::array<char, 32> name;
  const ssize_t length = readlink(absl::StrCat("/proc/self/fd/", fd).c_str(), name.data(), name.size());
  return length < 0 || absl::string_view(name.data(), static_cast<size_t>(length)) == "anon_inode:[eventfd]";
}

// The descriptor of a KICK, CALL or ERR, none where the payload says that none comes. It is made not to block, for a worker
// writes to it, whatever the front-end fills it with.
absl::Status TakeRingFd(uint64_t payload, VhostMessage& message, VhostFd& fd) {
  const bool none = (payload & kVhostNoFd) != 0;
  if (none == (message.fd_count == 1))
    return VhostBreach("the flag of no descriptor says otherwise than what came");
  if (none) return absl::OkStatus();
  UniqueFd taken = message.TakeFd();
  if (!IsEventFd(taken.get())) return VhostBreach("it is no eventfd");
  fcntl(taken.get(), F_SETFL, fcntl(taken.get(), F_GETFL) | O_NONBLOCK);
  fd = std::make_shared<const UniqueFd>(std::move(taken));
  return absl::OkStatus();
}

}  // namespace

absl::Status VhostDialogue::FindRing(uint64_t index, uint16_t& found) const {
  if (index >= rings_.size()) return VhostBreach(absl::StrCat("ring ", index, " of ", rings_.size()));
  found = static_cast<uint16_t>(index);
  return absl::OkStatus();
}

absl::Status VhostDialogue::SetRing(VhostRequest request, const VhostRingState& state) {
  uint16_t index = 0;
  if (absl::Status found = FindRing(state.index, index); !found.ok()) return found;
  Ring& ring = rings_[index];
  if (request == VhostRequest::kSetVringEnable) return SetEnable(index, state.num);
  if (ring.state != RingState::kStopped)
    return VhostBreach(absl::StrCat("ring ", index, " runs"), "stop it first (GET_VRING_BASE)");
  const bool is_size = request == VhostRequest::kSetVringNum;
  if (absl::Status set = is_size ? SetSize(ring, state.num) : SetBase(ring, state.num); !set.ok()) return set;
  return Settle(index);
}

absl::Status VhostDialogue::SetSize(Ring& ring, uint32_t size) {
  const bool split = features_ && !packed();  // when it isn't said yet, Locate tells
  if (size == 0 || size > kVhostLargestRing || (split && !std::has_single_bit(size)))
    return VhostBreach(absl::StrCat("a ring of ", size, " entries"));
  ring.size = size;
  return absl::OkStatus();
}

absl::Status VhostDialogue::SetBase(Ring& ring, uint32_t base) {
  if (features_ && !packed() && base > 0xffff) return CheckBase(false, base, ring.size);
  ring.base = base;
  return absl::OkStatus();
}

// Allowed before SET_FEATURES: QEMU enables and disables queue pairs early.
absl::Status VhostDialogue::SetEnable(uint16_t index, uint32_t enable) {
  if (enable > 1) return VhostBreach(absl::StrCat("neither 0 nor 1: ", enable));
  Ring& ring = rings_[index];
  const bool before = Enabled(ring);
  ring.enable = enable == 1;
  if (ring.state == RingState::kRunning && Enabled(ring) != before) backend_.EnableRing(index, enable == 1);
  return absl::OkStatus();
}

absl::Status VhostDialogue::SetAddress(const VhostRingAddress& address) {
  uint16_t index = 0;
  if (absl::Status found = FindRing(address.index, index); !found.ok()) return found;
  if ((address.flags & ~kVhostRingLog) != 0)
    return VhostBreach(absl::StrCat("flags 0x", absl::Hex(address.flags)));
  Rest(index);
  rings_[index].address = address;
  VhostRingSetup setup;
  const bool can_tell = memory_ != nullptr && features_ && rings_[index].size != 0;
  if (absl::Status located = can_tell ? Locate(index, setup) : absl::OkStatus(); !located.ok())
    return located;
  return Settle(index);
}

absl::Status VhostDialogue::SetRingFd(VhostRequest request, VhostMessage& message) {
  const auto payload = message.As<uint64_t>();
  uint16_t index = 0;
  if (absl::Status found = FindRing(payload & kVhostRingIndexMask, index); !found.ok()) return found;
  VhostFd fd;
  if (absl::Status taken = TakeRingFd(payload, message, fd); !taken.ok()) return taken;
  Ring& ring = rings_[index];
  if (request == VhostRequest::kSetVringCall) {  // often, while traffic runs: QEMU masks interrupts by it
    ring.call = std::move(fd);
    if (ring.state == RingState::kRunning) backend_.SetCall(index, ring.call);
    return absl::OkStatus();
  }
  Rest(index);
  if (request == VhostRequest::kSetVringKick) ring.kicked = true;
  (request == VhostRequest::kSetVringKick ? ring.kick : ring.err) = std::move(fd);
  return Settle(index);
}

absl::Status VhostDialogue::GetBase(const VhostMessage& message) {
  auto state = message.As<VhostRingState>();
  uint16_t index = 0;
  if (absl::Status found = FindRing(state.index, index); !found.ok()) return found;
  StopForGood(index);
  state.num = rings_[index].base;
  return AnswerWith(message, state);
}

// Deprecated, and of the two readings that the document allows the one that loses nothing.
void VhostDialogue::ResetOwner() {
  for (uint16_t i = 0; i < rings_.size(); ++i) (void)SetEnable(i, 0);
}

// With VHOST_USER_F_PROTOCOL_FEATURES a ring is disabled until it is enabled; without it, nobody can.
bool VhostDialogue::Enabled(const Ring& ring) const { return ring.enable.value_or(StartsEnabled()); }

bool VhostDialogue::StartsEnabled() const { return features_ && (*features_ & kVhostProtocolFeatures) == 0; }

// All that a backend needs of a ring whose features, size and addresses were said, and the memory is there.
absl::Status VhostDialogue::Locate(uint16_t index, VhostRingSetup& setup) const {
  const Ring& ring = rings_[index];
  const std::array<Part, 3> parts = PartsOf(packed(), ring.size, *ring.address);
  if (!packed() && !std::has_single_bit(ring.size))
    return VhostBreach(absl::StrCat("a split ring of ", ring.size, " entries"));
  if (absl::Status found = Find(*memory_, parts[0], setup.place.descriptors); !found.ok()) return found;
  if (absl::Status found = Find(*memory_, parts[1], setup.place.driver); !found.ok()) return found;
  if (absl::Status found = Find(*memory_, parts[2], setup.place.device); !found.ok()) return found;
  setup.index = index;
  setup.features = *features_;
  setup.size = ring.size;
  setup.base = ring.base;
  setup.enabled = Enabled(ring);
  setup.place.memory = memory_;
  if ((*features_ & kVhostLogAll) != 0) setup.place.log = log_;
  setup.kick = ring.kick;
  setup.call = ring.call;
  setup.err = ring.err;
  return InflightOf(ring, index, setup.place.inflight);
}

// Starts a ring, or lets it go on, if all that it needs is there. One that rests and is not in the memory any more rests on,
// and is no error: a region that changes its size is removed first, and added next.
absl::Status VhostDialogue::Settle(uint16_t index) {
  Ring& ring = rings_[index];
  const bool whole = ring.kicked && ring.size != 0 && ring.address && features_ && memory_ != nullptr;
  if (ring.state == RingState::kRunning || !whole) return absl::OkStatus();
  VhostRingSetup setup;
  const absl::Status located = Locate(index, setup);
  if (!located.ok()) return ring.state == RingState::kResting ? absl::OkStatus() : located;
  if (ring.state == RingState::kResting) {
    ring.state = RingState::kRunning;
    backend_.ResumeRing(setup);
    return absl::OkStatus();
  }
  if (absl::Status base = CheckBase(packed(), ring.base, ring.size); !base.ok()) return base;
  ring.state = RingState::kRunning;
  ring.inflight = setup.place.inflight;
  backend_.StartRing(setup);
  return absl::OkStatus();
}

absl::Status VhostDialogue::SettleAll() {
  for (uint16_t i = 0; i < rings_.size(); ++i) {
    if (absl::Status settled = Settle(i); !settled.ok()) return settled;
  }
  return absl::OkStatus();
}

void VhostDialogue::Rest(uint16_t index) {
  if (rings_[index].state != RingState::kRunning) return;
  rings_[index].state = RingState::kResting;
  backend_.RestRing(index);
}

void VhostDialogue::RestAll() {
  for (uint16_t i = 0; i < rings_.size(); ++i) Rest(i);
}

// Where it was is where it goes on, unless SET_VRING_BASE says otherwise. It waits for another SET_VRING_KICK. Who cannot enable
// rings finds it enabled again.
void VhostDialogue::Stop(uint16_t index) {
  Ring& ring = rings_[index];
  if (ring.state != RingState::kStopped) ring.base = backend_.StopRing(index);
  ring.state = RingState::kStopped;
  ring.kicked = false;
  ring.kick.reset();
  if (StartsEnabled()) ring.enable.reset();
}

void VhostDialogue::StopAll() {
  for (uint16_t i = 0; i < rings_.size(); ++i) Stop(i);
}

// The front-end knows where the ring is, or begins it anew: what was noted of it holds no longer. Of one that just leaves it does:
// it may come back with nothing but that.
void VhostDialogue::StopForGood(uint16_t index) {
  Stop(index);
  const InflightRegion region = std::exchange(rings_[index].inflight, {});
  if (region.here == nullptr) return;
  Store<uint16_t>(region.here + offsetof(VhostInflightSplit, version), 0, __ATOMIC_RELEASE);
}

void VhostDialogue::StopAllForGood() {
  for (uint16_t i = 0; i < rings_.size(); ++i) StopForGood(i);
}

}  // namespace sluice
