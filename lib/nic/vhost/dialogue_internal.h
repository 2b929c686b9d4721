// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VHOST_DIALOGUE_INTERNAL_H_
#define SLUICE_NIC_VHOST_DIALOGUE_INTERNAL_H_

// One connection with a front-end, from its first message to its last: what was negotiated, the memory, the rings.
//
// Each message is checked against the table in message_internal.h, then by its handler; the first that breaks a rule ends the
// connection, and why() says which and how. Handlers of one subject stand together: dialogue.cc, dialogue_memory.cc,
// dialogue_rings.cc.
//
//            said: num, addr, kick, ...          changed while it runs          memory there again
//   stopped ───────────────────────────▶ running ──────────────▶ resting ─────────────────────▶ running
//      ▲                                    │                        │
//      └── GET_VRING_BASE, reset, the end ◀─┴────────────────────────┘

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "nic/vhost/memory_map_internal.h"
#include "nic/vhost/session_internal.h"
#include "nic/vhost/socket_internal.h"

namespace sluice {

class VhostDialogue {
 public:
  // `options` and `backend` outlive it.
  VhostDialogue(UniqueFd connection, const VhostSessionOptions& options, VhostBackend& backend);
  VhostDialogue(const VhostDialogue&) = delete;
  VhostDialogue& operator=(const VhostDialogue&) = delete;
  ~VhostDialogue();  // stops the rings, and tells the backend

  int fd() const { return socket_.fd(); }

  // Takes what has come, and some messages at most: who floods us gets no more of the host's time. False when it is over.
  bool Serve();
  // Why it is; OK when the front-end just left.
  const absl::Status& why() const { return why_; }
  // Ends it from our side.
  void End(absl::Status why) { why_ = std::move(why); }

  uint64_t messages() const { return messages_; }
  void Tell(VhostSnapshot& snapshot) const;

 private:
  enum class RingState : uint8_t { kStopped, kRunning, kResting };

  // What was said of a ring.
  struct Ring {
    RingState state = RingState::kStopped;
    uint32_t size = 0;  // 0: not said yet
    uint32_t base = 0;
    std::optional<VhostRingAddress> address = {};
    std::optional<bool> enable = {};
    bool kicked = false;  // SET_VRING_KICK came since it was stopped
    VhostFd kick = {};
    VhostFd call = {};
    VhostFd err = {};
    InflightRegion inflight = {};  // since it was started
  };

  struct Inflight {
    MappedFile file = {};
    VhostInflightArea area = {};
  };

  // dialogue.cc
  absl::Status Check(const VhostMessage& message, const VhostRule*& rule) const;
  absl::Status Handle(VhostMessage& message);
  absl::Status Obey(VhostRequest request, VhostMessage& message);
  absl::Status Answer(const VhostMessage& message, absl::Span<const uint8_t> payload,
                      absl::Span<const int> fds = {});
  template <typename T>
  absl::Status AnswerWith(const VhostMessage& message, const T& payload, absl::Span<const int> fds = {}) {
    return Answer(message, {reinterpret_cast<const uint8_t*>(&payload), sizeof(payload)}, fds);
  }
  absl::Status SetFeatures(uint64_t features);
  absl::Status SetProtocolFeatures(uint64_t features);
  absl::Status SetStatus(uint64_t status);
  absl::Status SetMtu(uint64_t mtu);
  absl::Status SendRarp(const VhostMessage& message);
  absl::Status SetBackendChannel(VhostMessage& message);
  absl::Status ResetDevice();
  uint64_t OfferedFeatures() const;
  uint64_t OfferedProtocolFeatures() const;
  bool Negotiated(VhostProtocolFeature feature) const { return (protocol_features_ & BitOf(feature)) != 0; }
  bool packed() const;

  // dialogue_memory.cc
  absl::Status SetMemoryTable(const VhostMessage& message);
  absl::Status AddRegion(VhostMessage& message);
  absl::Status RemoveRegion(const VhostMessage& message);
  void AdoptMemory();
  absl::Status SetLog(VhostMessage& message);
  absl::Status GetInflight(const VhostMessage& message);
  absl::Status SetInflight(VhostMessage& message);
  absl::Status InflightOf(const Ring& ring, uint16_t index, InflightRegion& found) const;

  // dialogue_rings.cc
  absl::Status FindRing(uint64_t index, uint16_t& found) const;
  absl::Status SetRing(VhostRequest request, const VhostRingState& state);
  absl::Status SetSize(Ring& ring, uint32_t size);
  absl::Status SetBase(Ring& ring, uint32_t base);
  absl::Status SetEnable(uint16_t index, uint32_t enable);
  absl::Status SetAddress(const VhostRingAddress& address);
  absl::Status SetRingFd(VhostRequest request, VhostMessage& message);
  absl::Status GetBase(const VhostMessage& message);
  void ResetOwner();
  bool Enabled(const Ring& ring) const;
  bool StartsEnabled() const;
  absl::Status Locate(uint16_t index, VhostRingSetup& setup) const;
  absl::Status Settle(uint16_t index);
  absl::Status SettleAll();
  void Rest(uint16_t index);
  void RestAll();
  void Stop(uint16_t index);
  void StopAll();
  void StopForGood(uint16_t index);
  void StopAllForGood();

  const VhostSessionOptions& options_;
  VhostBackend& backend_;
  VhostSocket socket_;
  absl::Status why_;
  uint64_t messages_ = 0;

  std::optional<uint64_t> features_;  // none before SET_FEATURES
  uint64_t protocol_features_ = 0;
  uint8_t status_ = 0;
  bool refused_ = false;  // by the handler that runs: a matter for the answer, not for hanging up
  UniqueFd backend_channel_;

  VhostMemoryMap map_;
  std::shared_ptr<const GuestMemory> memory_;  // that the rings have
  std::shared_ptr<const DirtyLog> log_;
  std::optional<Inflight> inflight_;
  std::vector<Ring> rings_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_VHOST_DIALOGUE_INTERNAL_H_
