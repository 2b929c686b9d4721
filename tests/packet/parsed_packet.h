// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_PACKET_PARSED_PACKET_H_
#define SLUICE_TESTS_PACKET_PARSED_PACKET_H_

#include <catch2/catch.hpp>
#include <memory>

#include "sluice/packet/packet_pool.h"
#include "sluice/packet/parse.h"
#include "tests/support/frames.h"

namespace sluice::testing {

// A packet that holds `frame`, in fragments of at most `piece` bytes, and is parsed.
class ParsedPacket {
 public:
  explicit ParsedPacket(const Bytes& frame, size_t piece = 0) : packet_(MakePacket(Pool(), frame, piece)) {
    REQUIRE(packet_ != nullptr);
    verdict_ = Parse(*packet_);
  }

  Packet& operator*() { return *packet_; }
  Packet* operator->() { return packet_.get(); }
  ParseVerdict verdict() const { return verdict_; }
  Bytes bytes() const { return BytesOf(*packet_); }

 private:
  static PacketPool& Pool() {
    static const auto pool = PacketPool::Create({.packets = 1024, .huge_pages = HugePages::kOff}).value();
    return *pool;
  }

  PacketPtr packet_;
  ParseVerdict verdict_;
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_PACKET_PARSED_PACKET_H_
