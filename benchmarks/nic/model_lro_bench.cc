// SPDX-License-Identifier: Apache-2.0
// What receive coalescing (ModelNicOptions::coalesce) costs, and saves whoever comes after it: segments of four TCP flows
// cross a cable, 256 at a time, and are received as packets of 32 or, by the same port without, one by one. Joining reads
// their payload, for nobody has verified their checksums.

#include <memory>
#include <utility>
#include <vector>

#include "benchmarks/packet/coalesce_load.h"
#include "benchmarks/paired.h"
#include "sluice/nic/model_nic.h"
#include "sluice/nic/pair_wire.h"
#include "sluice/packet/checksum.h"
#include "sluice/packet/parse.h"

namespace sluice::bench {
namespace {

constexpr CoalesceLoad kLoad = {.flows = 4, .segments = 32, .verify = true};
constexpr size_t kBurst = 32;

class Cable {
 public:
  absl::Status Open(bool joins) {
    joins_ = joins;
    absl::StatusOr<std::unique_ptr<PacketPool>> pool = PacketPool::Create({});
    if (!pool.ok()) return pool.status();
    pool_ = *std::move(pool);
    auto [here, there] = MakeWirePair();
    ModelNicOptions options;
    if (joins) options.coalesce.emplace();
    if (absl::Status opened = OpenEnd({}, std::move(here), sender_); !opened.ok()) return opened;
    return OpenEnd(options, std::move(there), receiver_);
  }

  void Make(size_t from, size_t n) {
    for (size_t i = from; i < from + n; i += kBurst) {
      Burst& burst = in_.emplace_back();
      pool_->Get(burst, kBurst);
      for (size_t k = 0; k < burst.size(); ++k) Fill(burst[k], i + k);
    }
  }

  void Work(size_t) {
    for (Burst& burst : in_) sender_->tx(QueueId{0}).Send(burst);
    RxQueue& queue = receiver_->rx(QueueId{0});
    while (queue.Receive(out_.emplace_back()) > 0) {
    }
  }

  // Returns how many packets of 32 segments came, or would have been.
  size_t Free() {
    size_t freed = 0;
    for (const Burst& burst : out_) freed += burst.size();
    in_.clear();
    out_.clear();
    return joins_ ? freed : freed / kLoad.segments;
  }

 private:
  absl::Status OpenEnd(const ModelNicOptions& options, std::unique_ptr<Wire> wire,
                       std::unique_ptr<ModelNic>& end) {
    absl::StatusOr<std::unique_ptr<ModelNic>> nic = ModelNic::Open(options, std::move(wire));
    if (!nic.ok()) return nic.status();
    end = *std::move(nic);
    return end->Start({.pool = pool_.get()});
  }

  static void Fill(Packet& packet, size_t i) {
    kLoad.Write(i, packet.data());
    packet.SetLength(static_cast<uint32_t>(kLoad.length()));
    Parse(packet);
    FillL4Checksum(packet, LayerSet::kInnermost);
  }

  bool joins_ = false;
  std::unique_ptr<PacketPool> pool_;
  std::unique_ptr<ModelNic> sender_;
  std::unique_ptr<ModelNic> receiver_;
  std::vector<Burst> in_;
  std::vector<Burst> out_;
};

absl::StatusOr<Sampler> Received(bool joins) {
  const auto cable = std::make_shared<Cable>();
  if (absl::Status opened = cable->Open(joins); !opened.ok()) return opened;
  return [cable] { return CostOfRounds(kLoad, *cable); };
}

const Registration lro({.work = "nic/model/lro",
                        .peer = "the same port without",
                        .peer_mode = "4 flows, 32 segments each",
                        .goal = 0,
                        .open = [] { return MakePair(Received(true), Received(false)); }});

}  // namespace
}  // namespace sluice::bench
