// SPDX-License-Identifier: Apache-2.0
// A capture in, each frame classified, the TCP and UDP ones out into another capture.
//
//   capture_replay in.pcap out.pcapng
#include <cstdio>
#include <map>
#include <string>

#include "sluice/nic/capture_nic.h"
#include "sluice/packet/parse.h"
#include "sluice/packet/rss.h"

using namespace sluice;

namespace {

const char* NameOf(ParseVerdict verdict, const LayerOffsets& at) {
  if (verdict == ParseVerdict::kTruncated) return "truncated";
  if (verdict == ParseVerdict::kMalformed) return "malformed";
  if (at.l4_type == L4Type::kTcp) return "TCP";
  if (at.l4_type == L4Type::kUdp) return "UDP";
  return at.l3_type == L3Type::kArp ? "ARP" : "other";
}

int Replay(const char* in, const char* out) {
  auto pool = PacketPool::Create({.packets = 1024});
  if (!pool.ok()) return std::fprintf(stderr, "%s\n", pool.status().ToString().c_str()), 1;
  auto nic = OpenCaptureNic({.read_path = in, .write_path = out, .keep_times = true});
  if (!nic.ok()) return std::fprintf(stderr, "%s\n", nic.status().ToString().c_str()), 1;
  if (absl::Status started = (*nic)->Start({.pool = pool->get()}); !started.ok()) {
    return std::fprintf(stderr, "%s\n", started.ToString().c_str()), 1;
  }

  const RssConfig rss = RssConfig::Spread(4);
  std::map<std::string, size_t> kinds;
  std::map<uint16_t, size_t> queues;  // where four queues of a NIC would have received them
  Burst burst;
  while ((*nic)->rx(QueueId{0}).Receive(burst) != 0) {
    Burst keep;
    while (!burst.empty()) {
      PacketPtr packet = burst.PopFront();
      const ParseVerdict verdict = Parse(*packet);
      const LayerOffsets& at = Select(packet->layers(), LayerSet::kInnermost);
      ++kinds[NameOf(verdict, at)];
      ++queues[rss.QueueFor(RssHash(rss, *packet).hash).value()];
      if (at.l4_type == L4Type::kTcp || at.l4_type == L4Type::kUdp) keep.Push(std::move(packet));
    }
    (*nic)->tx(QueueId{0}).Send(keep);
  }
  for (const auto& [kind, count] : kinds) std::printf("%-10s %zu\n", kind.c_str(), count);
  for (const auto& [queue, count] : queues) std::printf("queue %d    %zu\n", queue, count);
  const QueueStats written = (*nic)->tx(QueueId{0}).stats();
  std::printf("written    %zu\n", static_cast<size_t>(written.packets));

  // A file that was cut off, or could not be written, is told as an event.
  int status = 0;
  for (const NicEvent& event : (*nic)->TakeEvents()) {
    if (event.kind != NicEvent::Kind::kQueueError) continue;
    std::fprintf(stderr, "%s\n", event.detail.c_str());
    status = 1;
  }
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return std::fprintf(stderr, "usage: %s IN.pcap OUT.pcapng\n", argv[0]), 2;
  return Replay(argv[1], argv[2]);
}
