// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_SUPPORT_WIRE_ENDS_H_
#define SLUICE_TESTS_SUPPORT_WIRE_ENDS_H_

// Ends of wires for tests, each with a pool of its own, and a folder that goes with the test.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "sluice/nic/shm_wire.h"
#include "sluice/packet/packet_pool.h"

namespace sluice::testing {

class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

struct WireEndOptions {
  uint16_t lanes = 1;
  uint32_t ring = 256;
  uint32_t packets = 2048;
  uint32_t buffer_size = 2048;
};

class WireEnd {
 public:
  // Opened; throws when that fails.
  explicit WireEnd(absl::StatusOr<std::unique_ptr<Wire>> wire, const WireEndOptions& options = {});

  Wire& wire() { return *wire_; }
  PacketPool& pool() { return *pool_; }
  void Reopen();

  bool up() { return wire_->link() == LinkState::kUp; }
  void Service() { wire_->Service(); }

  // A frame that says which it is, `length` >= 8.
  PacketPtr Numbered(uint64_t number, uint32_t length = 60);
  // Sends frames numbered from `first`, as many as are taken; returns how many.
  size_t Send(uint64_t first, size_t count, uint32_t length = 60);
  bool SendOne(PacketPtr packet);
  // What there is, by number; throws on a frame that is damaged.
  std::vector<uint64_t> Receive();
  // The next one; null when nothing comes in `timeout`.
  PacketPtr ReceiveOne(absl::Duration timeout = absl::Seconds(5));
  uint64_t Lost(DropReason reason) { return wire_->drops()[reason]; }

  // Packets that are not in the pool.
  size_t out() { return pool_->options().packets - pool_->available(); }

 private:
  const WireEndOptions options_;
  std::unique_ptr<PacketPool> pool_;  // first: it goes last
  std::unique_ptr<Wire> wire_;
  Burst inbox_;  // received by ReceiveOne and not asked for yet
};

struct ShmEndOptions {
  ShmRole role = ShmRole::kServer;
  WireEndOptions end = {};
};

class ShmEnd : public WireEnd {
 public:
  explicit ShmEnd(const std::string& path, const ShmEndOptions& options = {})
      : WireEnd(MakeShmWire({.path = path, .role = options.role, .retry = absl::Milliseconds(5)}),
                options.end) {}
};

// Serve until both are up, or the one down or up; throw after some seconds.
void UntilUp(WireEnd& a, WireEnd& b);
void UntilUp(WireEnd& a);
void UntilDown(WireEnd& a);

bool Readable(int fd);

// The number of a frame that was made by Numbered, after a look at each byte.
uint64_t NumberOf(const Packet& packet);

std::vector<uint64_t> Range(uint64_t first, uint64_t end);

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_SUPPORT_WIRE_ENDS_H_
