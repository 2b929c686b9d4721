// SPDX-License-Identifier: Apache-2.0
#include "sluice/packet/coalesce.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "packet/coalesce_match_internal.h"
#include "packet/coalesce_shape_internal.h"
#include "packet/coalesce_table_internal.h"
#include "sluice/base/counters.h"
#include "sluice/base/status.h"
#include "sluice/packet/checksum.h"
#include "sluice/packet/headers.h"

namespace sluice {
namespace {

constexpr uint32_t kNoFlow = 0;  // a hash that no flow has
constexpr uint16_t kMostSegments = 1024;
constexpr size_t kAhead = 16;
constexpr size_t kFlushAhead = 6;
constexpr uint32_t kVniOffset = 4;  // in VXLAN and Geneve headers; a byte that must be alike too follows it

absl::Status Refuse(std::string what, std::string remedy) {
  return ErrorStatus(absl::StatusCode::kInvalidArgument,
                     {.stage = "make coalescer", .what = std::move(what), .remedy = std::move(remedy)});
}

absl::Status Check(const CoalesceOptions& options) {
  if (options.flows == 0 || options.flows > Coalescer::kMostFlows) {
    return Refuse(absl::StrCat("flows is ", options.flows),
                  absl::StrCat("give 1 to ", Coalescer::kMostFlows));
  }
  if (options.max_bytes == 0 || options.max_bytes > 0xffff) {
    return Refuse(absl::StrCat("max_bytes is ", options.max_bytes), "give 1 to 65535");
  }
  if (options.max_segments < 2 || options.max_segments > kMostSegments) {
    return Refuse(absl::StrCat("max_segments is ", options.max_segments),
                  absl::StrCat("give 2 to ", kMostSegments));
  }
  if (options.max_age < absl::ZeroDuration() || options.max_age == absl::InfiniteDuration()) {
    return Refuse("max_age is no length of time", "give zero or more");
  }
  return absl::OkStatus();
}

uint64_t Load64(const uint8_t* from) {
  uint64_t value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}
uint64_t Load32(const uint8_t* from) {
  uint32_t value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

// Both halves of a product, in which each bit of either factor has a say.
uint64_t Mix(uint64_t a, uint64_t b) {
  __extension__ using Uint128 = unsigned __int128;
  const Uint128 product = Uint128{a} * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}
constexpr std::array<uint64_t, 4> kSalts = {0xbf58476d1ce4e5b9, 0x94d049bb133111eb, 0x9e3779b97f4a7c15,
                                            0xd6e8feb86659fd93};

}  // namespace

class Coalescer::Core {
 public:
  explicit Core(const CoalesceOptions& options)
      : options_(options),
        max_age_(static_cast<Nanoseconds>(absl::ToInt64Nanoseconds(options.max_age))),
        table_(options.flows) {
    for (size_t i = 0; i < seeds_.size(); ++i)
      seeds_[i] = kSalts[i] ^ Mix(options.hash_seed + i, kSalts[3 - i]);
  }
  ~Core();

  void Add(Burst& in, Nanoseconds now, Burst& out);
  size_t Flush(Nanoseconds now, Burst& out);
  size_t FlushAll(Burst& out);

  size_t waiting() const { return table_.size(); }
  Nanoseconds next_flush() const {
    return table_.size() == 0 ? 0 : table_.SinceOf(table_.oldest()) + max_age_;
  }
  CoalesceStats stats() const;

 private:
  // Of packets that come next.
  struct Ahead {
    Packet* const* packets;
    size_t size;  // at most kAhead
    std::array<uint32_t, kAhead> hashes;
    std::array<CoalesceUnit*, kAhead> units;  // where each may join; some unit of no flow where there is none
  };

  // Where in packets with these layers the flow stands.
  struct FlowPlaces {
    Layers layers{};
    bool has_flow = false;
    bool ipv4 = false;
    uint16_t reach = 0;  // bytes up to where all of it has been
    uint16_t addresses = 0;
    uint16_t ports = 0;
    uint16_t vni = 0;  // 0 without
    std::array<uint64_t, 2> seeds{};
  };

  FlowPlaces PlacesOf(const Layers& layers) const;
  void Recognise(const Packet& packet);
  uint32_t HashOf(const Packet& packet) const;
  void LookAhead(Ahead& ahead);
  void LookAgain(Ahead& ahead, size_t from);
  static void VerifyForeseen(Packet& packet, CoalesceUnit& unit);
  bool JoinsForeseen(Packet& packet, CoalesceUnit& unit);
  bool AddOne(Packet& packet, Nanoseconds now, Burst& out);
  size_t AddUnforeseen(Ahead& ahead, size_t from, Nanoseconds now, Burst& out);
  bool Begin(Packet& packet, uint32_t hash, Nanoseconds now, Burst& out);
  void Release(uint32_t unit, CoalesceEnd end, Burst& out);
  size_t ReleaseOldest(Nanoseconds since, CoalesceEnd end, Burst& out);

  const CoalesceOptions options_;
  const Nanoseconds max_age_;
  std::array<uint64_t, 4> seeds_;
  FlowPlaces places_;  // of the last packet
  CoalesceShapes shapes_;
  CoalesceTable table_;
  Counter packets_;
  Counter joined_;
  CounterSet<CoalesceEnd, kCoalesceEnds> ends_;
};

Coalescer::Core::~Core() {
  for (Burst out; table_.size() != 0; out.Clear()) FlushAll(out);
}

Coalescer::Core::FlowPlaces Coalescer::Core::PlacesOf(const Layers& layers) const {
  FlowPlaces places{.layers = layers};
  const LayerOffsets* const at = SegmentLayer(layers);
  if (at == nullptr) return places;
  const bool tcp = at->l4_type == L4Type::kTcp;
  places.has_flow = tcp ? options_.tcp : at->l4_type == L4Type::kUdp && options_.udp;
  places.ipv4 = at->l3_type == L3Type::kIpv4;
  places.addresses = static_cast<uint16_t>(
      at->l3 + (places.ipv4 ? offsetof(Ipv4Header, source) : offsetof(Ipv6Header, source)));
  places.ports = at->l4;
  places.reach =
      static_cast<uint16_t>(at->l4 + sizeof(UdpHeader::source_port) + sizeof(UdpHeader::destination_port));
  if (layers.tunnel != TunnelType::kNone)
    places.vni = static_cast<uint16_t>(layers.outer.payload + kVniOffset);
  places.seeds = {seeds_[tcp], seeds_[2 + tcp]};
  return places;
}

void Coalescer::Core::Recognise(const Packet& packet) {
  if (std::memcmp(&packet.layers(), &places_.layers, sizeof(Layers)) != 0) [[unlikely]]
    places_ = PlacesOf(packet.layers());
}

// Of a packet with layers like those of the last that was recognised; of any other some number. Not the device's hash:
// that may come and go, and changes with the RSS key, while a flow must find its unit.
inline uint32_t Coalescer::Core::HashOf(const Packet& packet) const {
  if (!places_.has_flow || packet.head_length() < places_.reach) return kNoFlow;

  const uint8_t* const data = packet.data();
  uint64_t apart = Load32(data + places_.ports);
  if (places_.vni != 0) apart |= Load32(data + places_.vni) << 32;
  const uint8_t* const both = data + places_.addresses;
  uint64_t addresses = Load64(both);
  if (!places_.ipv4) {
    addresses = Mix(addresses ^ seeds_[0], Load64(both + 8) ^ seeds_[1]) ^
                Mix(Load64(both + 16) ^ seeds_[2], Load64(both + 24) ^ seeds_[3]);
  }
  return static_cast<uint32_t>(Mix(addresses ^ places_.seeds[0], apart ^ places_.seeds[1]) >> 32) | 1;
}

void Coalescer::Core::Release(uint32_t unit, CoalesceEnd end, Burst& out) {
  ends_.Add(end);
  out.PushRaw(table_[unit].Finish());
  table_.Remove(unit);
}

// Makes the packet the first of its flow, or lets it pass; returns which. Its flow has nothing here.
bool Coalescer::Core::Begin(Packet& packet, uint32_t hash, Nanoseconds now, Burst& out) {
  const LayerOffsets& at = *SegmentLayer(packet.layers());
  const CoalesceShapes::Numbered* const shape = shapes_.Find(packet, at);
  if (shape == nullptr || !table_.spare().Start(packet, *shape, options_)) {
    out.PushRaw(&packet);
    return false;
  }
  if (table_.full()) Release(table_.oldest(), CoalesceEnd::kEvicted, out);
  table_.InsertSpare(hash, now);
  return true;
}

// What is foreseen is known to be right.
inline void Coalescer::Core::VerifyForeseen(Packet& packet, CoalesceUnit& unit) {
  if (packet.l4_checksum != ChecksumVerdict::kUnknown || packet.lengths() != unit.foreseen().lengths) return;
  if (packet.borrows()) return;
  packet.l4_checksum = VerifyL4Checksum(packet, LayerSet::kInnermost);
}

// Whether the packet, which is of the unit's flow, is as foreseen there, and so has joined.
bool Coalescer::Core::JoinsForeseen(Packet& packet, CoalesceUnit& unit) {
  VerifyForeseen(packet, unit);
  Packet* const packets[] = {&packet};
  CoalesceUnit* const units[] = {&unit};
  return JoinForeseen({.packets = packets, .units = units, .size = 1, .shapes = shapes_}, 0) == 1;
}

// One that is not as foreseen, or of which nothing was foreseen for it was taken for something else. Whether it is now the
// first of its flow.
bool Coalescer::Core::AddOne(Packet& packet, Nanoseconds now, Burst& out) {
  Recognise(packet);
  const uint32_t hash = HashOf(packet);
  if (hash == kNoFlow) {
    out.PushRaw(&packet);
    return false;
  }
  const uint32_t place = table_.Find(hash);
  if (place == CoalesceTable::kNone) return Begin(packet, hash, now, out);

  CoalesceUnit& unit = table_[place];
  if (!JoinsForeseen(packet, unit)) {
    const CoalesceUnit::Verdict verdict = unit.JoinAny(packet, *SegmentLayer(packet.layers()));
    if (!verdict.joins) {
      Release(place, verdict.end, out);
      return Begin(packet, hash, now, out);
    }
  }
  joined_.Add();
  if (unit.complete()) Release(place, unit.end(), out);
  return false;
}

// Where to look for the flow of each, if it is like the packet before: what is not, is not foreseen there.
inline void Coalescer::Core::LookAhead(Ahead& ahead) {
  for (size_t i = 0; i < ahead.size; ++i) {
    Packet& packet = *ahead.packets[i];
    ahead.hashes[i] = HashOf(packet);
    ahead.units[i] = &table_[table_.FindAny(ahead.hashes[i])];
    ahead.units[i]->Prefetch();
    __builtin_prefetch(packet.data() + kCacheLine);
    VerifyForeseen(packet, *ahead.units[i]);
  }
}

// The same once more, when flows have begun since.
void Coalescer::Core::LookAgain(Ahead& ahead, size_t from) {
  for (size_t i = from; i < ahead.size; ++i) ahead.units[i] = &table_[table_.FindAny(ahead.hashes[i])];
}

// Those from `from` on, which is not as foreseen, up to one whose flow has begun. Returns where that is.
size_t Coalescer::Core::AddUnforeseen(Ahead& ahead, size_t from, Nanoseconds now, Burst& out) {
  bool began = false;
  size_t i = from;
  do {
    began |= AddOne(*ahead.packets[i++], now, out);
  } while (i < ahead.size && out.room() >= 2 && table_.Find(ahead.hashes[i]) == CoalesceTable::kNone);
  if (began) LookAgain(ahead, i);
  return i;
}

void Coalescer::Core::Add(Burst& in, Nanoseconds now, Burst& out) {
  size_t added = 0;
  size_t joined = 0;
  Ahead ahead;
  while (added < in.size() && out.room() >= 2) {
    // 1. For a few: not more, or the headers of the first are pushed out of the nearest cache by those of the last.
    ahead.packets = in.begin() + added;
    ahead.size = std::min(kAhead, in.size() - added);
    LookAhead(ahead);

    // 2. What is foreseen joins, in runs. What is not may push out what its flow holds, and itself.
    const CoalesceRun run = {
        .packets = ahead.packets, .units = ahead.units.data(), .size = ahead.size, .shapes = shapes_};
    size_t i = 0;
    while (i < run.size && out.room() >= 2) {
      const size_t from = std::exchange(i, JoinForeseen(run, i));
      joined += i - from;
      if (i != from && ahead.units[i - 1]->full_up()) {
        Release(table_.IndexOf(*ahead.units[i - 1]), CoalesceEnd::kFull, out);
      } else if (i != run.size) {
        i = AddUnforeseen(ahead, i, now, out);
      }
    }
    added += i;
  }
  joined_.Add(joined);
  packets_.Add(added);
  in.DropFront(added);
}

// Those that began at `since` or before. What a flush ends was last touched long ago, so it is got some time ahead.
size_t Coalescer::Core::ReleaseOldest(Nanoseconds since, CoalesceEnd end, Burst& out) {
  const auto due = [&] {
    return table_.size() != 0 && out.room() != 0 && table_.SinceOf(table_.oldest()) <= since;
  };
  if (!due()) return 0;
  uint32_t ahead = table_.oldest();
  for (size_t i = 0; i < kFlushAhead; ++i) ahead = table_.PrefetchFinish(ahead);
  size_t released = 0;
  for (; due(); ++released) {
    ahead = table_.PrefetchFinish(ahead);
    Release(table_.oldest(), end, out);
  }
  return released;
}

size_t Coalescer::Core::Flush(Nanoseconds now, Burst& out) {
  return now < max_age_ ? 0 : ReleaseOldest(now - max_age_, CoalesceEnd::kAge, out);
}

size_t Coalescer::Core::FlushAll(Burst& out) {
  return ReleaseOldest(std::numeric_limits<Nanoseconds>::max(), CoalesceEnd::kAsked, out);
}

CoalesceStats Coalescer::Core::stats() const {
  CoalesceStats stats{.packets = packets_.value(), .joined = joined_.value()};
  for (size_t i = 0; i < kCoalesceEnds; ++i) stats.ends[i] = ends_[static_cast<CoalesceEnd>(i)];
  return stats;
}

absl::StatusOr<std::unique_ptr<Coalescer>> Coalescer::Create(const CoalesceOptions& options) {
  if (absl::Status checked = Check(options); !checked.ok()) return checked;
  return std::unique_ptr<Coalescer>(new Coalescer(options, std::make_unique<Core>(options)));
}

Coalescer::Coalescer(const CoalesceOptions& options, std::unique_ptr<Core> core)
    : options_(options), core_(std::move(core)) {}
Coalescer::~Coalescer() = default;

void Coalescer::Add(Burst& in, Nanoseconds now, Burst& out) { core_->Add(in, now, out); }
size_t Coalescer::Flush(Nanoseconds now, Burst& out) { return core_->Flush(now, out); }
size_t Coalescer::FlushAll(Burst& out) { return core_->FlushAll(out); }
size_t Coalescer::waiting() const { return core_->waiting(); }
Nanoseconds Coalescer::next_flush() const { return core_->next_flush(); }
CoalesceStats Coalescer::stats() const { return core_->stats(); }

}  // namespace sluice
