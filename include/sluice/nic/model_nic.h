// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_MODEL_NIC_H_
#define SLUICE_NIC_MODEL_NIC_H_

// The reference: a network card in software that does what good hardware does, and as little as poor hardware
// does when told to. What a real backend should do in some case is what this one does.
//
//              ┌────────────────────────────── ModelNic ───────────────────────────────┐
//              │ strip VLAN ▶ parse ▶ checksum verdicts ▶ rules ▶ RSS ▶ ring 0, 1 ...  │▶ rx(0), rx(1) ...
//   Wire ══════│                                                                       │
//              │ lane per queue ◀── VLAN in, checksums, one piece ◀── as it was asked  │◀ tx(0), tx(1) ...
//              └───────────────────────────────────────────────────────────────────────┘
//
//   auto [here, there] = MakeWirePair();
//   auto nic = ModelNic::Open({.name = "left"}, std::move(here));
//   absl::Status started = (*nic)->Start({.rx_queues = 4, .pool = &pool});
//
// Use it in tests, in programs that have no hardware, over a TAP or shared-memory wire, and to see what a
// missing capability does to a program (ModelHardware). Do not use it where AF_XDP reaches the same
// interface.
//
// Receive: with one queue and nothing asked of the frames, packets go from the wire straight into the burst:
//   nothing is parsed, and what is not received waits on the wire. With several, whoever polls takes a burst
//   off the wire for all, one poller at a time, puts each packet on its queue's ring and takes its own from
//   there; the others do not wait for it. A flow keeps its order. A poller that is suspended in the middle
//   of that holds up the other queues until it runs again.
// A full ring: drops for that queue (kReceiveRingFull), as a card does; see ModelNicOptions::lossless.
// Budget: with QueueOptions::owner, and a pool with a BudgetBook, each packet is charged to that owner when
//   it is received, in place of whoever was charged before, and in the budget of the pool that it came from.
//   What the allowance does not cover waits on the ring; when that is full too, arrivals are dropped
//   (kOverBudget), and at once what is larger than the whole allowance. Other queues and Nics see nothing of
//   it.
// Coalescing (ModelNicOptions::coalesce): what a poller takes is joined behind the ring. What is held comes
//   out when nothing more is waiting, or when it is max_age old, so a poller gets longer packets the further it
//   falls behind, and waits for nothing when it keeps up. A joined packet is whole and right, and asks to be
//   segmented (OffloadRequest::segment): a port that carries it whole does, any other sends the frames that
//   came, byte for byte. It is counted as one; what is held at Stop, by its frames (kStopped).
// Send: a request that this card cannot do, or that the wire cannot carry, is finished in software before
//   Transmit, with the same bytes: segments are cut (packet/segment.h) with buffers of QueueOptions::pool. Segments
//   that the wire has no room for yet stay in the queue, which then takes nothing more, and go with the next Send or
//   Reclaim. What cannot be finished is dropped (kUnsupportedOffload), what there are no buffers for likewise
//   (kNoBuffer). A packet that is carried unfinished arrives as kPartial, one to be segmented as coalesced, and both
//   keep their request for the next sender.
// Rules and RSS: a change becomes visible between two packets, whole, without a lock; traffic does not wait
//   for it.
// Threads and failures: as nic.h. Cost: about 3 cycles a packet and direction in the direct case, less over a
//   pair wire (benchmarks: nic).

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "sluice/base/clock.h"
#include "sluice/base/export.h"
#include "sluice/nic/nic.h"
#include "sluice/nic/wire.h"
#include "sluice/packet/coalesce.h"

namespace sluice {

// What the card is able to do: good hardware unless fields are taken back. Each shows in Capabilities.
struct ModelHardware {
  uint16_t max_rx_queues = 64;  // at least 1, as are the next two
  uint16_t max_tx_queues = 64;
  uint32_t max_ring_size = 32768;  // a power of two
  uint32_t max_frame = 65535;      // bytes, Ethernet header included; the wire may lower it
  uint32_t max_rules = 1024;
  uint32_t rss_table_size = 128;  // a power of two; 0 = no RSS: what no rule sends elsewhere goes to queue 0
  bool rss_update = true;         // false: SetRss is refused, and the table of Start stays
  bool rule_update = true;  // false: UpdateRule is refused; install the new rule above, then remove the old
  bool match_ethernet = true;  // what a rule may name; the rest is refused
  bool match_vlan = true;
  bool match_flow = true;    // IP, TCP and UDP, of the outer headers
  bool match_tunnel = true;  // tunnels, and what is inside
  bool vlan_strip = true;
  bool vlan_insert = true;
  bool receive_checksums = true;
  bool send_checksums = true;
  bool segmentation = true;
  bool coalescing = true;
  bool fragments = true;
  bool timestamps = true;

  // The least that can be called a card: one queue, no rules, and everything finished in software.
  static constexpr ModelHardware Poor() {
    return {.max_rx_queues = 1,
            .max_tx_queues = 1,
            .max_ring_size = 64,
            .max_frame = 1514,
            .max_rules = 0,
            .rss_table_size = 0,
            .rss_update = false,
            .rule_update = false,
            .match_ethernet = false,
            .match_vlan = false,
            .match_flow = false,
            .match_tunnel = false,
            .vlan_strip = false,
            .vlan_insert = false,
            .receive_checksums = false,
            .send_checksums = false,
            .segmentation = false,
            .coalescing = false,
            .fragments = false,
            .timestamps = false};
  }
};

// Hardware may apply what is written to its tables late. Each change of rules or RSS takes effect when both
// have passed since the call that made it: that many arrivals, and that much of the Clock.
struct TableWriteDelay {
  uint32_t arrivals = 0;
  absl::Duration time{};
};

struct ModelNicOptions {
  std::string name = "model";
  MacAddress mac{};            // as told to others; arrivals are not compared with it
  NodeId node = kUnknownNode;  // as told to others
  ModelHardware hardware{};
  const Clock* clock = nullptr;  // of stamps and delays; outlives the Nic. Null = Clock::Monotonic()

  // What is asked of arrivals. Each costs a look into every frame, and is refused when the hardware lacks it.
  bool strip_vlan = false;          // the outermost tag goes to Packet::vlan_tci
  bool verify_checksums = false;    // verdicts in Packet::l3_checksum and l4_checksum
  bool drop_bad_checksums = false;  // count and drop frames whose verdict is bad (kBadChecksum)
  bool stamp = false;               // time of arrival in Packet::timestamp(), one reading a burst

  // Joins packets of a flow that follow one another (LRO; GRO where it joins UDP too), each queue for itself.
  // Not set: off.
  std::optional<CoalesceOptions> coalesce{};

  // When a receive ring is full, stop taking from the wire rather than drop: every queue then waits for the
  // slowest.
  bool lossless = false;

  TableWriteDelay table_write_delay{};
};

class SLUICE_EXPORT ModelNic : public Nic {
 public:
  // Takes over its end of the wire, which Start opens. kInvalidArgument for an option out of range;
  // kUnimplemented, with its name, for what the hardware lacks.
  static absl::StatusOr<std::unique_ptr<ModelNic>> Open(const ModelNicOptions& options,
                                                        std::unique_ptr<Wire> wire);

  virtual Wire& wire() = 0;

  // Which RssConfig steers arrivals now: behind the last SetRss while the table write is on its way. 0
  // without RSS.
  virtual uint64_t rss_generation() const = 0;  // any thread
};

}  // namespace sluice

#endif  // SLUICE_NIC_MODEL_NIC_H_
