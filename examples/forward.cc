// SPDX-License-Identifier: Apache-2.0
// The four nouns: Nic, queues, PacketPool, Burst. Two software NICs on a cable; what one sends, a loop like yours
// receives, turns round and sends back. Needs no root and no hardware.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "sluice/nic/model_nic.h"
#include "sluice/nic/pair_wire.h"

using namespace sluice;

namespace {

// Control calls return what went wrong, where, and what to do about it.
template <typename T>
T OrDie(absl::StatusOr<T> result) {
  if (result.ok()) return *std::move(result);
  std::fprintf(stderr, "%s\n", result.status().ToString().c_str());
  std::exit(1);
}

void OrDie(const absl::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  std::exit(1);
}

void SwapAddresses(Packet& packet) {
  uint8_t destination[6];
  std::memcpy(destination, packet.data(), 6);
  std::memcpy(packet.data(), packet.data() + 6, 6);
  std::memcpy(packet.data() + 6, destination, 6);
}

}  // namespace

int main() {
  // 1. Memory first: all packets there will ever be.
  auto pool = OrDie(PacketPool::Create({.packets = 4096}));

  // 2. Two NICs on one cable, a queue each way.
  auto [cable_a, cable_b] = MakeWirePair();
  auto generator = OrDie(ModelNic::Open({.name = "generator"}, std::move(cable_a)));
  auto forwarder = OrDie(ModelNic::Open({.name = "forwarder"}, std::move(cable_b)));
  OrDie(generator->Start({.pool = pool.get()}));
  OrDie(forwarder->Start({.pool = pool.get()}));
  TxQueue& out = generator->tx(QueueId{0});
  RxQueue& back = generator->rx(QueueId{0});
  RxQueue& rx = forwarder->rx(QueueId{0});
  TxQueue& tx = forwarder->tx(QueueId{0});

  // 3. Bursts. What a queue does not take stays in the burst, in order.
  size_t returned = 0;
  Burst burst;
  for (int round = 0; round < 1000; ++round) {
    pool->Get(burst, 32);
    for (Packet* packet : burst) {
      std::memset(packet->data(), 0, 64);
      packet->data()[5] = 1;   // to ...:01
      packet->data()[11] = 2;  // from ...:02
      packet->SetLength(64);
    }
    out.Send(burst);
    burst.Clear();

    rx.Receive(burst);  // the forwarder: this is the loop that you would write
    for (Packet* packet : burst) SwapAddresses(*packet);
    tx.Send(burst);
    burst.Clear();

    returned += back.Receive(burst);
    burst.Clear();  // frees: the packets go home to the pool
  }

  // 4. Every packet is accounted for.
  const QueueStats received = rx.stats();
  std::printf("forwarded %zu of %d packets, dropped %zu\n", static_cast<size_t>(received.packets), 32 * 1000,
              static_cast<size_t>(forwarder->drops().total() + generator->drops().total()));
  return returned == size_t{32} * 1000 ? 0 : 1;
}
