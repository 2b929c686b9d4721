// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_NIC_VIRTIO_USER_NIC_H_
#define SLUICE_TESTS_NIC_VIRTIO_USER_NIC_H_

// A guest without a machine around it: a driver of virtio-net with memory of its own, on the front-end's end of a vhost-user
// socket. The peer of a vhost-user device in tests, which need no emulator then.
//
//   VirtioUserNic guest({.path = path, .features = kVirtioUserFeatures & ~feature::kPacked});
//   guest.Start({.pool = &pool});
//   while (guest.link() != LinkState::kUp) { device.TakeEvents(); guest.TakeEvents(); }
//
// All control is done in TakeEvents, without ever waiting for the device: that may be served by the same thread, or sit in
// another process. What a device must not do throws std::logic_error from the call that finds it.
//
// Start makes the machine anew: memory and rings. When the device leaves and comes back they are kept, and it is told to go on
// from where chains were used. Where kInflightShmfd is agreed on, what the device notes of what is in flight is kept as well.
//
// Threads: as a Nic.

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/nic/vhost_front_end.h"
#include "tests/nic/virtio_features.h"
#include "tests/nic/virtio_user_queue.h"

namespace sluice::testing {

inline constexpr uint64_t kVirtioUserFeatures =
    feature::kCsum | feature::kGuestCsum | feature::kGuestTso | feature::kGuestUso | feature::kHostTso |
    feature::kHostUso | feature::kMrgRxbuf | feature::kMq | feature::kIndirect | feature::kEventIndex |
    feature::kVersion1 | feature::kPacked | feature::kInOrder | kVhostProtocolFeatures;

inline constexpr uint64_t kVirtioUserProtocol =
    BitOf(VhostProtocolFeature::kMq) | BitOf(VhostProtocolFeature::kLogShmfd) |
    BitOf(VhostProtocolFeature::kRarp) | BitOf(VhostProtocolFeature::kReplyAck) |
    BitOf(VhostProtocolFeature::kNetMtu) | BitOf(VhostProtocolFeature::kConfigureMemSlots) |
    BitOf(VhostProtocolFeature::kStatus);

struct VirtioUserNicOptions {
  std::string path = {};
  bool listens = false;  // the device connects
  MacAddress mac = MacAddress({2, 0, 0, 0, 0, 2});
  uint16_t queue_pairs = 64;  // at most
  // Wanted, where the device offers them.
  uint64_t features = kVirtioUserFeatures;
  uint64_t protocol_features = kVirtioUserProtocol;
  uint16_t table = 64;   // pieces that an indirect table has room for
  uint32_t regions = 1;  // of memory; more than 8 need kConfigureMemSlots
  GuestLayout layout = {};
  bool strict = true;  // see GuestQueueSetup
};

class VirtioUserNic final : public Nic {
 public:
  explicit VirtioUserNic(const VirtioUserNicOptions& options);
  ~VirtioUserNic() override;

  const std::string& name() const override { return name_; }
  MacAddress mac() const override { return options_.mac; }
  NodeId node() const override { return kUnknownNode; }
  const Capabilities& capabilities() const override { return able_; }

  absl::Status Start(const QueueOptions& queues) override;
  absl::Status Stop() override;
  bool running() const override { return running_; }

  RxQueue& rx(QueueId id) override { return *rx_[id.value()]; }
  TxQueue& tx(QueueId id) override { return *tx_[id.value()]; }
  uint16_t rx_count() const override { return running_ ? queues_.rx_queues : uint16_t{0}; }
  uint16_t tx_count() const override { return running_ ? queues_.tx_queues : uint16_t{0}; }

  absl::StatusOr<RuleId> InstallRule(const Rule&) override { return Lacks("rules"); }
  absl::Status UpdateRule(RuleId, const RuleActions&) override { return Lacks("rules"); }
  absl::Status RemoveRule(RuleId) override { return Lacks("rules"); }
  absl::StatusOr<RuleStats> QueryRule(RuleId) const override { return Lacks("rules"); }
  absl::Status SetRss(const RssConfig&) override { return Lacks("rss"); }

  LinkState link() const override { return link_; }
  std::vector<ModeInForce> modes() const override { return {}; }
  DropCounts drops() const override;

  int event_fd() const override { return running_ ? front_.poll_fd() : -1; }
  std::vector<NicEvent> TakeEvents() override;

  // What was agreed on; and what stands in the way of agreeing, empty when nothing does.
  uint64_t features() const { return agreed_.value_or(0); }
  uint64_t protocol_features() const { return protocol_; }
  uint16_t offered_pairs() const { return offered_pairs_; }
  const std::string& trouble() const { return trouble_; }
  FrontEnd& front() { return front_; }  // for messages that nobody sends
  // Every message was answered that has an answer.
  bool settled() const { return front_.waiting() == 0; }

  // The machine is gone, without a word; its memory is not, as that of one that hangs. Return goes on.
  void Vanish();
  void Return();

  // Rings, by number: 0, 2, ... are those that the guest receives from.
  void StopRing(uint16_t ring);
  std::optional<uint32_t> stopped_at(uint16_t ring) const { return bases_[ring]; }  // once it is answered
  void StartRing(uint16_t ring);
  void EnableRing(uint16_t ring, bool enabled);
  // Chains that the device has.
  uint16_t Outstanding(uint16_t ring) { return Ring(ring).outstanding(); }
  // For what a driver would not do.
  RingParts Parts(uint16_t ring) { return Ring(ring).parts(); }
  int KickFd(uint16_t ring) { return Ring(ring).kick_fd(); }

  // Memory that comes and goes.
  const GuestRegions& regions() const { return regions_; }
  void AddMemory(size_t bytes);
  // Stops using a region, not the first, and takes it away from the device once nothing lies there: some later TakeEvents.
  void RemoveMemory(size_t region);
  void TellTable();  // SET_MEM_TABLE, of what is there

  // Moving the machine: a bit for each page that the device wrote.
  void StartLog();
  void StopLog();
  bool IsLogged(uint64_t guest) const;
  void ClearLog();
  void Announce();  // SEND_RARP

 private:
  absl::Status Refuse(absl::StatusCode code, std::string what, std::string remedy,
                      std::string capability = {}) const;
  absl::Status Lacks(const std::string& capability) const;
  absl::Status CheckQueues(const QueueOptions& queues) const;
  bool Speaks(VhostProtocolFeature feature) const { return (protocol_ & BitOf(feature)) != 0; }
  uint16_t rings() const { return static_cast<uint16_t>(2 * pairs_); }
  GuestQueue& Ring(uint16_t ring);

  // The conversation, in its order.
  void Greet();
  void AgreeOnProtocol(uint64_t offered);
  void AskForQueues();
  void Agree(uint64_t offered);
  void MakeMachine();
  void TellAll();
  void AskForInflight();
  void TellRest();
  void TellFeatures();
  void TellStatus(uint8_t status);
  void TellRegion(VhostRequest request, const GuestMemoryFile& file);
  void TellAddress(uint16_t ring);
  void Lose();
  void SetLink(LinkState state);
  void FinishRemovals();
  std::vector<GuestPage> SharePages(size_t count);

  const VirtioUserNicOptions options_;
  const std::string name_;
  Capabilities able_;
  std::vector<std::unique_ptr<VirtioUserRxQueue>> rx_;
  std::vector<std::unique_ptr<VirtioUserTxQueue>> tx_;
  std::vector<std::optional<uint32_t>> bases_;  // by ring, of those that were stopped

  QueueOptions queues_;
  uint16_t pairs_ = 0;
  std::atomic<bool> running_{false};
  std::atomic<LinkState> link_{LinkState::kDown};
  std::vector<NicEvent> events_;

  FrontEnd front_;
  bool vanished_ = false;
  bool talking_ = false;
  std::optional<uint64_t> agreed_;  // features; once they are the machine is there
  uint64_t protocol_ = 0;
  uint16_t offered_pairs_ = 1;
  std::string trouble_;

  GuestRegions regions_;
  std::vector<GuestPage> unshared_;  // pages of no queue yet
  std::vector<std::shared_ptr<const GuestMemoryFile>> leaving_;
  VhostInflightArea inflight_;
  std::shared_ptr<const UniqueFd> inflight_fd_;  // null: the device has made none
  std::unique_ptr<Region> log_;                  // stays for its readers when logging ends
  bool logging_ = false;
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_NIC_VIRTIO_USER_NIC_H_
