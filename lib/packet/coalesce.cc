// SPDX-License-Identifier: Apache-2.0
#include "sluice/packet/coalesce.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "packet/coalesce_table_internal.h"
#include "sluice/base/counters.h"
#include "sluice/base/status.h"
#include "sluice/packet/headers.h"

namespace sluice {
namespace {

constexpr uint32_t kNoFlow = 0;  // a hash that no flow has
constexpr uint16_t kMostSegments = 1024;
constexpr size_t kAhead = 8;
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

// Odd, its bits in no order. A product's high bits depend on all bits of the factor; the shift brings them down for the
// next.
constexpr uint64_t kMultiplier = 0xbf58476d1ce4e5b9;
uint64_t Mix(uint64_t value) {
  value *= kMultiplier;
  return value ^ value >> 32;
}

}  // namespace

class Coalescer::Core {
 public:
  explicit Core(const CoalesceOptions& options)
      : options_(options),
        max_age_(static_cast<Nanoseconds>(absl::ToInt64Nanoseconds(options.max_age))),
        table_(options.flows) {}
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
  uint32_t HashOf(const Packet& packet) const;
  void AddOne(Packet& packet, uint32_t hash, Nanoseconds now, Burst& out);
  void Begin(Packet& packet, uint32_t hash, Nanoseconds now, Burst& out);
  void Release(uint32_t unit, CoalesceEnd end, Burst& out);

  const CoalesceOptions options_;
  const Nanoseconds max_age_;
  CoalesceTable table_;
  Counter packets_;
  Counter joined_;
  CounterSet<CoalesceEnd, kCoalesceEnds> ends_;
};

Coalescer::Core::~Core() {
  for (Burst out; table_.size() != 0; out.Clear()) FlushAll(out);
}

// Not the device's hash: that may come and go, and changes with the RSS key, while a flow must find its unit.
inline uint32_t Coalescer::Core::HashOf(const Packet& packet) const {
  const Layers& layers = packet.layers();
  const LayerOffsets* const at = SegmentLayer(layers);
  if (at == nullptr) return kNoFlow;
  const bool tcp = at->l4_type == L4Type::kTcp;
  if (tcp ? !options_.tcp : at->l4_type != L4Type::kUdp || !options_.udp) return kNoFlow;

  const uint8_t* const data = packet.data();
  uint64_t hash = Load32(data + at->l4) + options_.hash_seed + tcp;  // ports
  if (layers.tunnel != TunnelType::kNone) {
    hash ^= Load32(data + layers.outer.payload + kVniOffset) << 32;
  }
  if (at->l3_type == L3Type::kIpv4) {
    hash = Mix(hash) ^ Load64(data + at->l3 + offsetof(Ipv4Header, source));
  } else {
    const uint8_t* const addresses = data + at->l3 + offsetof(Ipv6Header, source);
    for (size_t i = 0; i < 32; i += 8) hash = Mix(hash) ^ Load64(addresses + i);
  }
  const auto folded = static_cast<uint32_t>(hash * kMultiplier >> 32);
  return folded != kNoFlow ? folded : 1;
}

void Coalescer::Core::Release(uint32_t unit, CoalesceEnd end, Burst& out) {
  ends_.Add(end);
  out.PushRaw(table_[unit].Finish());
  table_.Remove(unit);
}

// Makes the packet the first of its flow, or lets it pass. Its flow has nothing here.
void Coalescer::Core::Begin(Packet& packet, uint32_t hash, Nanoseconds now, Burst& out) {
  if (!table_.spare().Start(packet, *SegmentLayer(packet.layers()), options_)) return out.PushRaw(&packet);
  if (table_.full()) Release(table_.oldest(), CoalesceEnd::kEvicted, out);
  table_.InsertSpare(hash, now);
}

inline void Coalescer::Core::AddOne(Packet& packet, uint32_t hash, Nanoseconds now, Burst& out) {
  if (hash == kNoFlow) return out.PushRaw(&packet);
  const uint32_t place = table_.Find(hash);
  if (place == CoalesceTable::kNone) return Begin(packet, hash, now, out);

  const LayerOffsets& at = *SegmentLayer(packet.layers());
  CoalesceUnit& unit = table_[place];
  if (!unit.JoinForeseen(packet, at)) {
    const CoalesceUnit::Verdict verdict = unit.JoinAny(packet, at);
    if (!verdict.joins) {
      Release(place, verdict.end, out);
      return Begin(packet, hash, now, out);
    }
  }
  joined_.Add();
  if (unit.complete()) Release(place, unit.end(), out);
}

void Coalescer::Core::Add(Burst& in, Nanoseconds now, Burst& out) {
  size_t added = 0;
  std::array<uint32_t, kAhead> hashes;
  while (added < in.size() && out.room() >= 2) {
    // 1. Where to look, for a few: not more, or the headers of the first are pushed out of the nearest cache by those of
    //    the last.
    const size_t n = std::min(kAhead, in.size() - added);
    for (size_t i = 0; i < n; ++i) {
      hashes[i] = HashOf(in[added + i]);
      table_.Prefetch(hashes[i]);
    }

    // 2. One by one. Each may push out what its flow holds, and itself.
    for (size_t i = 0; i < n && out.room() >= 2; ++i) AddOne(in[added++], hashes[i], now, out);
  }
  packets_.Add(added);
  in.DropFront(added);
}

size_t Coalescer::Core::Flush(Nanoseconds now, Burst& out) {
  size_t released = 0;
  while (table_.size() != 0 && out.room() != 0) {
    const uint32_t unit = table_.oldest();
    if (table_.SinceOf(unit) + max_age_ > now) break;
    Release(unit, CoalesceEnd::kAge, out);
    ++released;
  }
  return released;
}

size_t Coalescer::Core::FlushAll(Burst& out) {
  size_t released = 0;
  for (; table_.size() != 0 && out.room() != 0; ++released)
    Release(table_.oldest(), CoalesceEnd::kAsked, out);
  return released;
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
