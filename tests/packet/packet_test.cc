// SPDX-License-Identifier: Apache-2.0
#include "sluice/packet/packet.h"

#include <catch2/catch.hpp>
#include <vector>

#include "tests/packet/small_pool.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

using namespace sluice::testing;  // NOLINT: the fixtures' words

// Lends text, and notes what comes back.
class NotingLender : public Lender {
 public:
  PacketPtr Lend(PacketPool& pool, std::string& text, uint64_t cookie) {
    PacketPtr packet = pool.GetOne();
    packet->BorrowBytes(reinterpret_cast<uint8_t*>(text.data()), static_cast<uint32_t>(text.size()), *this,
                        cookie);
    return packet;
  }
  void Returned(absl::Span<const uint64_t> ended) override {
    cookies.insert(cookies.end(), ended.begin(), ended.end());
  }

  std::vector<uint64_t> cookies;
};

// Everything that says something about a frame, as numbers.
std::vector<uint64_t> Knowledge(const Packet& p) {
  return {p.length(),
          p.head_length(),
          p.ingress_port.value(),
          p.ingress_queue.value(),
          p.vlan_tci,
          p.vlan_stripped,
          static_cast<uint64_t>(p.l3_checksum),
          static_cast<uint64_t>(p.l4_checksum),
          static_cast<uint64_t>(p.rss_type),
          p.offload.any(),
          p.offload.mss,
          p.offload.mss_override,
          p.timestamp(),
          p.mark(),
          p.coalesced_segments(),
          p.coalesced_size(),
          p.coalesced_ids().outer,
          p.coalesced_ids().inner,
          p.owner().value(),
          p.borrows(),
          p.next() != nullptr};
}

void LearnEverything(Packet& p) {
  p.SetHeadroom(0);
  p.SetLength(1500);
  p.Arrive(PortId(3), QueueId(4));
  p.vlan_tci = 100;
  p.vlan_stripped = true;
  p.l3_checksum = p.l4_checksum = ChecksumVerdict::kBad;
  p.rss_type = RssType::kIpv4Tcp;
  p.offload = {.l4_checksum = true, .segment = true, .mss = 1460, .mss_override = 8960};
  p.set_timestamp(77);
  p.set_mark(78);
  p.set_coalesced(4, 1400, {.outer = true, .inner = true});
}

TEST_CASE("a fresh packet is empty and nothing is known of it") {
  auto pool = SmallPool({.packets = 64, .headroom = 200});
  const PacketPtr packet = pool->GetOne();

  CHECK(Knowledge(*packet) == std::vector<uint64_t>(Knowledge(*packet).size(), 0));
  CHECK(packet->headroom() >= 200);
  CHECK(packet->tailroom() == packet->buffer_size() - packet->headroom());
  CHECK(packet->contiguous());
}

TEST_CASE("a mark of 0 is no mark, and packets with it are alike") {
  auto pool = SmallPool({.packets = 64});
  const PacketPtr marked = pool->GetOne(), plain = pool->GetOne();
  marked->set_mark(7);
  CHECK(marked->known() != plain->known());
  marked->set_mark(0);
  CHECK(marked->mark() == 0);
  CHECK(marked->known() == plain->known());
}

TEST_CASE("what one holder knew of a frame the next holder of the packet does not see") {
  auto pool = SmallPool({.packets = 1});
  PacketPtr packet = pool->GetOne();
  const std::vector<uint64_t> fresh = Knowledge(*packet);
  LearnEverything(*packet);
  REQUIRE(Knowledge(*packet) != fresh);
  const Packet* const same = packet.get();
  packet.reset();

  packet = pool->GetOne();

  REQUIRE(packet.get() == same);
  CHECK(Knowledge(*packet) == fresh);
  CHECK(packet->headroom() >= pool->options().headroom);
}

TEST_CASE("the first words tell lengths, tag and request, and not where the packet arrived") {
  auto pool = SmallPool();
  const PacketPtr packet = pool->GetOne();
  LearnEverything(*packet);
  packet->CountLinked(500);
  const Packet::FirstWords words = packet->first_words();

  CHECK(words[0] == 2000);
  CHECK(words[1] == 1500);
  CHECK(words[2] == 100u + (packet->offload.flags() << 16));
  CHECK(words[3] == 1460u + (8960u << 16));
}

TEST_CASE("arriving keeps what the frame asks for and forgets what was found out") {
  auto pool = SmallPool();
  const PacketPtr packet = pool->GetOne();
  LearnEverything(*packet);

  packet->Arrive(PortId(9), QueueId(1));

  CHECK(packet->ingress_port == PortId(9));
  CHECK(packet->offload.mss == 1460);
  CHECK(packet->vlan_tci == 100);
  CHECK(packet->mark() == 0);
  CHECK(packet->timestamp() == 0);
  CHECK(packet->coalesced_segments() == 0);
  CHECK(packet->rss_type == RssType::kNone);
}

TEST_CASE("bytes opened and removed in front move the rooms and the lengths by as much") {
  auto pool = SmallPool();
  const PacketPtr packet = Filled(*pool, "payload");
  const size_t headroom = packet->headroom();
  const size_t tailroom = packet->tailroom();

  std::memcpy(packet->Prepend(7), "header ", 7);
  CHECK(Text(*packet) == "header payload");
  CHECK(packet->headroom() == headroom - 7);

  packet->TrimFront(10);
  CHECK(Text(*packet) == "load");
  CHECK(packet->headroom() == headroom + 3);
  CHECK(packet->tailroom() == tailroom);
  CHECK(packet->length() == 4);
}

TEST_CASE("each piece of a chain counts its own bytes and those behind it") {
  auto pool = SmallPool();
  const PacketPtr head = Filled(*pool, "one ");
  PacketPtr tail = Filled(*pool, "two ");
  tail->Append(Filled(*pool, "three"));

  head->Append(std::move(tail));
  head->Append(Filled(*pool, "!"));

  CHECK(Text(*head) == "one two three!");
  CHECK(head->length() == 14);
  CHECK(head->head_length() == 4);
  CHECK(head->next()->length() == 10);
  CHECK(head->next()->next()->length() == 6);
  CHECK_FALSE(head->contiguous());
}

TEST_CASE("copying out of a chain gives the same bytes as copying out of the joined text") {
  auto pool = SmallPool();
  Random random(PrintedSeed());
  for (int round = 0; round < 300; ++round) {
    std::string text(Below(random, 40), 'a');
    const PacketPtr head = Filled(*pool, text);
    for (uint64_t pieces = Below(random, 6); pieces > 0; --pieces) {
      const std::string piece(Below(random, 40), static_cast<char>('b' + pieces));
      head->Append(Filled(*pool, piece));
      text += piece;
    }
    const auto offset = static_cast<uint32_t>(Below(random, text.size() + 3));
    const auto bytes = static_cast<uint32_t>(Below(random, text.size() + 3));
    std::vector<uint8_t> out(bytes + 1, 0xEE);
    const bool fits = size_t{offset} + bytes <= text.size();
    REQUIRE(head->CopyOut(offset, bytes, out.data()) == fits);
    CHECK(out.back() == 0xEE);
    if (fits) CHECK(std::string(out.begin(), out.end() - 1) == text.substr(offset, bytes));
  }
}

TEST_CASE("copying out refuses an end that wraps around") {
  auto pool = SmallPool();
  const PacketPtr packet = Filled(*pool, "short");
  uint8_t byte = 0;
  CHECK_FALSE(packet->CopyOut(2, ~uint32_t{0}, &byte));
  CHECK_FALSE(packet->CopyOut(~uint32_t{0}, 2, &byte));
  CHECK(byte == 0);
}

TEST_CASE("lent bytes are used where they are, with no room around them") {
  auto pool = SmallPool();
  NotingLender guest;
  std::string memory = "guest memory";
  const PacketPtr packet = guest.Lend(*pool, memory, 1);

  CHECK(packet->data() == reinterpret_cast<uint8_t*>(memory.data()));
  CHECK(Text(*packet) == memory);
  CHECK(packet->borrows());
  CHECK(packet->headroom() == 0);
  CHECK(packet->tailroom() == 0);
}

TEST_CASE("a loan ends once, when the packet is freed, with the cookie it was given") {
  auto pool = SmallPool({.packets = 1});
  NotingLender guest;
  std::string memory = "guest memory";
  guest.Lend(*pool, memory, 42).reset();
  CHECK(guest.cookies == std::vector<uint64_t>{42});

  pool->GetOne().reset();  // the same packet, without a loan
  CHECK(guest.cookies.size() == 1);
}

TEST_CASE("owning a chain copies what is lent, ends each loan once, and leaves own bytes where they are") {
  auto pool = SmallPool();
  NotingLender guest;
  std::string first = "first loan ";
  std::string second = "second loan";
  PacketPtr head = Filled(*pool, "head ");
  head->Append(guest.Lend(*pool, first, 1));
  head->Append(guest.Lend(*pool, second, 2));
  const uint8_t* const own = head->data();

  REQUIRE(head->Own());
  first.assign(first.size(), '?');  // the guest may write there again
  CHECK(guest.cookies == std::vector<uint64_t>{1, 2});
  CHECK(Text(*head) == "head first loan second loan");
  CHECK(head->data() == own);
  CHECK(head->next()->headroom() >= pool->options().headroom);

  REQUIRE(head->Own());
  head.reset();
  CHECK(guest.cookies.size() == 2);
}

TEST_CASE("a loan longer than a buffer is owned in several, among what else the chain has") {
  auto pool = SmallPool({.packets = 8, .buffer_size = 256});
  NotingLender guest;
  std::string fits(256, 'f'), longer(257, 'l'), longest(600, 'x');
  PacketPtr head = guest.Lend(*pool, longer, 1);
  head->Append(guest.Lend(*pool, fits, 2));
  head->Append(guest.Lend(*pool, longest, 3));
  head->Append(Filled(*pool, "end"));

  REQUIRE(head->Own());
  CHECK(guest.cookies == std::vector<uint64_t>{1, 2, 3});
  CHECK(Text(*head) == longer + fits + longest + "end");
  CHECK(head->length() == 257 + 256 + 600 + 3);
  CHECK(pool->available() == 1);
  for (const Packet* piece = head.get(); piece != nullptr; piece = piece->next())
    CHECK_FALSE(piece->borrows());

  head.reset();
  CHECK(guest.cookies.size() == 3);
  CHECK(pool->available() == 8);
}

TEST_CASE("a loan for which the pool has too few buffers is not owned, and nothing is changed") {
  auto pool = SmallPool({.packets = 4, .buffer_size = 256});
  NotingLender guest;
  std::string fits(256, 'f'), too_long(256 * 4, 'l');
  PacketPtr head = guest.Lend(*pool, fits, 1);
  head->Append(guest.Lend(*pool, too_long, 2));

  CHECK_FALSE(head->Own());
  CHECK(guest.cookies.empty());
  CHECK(Text(*head) == fits + too_long);
  CHECK(head->borrows());
  CHECK(pool->available() == 2);

  head.reset();
  CHECK(guest.cookies == std::vector<uint64_t>{1, 2});
  CHECK(pool->available() == 4);
}

TEST_CASE("loans of one lender that end together are told of at once, each once, with the packets at home") {
  struct Group : Lender {
    explicit Group(const PacketPool& of) : pool(of) {}
    void Returned(absl::Span<const uint64_t> cookies) override {
      calls.emplace_back(cookies.begin(), cookies.end());
      home = pool.available();
    }
    const PacketPool& pool;
    std::vector<std::vector<uint64_t>> calls;
    size_t home = 0;
  };
  constexpr size_t kMany = 100;
  auto pool = SmallPool({.packets = 3 * kMany});
  Group lender(*pool);
  NotingLender other;
  std::string memory = "memory";
  Burst first, second;
  for (uint64_t i = 0; i < kMany; ++i) {
    PacketPtr packet = Filled(*pool, "head");
    PacketPtr piece = pool->GetOne();
    piece->BorrowBytes(reinterpret_cast<uint8_t*>(memory.data()), 6, lender, i);
    packet->Append(std::move(piece));
    (i < 60 ? first : second).Push(std::move(packet));
  }
  second.Push(other.Lend(*pool, memory, 7));

  first.Clear();
  REQUIRE(lender.calls.size() == 1);
  CHECK(lender.calls[0].size() == 60);
  CHECK(lender.home == 3 * kMany - 2 * 40 - 1);
  second.Clear();
  std::vector<uint64_t> all;
  for (const auto& call : lender.calls) all.insert(all.end(), call.begin(), call.end());
  REQUIRE(all.size() == kMany);
  for (uint64_t i = 0; i < kMany; ++i) CHECK(all[i] == i);
  CHECK(other.cookies == std::vector<uint64_t>{7});
  CHECK(pool->available() == 3 * kMany);
}

TEST_CASE("a chain of more loans than are told of at once gives each back once") {
  constexpr uint64_t kMany = 200;
  auto pool = SmallPool({.packets = 256});
  NotingLender guest;
  std::string memory = "m";
  PacketPtr head = Filled(*pool, "head");
  for (uint64_t i = 0; i < kMany; ++i) head->Append(guest.Lend(*pool, memory, i));
  head.reset();
  REQUIRE(guest.cookies.size() == kMany);
  for (uint64_t i = 0; i < kMany; ++i) CHECK(guest.cookies[i] == i);
  CHECK(pool->available() == 256);
}

TEST_CASE("a loan that fills a whole buffer is owned without headroom") {
  auto pool = SmallPool({.packets = 1, .buffer_size = 256});
  NotingLender guest;
  std::string memory(256, 'm');
  const PacketPtr packet = guest.Lend(*pool, memory, 1);

  REQUIRE(packet->Own());
  CHECK(Text(*packet) == memory);
  CHECK(packet->headroom() == 0);
  CHECK(packet->tailroom() == 0);
}

TEST_CASE("a lender may free other packets while a loan comes back") {
  struct FreeingLender : Lender {
    void Returned(absl::Span<const uint64_t>) override { kept.reset(); }
    PacketPtr kept;
  };
  auto pool = SmallPool({.packets = 4});
  FreeingLender lender;
  uint8_t byte = 0;
  Burst burst;
  for (int i = 0; i < 3; ++i) burst.Push(pool->GetOne());
  burst[1].BorrowBytes(&byte, 1, lender, 0);
  lender.kept = pool->GetOne();

  burst.Clear();
  CHECK(lender.kept == nullptr);
  CHECK(pool->available() == 4);
}

}  // namespace
}  // namespace sluice
