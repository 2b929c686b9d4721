// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VERBS_RX_INTERNAL_H_
#define SLUICE_NIC_VERBS_RX_INTERNAL_H_

// Receive side of a port.
//
//   pool ──Refill──▶ receive queue ──▶ card ──▶ completion queue ──Receive──▶ Burst
//
// The queues are those of verbs (rx.cc), or the rings of an mlx5 card (rx_direct.cc).

#include <array>
#include <optional>

#include "nic/verbs/failure_internal.h"
#include "nic/verbs/mark_switch_internal.h"
#include "nic/verbs/posted_internal.h"
#include "nic/verbs/receiver_internal.h"
#include "nic/verbs/stamps_internal.h"
#include "sluice/base/counters.h"
#include "sluice/nic/queue.h"

namespace sluice {

// What is asked of arrivals, and what of it the card does.
struct VerbsArrivals {
  VerbsArrivals(const VerbsPort& device, const VerbsNicOptions& options);

  bool Tells(uint64_t field) const { return (fields & field) != 0; }
  bool card_strips() const { return Tells(IBV_WC_EX_WITH_CVLAN); }
  bool card_stamps() const { return Tells(IBV_WC_EX_WITH_COMPLETION_TIMESTAMP); }

  bool strip_vlan = false;
  bool stamp = false;
  bool keep_fcs = false;
  bool direct = false;                   // queues are received from by Mlx5Receiver
  bool compressed = false;               // with their completions in blocks
  std::optional<Mlx5Strides> strides{};  // with chunks of those in place of the pool's buffers
  bool lro = false;                      // into which the card joins frames
  uint64_t fields = 0;                   // that completions are to tell: IBV_WC_EX_WITH_... in a set
  const Clock& clock;
};

// Lives as long as its Nic, for its statistics go on; a queue pair comes with Start and goes with Stop.
class VerbsRxQueue final : public RxQueue {
 public:
  VerbsRxQueue(QueueId id, const VerbsPort& device, const VerbsArrivals& arrivals, const VerbsAlarm& alarm);

  // Ready to receive, with buffers for the whole ring; `region` is that of the pool. Nothing comes without a rule.
  absl::Status Open(const QueueOptions& options, const ibv_mr& region);
  // What nobody received counts as stopped. No rule leads here any more.
  void Close();

  // Before a rule that marks is put. Control thread; until Close.
  void TellMarks() { marks_.TurnOn(); }

  const VerbsReceiver& receiver() const { return receiver_; }
  VerbsFailure& failure() { return failure_; }
  // Whether an event of the card is about this queue. Control thread.
  bool Has(const ibv_async_event& event) const;

  size_t Receive(Burst& burst) override;
  bool Arm() override;
  int fd() const override { return channel_ == nullptr ? -1 : channel_->fd; }
  QueueId id() const override { return id_; }
  QueueStats stats() const override;

 private:
  static constexpr uint32_t kRefill = 32;  // requests posted at once

  // What a completion tells, of either kind of queue.
  struct Done {
    uint64_t number;
    ibv_wc_status status;
    uint32_t bytes = 0;  // this and the rest only of a success
    unsigned flags = 0;
    uint32_t mark = 0;
    uint16_t vlan_tci = 0;
    uint64_t stamp = 0;
  };

  size_t Poll(Burst& burst);
  void PollCard(Burst& burst);
  void PollPlain(Burst& burst);
  size_t TakeRun(const ibv_wc* done, size_t n, Burst& burst);
  void PollExtended(Burst& burst);
  Packet* Describe(const Done& done);
  void Ask(ibv_cq_ex* queue, Done& done) const;
  void Finish(Packet& packet, const Done& done);
  void FinishInSoftware(Burst& burst, size_t from) const;
  void CountFailure(ibv_wc_status status);
  int MakeReady();
  void Mend();
  void GiveBack();
  size_t PacketsForLongest() const;
  bool CanGet(size_t packets);
  size_t GetFresh(Packet** to, size_t count);
  void PutFresh(Packet* const* packets, size_t count);
  void Refill();
  bool Post(Packet* const* fresh, uint32_t count);
  void TakeEvent();

  void PollDirect(Burst& burst);
  void CheckSpoilt();
  bool TakeRun(Burst& burst);
  void DropUnsound(Mlx5Arrival arrival);
  struct Told;
  Told ToTell() const;
  void Tell(Packet& packet, const Mlx5Arrival& arrival, const Told& told);
  absl::Status OpenChunks(const QueueOptions& options);
  void TakeStrided(Burst& burst);
  bool TakeSomeStrided(Burst& burst);
  size_t PiecesFor(const Mlx5Arrival& arrival) const;
  uint8_t* FrameOf(const Mlx5Arrival& arrival, size_t longest);
  bool CopyOut(const Mlx5Arrival& arrival, Packet& packet, const Told& told);
  bool CopyJoined(const Mlx5Arrival& arrival, absl::Span<Packet* const> pieces, const Told& told);
  void CopyTo(absl::Span<Packet* const> pieces, absl::Span<const uint8_t> frame) const;
  void CountFailure(Mlx5Syndrome syndrome);

  const QueueId id_;
  const VerbsPort& device_;
  const VerbsArrivals arrivals_;
  const bool by_software_;      // something is left to do that the card does not
  const bool always_by_field_;  // queues of the extended kind are polled, whether or not a rule marks
  VerbsMarkSwitch marks_;
  VerbsStamps stamps_;
  const VerbsPtr<ibv_comp_channel> channel_;
  VerbsReceiver receiver_;
  std::optional<PostedPackets> posted_;
  std::optional<Mlx5Chunks> chunks_;  // of a striding queue, which has nothing posted
  PacketPool* pool_ = nullptr;
  OwnerId owner_;
  Packet::Arrival arrival_;
  uint32_t headroom_ = 0;
  uint32_t longest_ = 0;  // that a buffer holds
  uint32_t refill_batch_ = 0;
  bool armed_ = false;
  bool broken_ = false;
  Burst early_;        // received by Arm
  bool dead_ = false;  // cannot be mended: the card keeps its buffers until Close
  VerbsFailure failure_;

  std::array<ibv_recv_wr, kRefill> requests_{};
  std::array<ibv_sge, kRefill> places_{};

  alignas(kCacheLine) Counter packets_;
  Counter bytes_;
  Counter wakeups_;
  DropCounters drops_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_VERBS_RX_INTERNAL_H_
