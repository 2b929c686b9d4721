// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_SOFTVERBS_PORT_INTERNAL_H_
#define SLUICE_NIC_SOFTVERBS_PORT_INTERNAL_H_

// The port: frames from the send queues to the wire, and from the wire to the receive queues that the rules name.
//
//   send queues ─▶ staged ─▶ Egress (cut, finish) ─▶ Transmit ─▶ wire ─▶ Receive ─▶ rules ─▶ receive queues
//                                                └──▶ rules (multicast, sniffers) ─▶ receive queues
//
// Nobody is made to wait: what cannot move stays where it is until the next Step. One send queue at a time has frames
// under way, until all that it staged is taken: so those at the front that this port's own rules have got already are
// known by their number.
// Threads: under the lock of the device.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "nic/offload/egress_internal.h"
#include "nic/softverbs/counter_file_internal.h"
#include "nic/softverbs/queue_pair_internal.h"
#include "nic/softverbs/steering_internal.h"
#include "sluice/nic/faulty_wire.h"
#include "sluice/nic/software_verbs.h"
#include "sluice/packet/packet_pool.h"

namespace sluice {

class SoftPort {
 public:
  SoftPort(const SoftwareVerbsOptions& options, const Clock& clock, std::unique_ptr<Wire> wire);
  ~SoftPort() { Close(); }
  SoftPort(const SoftPort&) = delete;
  SoftPort& operator=(const SoftPort&) = delete;

  // The wire is open while there are queue pairs. A queue pair is removed in kReset, and no rule names it.
  absl::Status Add(SoftQueuePair& pair);
  void Remove(SoftQueuePair& pair);
  void SetState(SoftQueuePair& pair, SoftQueuePair::State state);

  // Of a work queue. Flush closes it, and gives back its requests as completions have room; before it goes it is closed.
  void SetOpen(SoftReceiveQueue& queue, bool open);
  void Flush(SoftReceiveQueue& queue);

  SoftSteering& steering() { return steering_; }

  // Moves what can move, some bursts at the most; whether anything did.
  bool Step();

  // What to wait for when nothing moves.
  struct Quiet {
    int wire_fd = -1;
    int service_fd = -1;
    bool may_sleep = true;
    bool blocked = false;  // something waits for room, which no descriptor announces
  };
  Quiet Rest();

  uint32_t max_frame() const { return max_frame_; }
  Nanoseconds patience() const { return patience_; }
  // Down once the peer was there and has gone: before it first comes up, the cable counts as plugged in.
  bool up() const { return plugged_ && (!seen_up_ || link_ == LinkState::kUp); }
  // Pulled: nothing is sent, and what arrives is lost.
  void SetPlugged(bool plugged);
  void SetFaults(const SoftwareVerbsFaults& faults) {
    wire_->SetPlans(faults.send, faults.receive, faults.seed);
  }
  // Called whenever up() has changed.
  void OnChange(std::function<void(bool up)> changed) { changed_ = std::move(changed); }

  SoftwareVerbsStats stats() const;
  // From now on the frames that were dropped for want of room are also told there.
  void ShowDrops(const std::string& path) { out_of_buffer_.Open(path); }

 private:
  class ToWire final : public Outlet {
   public:
    explicit ToWire(SoftPort& port) : port_(port) {}
    std::optional<DropReason> Put(Burst& frames) override { return port_.PutOnWire(frames); }
    void CountSent(uint64_t, uint64_t) override {}
    void CountDrops(DropReason reason, uint64_t packets) override { port_.stats_.drops[reason] += packets; }

   private:
    SoftPort& port_;
  };

  // A frame's way to a receive queue.
  struct Delivery {
    SoftReceiveQueue* queue = nullptr;
    uint32_t mark = 0;
  };

  absl::Status MakePool();
  absl::Status Open();
  void Close();
  void Serve();

  bool SendSome();
  bool SendFrom(SoftQueuePair& pair);
  size_t SendStaged(Burst& staged);
  SoftQueuePair* NextSender();
  std::optional<DropReason> PutOnWire(Burst& frames);
  void Transmit(Burst& frames);
  size_t Unwatched(const Burst& frames) const;
  bool LoopBack(Burst& frames, Burst& ready);
  bool WaitsForLink();
  void TellChange();
  bool WireHolds() const;

  bool ReceiveSome();
  bool IsLost(const Packet& packet);
  bool ChecksumsGood(const Packet& packet, bool sound) const;
  size_t DeliverReceived(Nanoseconds now);
  size_t DeliverTo(const SoftSteering::Sole& sole, Nanoseconds now);
  bool Deliver(Packet& packet, SoftSteering::Way way, Nanoseconds now);
  bool ClaimAll(const SoftSteering::Verdict& verdict, const Packet& packet);

  const SoftwareVerbsOptions options_;
  const Clock& clock_;
  const Nanoseconds patience_;
  const std::unique_ptr<FaultyWire> wire_;  // faults or not
  uint32_t max_frame_;
  std::unique_ptr<PacketPool> pool_;  // from the first time that the wire is opened
  std::optional<Egress> egress_;      // while it is open
  ToWire to_wire_{*this};

  std::vector<SoftQueuePair*> pairs_;
  size_t turn_ = 0;
  bool paced_ = false;               // some have to wait for their time
  SoftQueuePair* sender_ = nullptr;  // whose frames are under way
  size_t looped_ = 0;                // of its frames, from the front: have been looped back
  std::vector<SoftQueuePair*> flushing_;
  std::vector<SoftReceiveQueue*> flushing_work_;  // work queues of their own

  SoftSteering steering_;
  Burst arrivals_;
  std::vector<Delivery> deliveries_;  // of the frame at hand

  uint32_t turns_to_serve_ = 0;
  uint32_t idle_turns_ = 0;
  LinkState link_ = LinkState::kDown;
  bool seen_up_ = false;
  bool plugged_ = true;
  bool told_up_ = true;
  std::function<void(bool up)> changed_;
  Nanoseconds down_since_ = 0;
  SoftwareVerbsStats stats_;
  CounterFile out_of_buffer_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_SOFTVERBS_PORT_INTERNAL_H_
