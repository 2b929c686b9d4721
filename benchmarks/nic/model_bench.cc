// SPDX-License-Identifier: Apache-2.0
// What the Nic interface itself costs: packets received and sent again where the wire is nothing but memory.

#include <memory>
#include <utility>

#include "benchmarks/dpdk/peers.h"
#include "benchmarks/dpdk/testpmd.h"
#include "benchmarks/paired.h"
#include "sluice/nic/model_nic.h"
#include "sluice/nic/pair_wire.h"

namespace sluice::bench {
namespace {

constexpr uint32_t kFrame = 64;

// Ports on wires, started, with the pool that they draw from.
class Ports {
 public:
  static absl::StatusOr<std::shared_ptr<Ports>> Make() {
    absl::StatusOr<std::unique_ptr<PacketPool>> pool = PacketPool::Create({});
    if (!pool.ok()) return pool.status();
    return std::make_shared<Ports>(*std::move(pool));
  }

  explicit Ports(std::unique_ptr<PacketPool> pool) : pool_(std::move(pool)) {}

  absl::StatusOr<Nic*> Add(std::unique_ptr<Wire> wire) {
    absl::StatusOr<std::unique_ptr<ModelNic>> nic = ModelNic::Open({}, std::move(wire));
    if (!nic.ok()) return nic.status();
    if (absl::Status status = (*nic)->Start({.pool = pool_.get()}); !status.ok()) return status;
    nics_.push_back(*std::move(nic));
    return nics_.back().get();
  }

  // Sends `n` packets out of `nic`.
  absl::Status Prime(Nic& nic, size_t n) {
    Burst burst;
    pool_->Get(burst, n);
    for (Packet* packet : burst) packet->SetLength(kFrame);
    nic.tx(QueueId{0}).Send(burst);
    return burst.empty() ? absl::OkStatus() : absl::InternalError("the wire is too short");
  }

 private:
  const std::unique_ptr<PacketPool> pool_;
  std::vector<std::unique_ptr<ModelNic>> nics_;
};

// The queues of one port, as a worker holds them.
struct Queues {
  explicit Queues(Nic& nic) : rx(nic.rx(QueueId{0})), tx(nic.tx(QueueId{0})) {}

  // Sends what is received; returns how many packets went through.
  size_t Turn() const {
    Burst burst;
    rx.Receive(burst);
    return tx.Send(burst);
  }

  RxQueue& rx;
  TxQueue& tx;
};

// Two ports on a cable, a burst of 32 under way between them.
absl::StatusOr<Sampler> PairIo() {
  absl::StatusOr<std::shared_ptr<Ports>> ports = Ports::Make();
  if (!ports.ok()) return ports.status();
  auto [here, there] = MakeWirePair();
  absl::StatusOr<Nic*> a = (*ports)->Add(std::move(here));
  absl::StatusOr<Nic*> b = (*ports)->Add(std::move(there));
  if (!a.ok()) return a.status();
  if (!b.ok()) return b.status();
  if (absl::Status status = (*ports)->Prime(**a, dpdk::kBurst); !status.ok()) return status;
  return NanosecondsPer([keep = *ports, a = Queues(**a), b = Queues(**b)](size_t n) {
    for (size_t done = 0; done < n;) done += b.Turn() + a.Turn();
  });
}

// A port to nowhere: a packet is got from the pool and given back for each that is counted.
absl::StatusOr<Sampler> NullIo() {
  absl::StatusOr<std::shared_ptr<Ports>> ports = Ports::Make();
  if (!ports.ok()) return ports.status();
  absl::StatusOr<Nic*> nic = (*ports)->Add(MakeNullWire({.frame_length = kFrame}));
  if (!nic.ok()) return nic.status();
  return NanosecondsPer([keep = *ports, port = Queues(**nic)](size_t n) {
    for (size_t done = 0; done < n;) done += port.Turn();
  });
}

const Registration pair_io({.work = "nic/pair/64/io",
                            .peer = "testpmd io",
                            .peer_mode = "net_ring to itself, burst 32",
                            .goal = 1,
                            .open = [] { return MakePair(PairIo(), dpdk::TestpmdRingIo()); }});

// Two calls and nothing else: pointers pass through a ring, and no packet is looked at. Ours counts its bytes, says where it
// arrived, and looks whether something was asked of it.
const Registration pair_bare({.work = "nic/pair/64/bare_loop",
                              .peer = "net_ring",
                              .peer_mode = "rte_eth_rx_burst and tx_burst, burst 32",
                              .goal = 1,
                              .open = [] { return MakePair(PairIo(), dpdk::RingPortIo()); }});

const Registration null_io({.work = "nic/null/64/io",
                            .peer = "net_null io",
                            .peer_mode = "no copy, burst 64",
                            .goal = 2,
                            .open = [] { return MakePair(NullIo(), dpdk::NullPortIo()); }});

}  // namespace
}  // namespace sluice::bench
