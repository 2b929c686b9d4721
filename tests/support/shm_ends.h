// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_SUPPORT_SHM_ENDS_H_
#define SLUICE_TESTS_SUPPORT_SHM_ENDS_H_

// Ends of shared-memory wires for tests, each with a pool of its own, in a folder that goes with the test.

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

struct ShmEndOptions {
  ShmRole role = ShmRole::kServer;
  uint16_t lanes = 1;
  uint32_t ring = 256;
  uint32_t packets = 2048;
  uint32_t buffer_size = 2048;
};

class ShmEnd {
 public:
  ShmEnd(const std::string& path, const ShmEndOptions& options = {});  // opened; throws when that fails

  Wire& wire() { return *wire_; }
  PacketPool& pool() { return *pool_; }
  void Reopen();

  bool up() { return wire_->link() == LinkState::kUp; }
  void Service() { wire_->Service(); }

  // A frame that says which it is, `length` >= 8.
  PacketPtr Numbered(uint64_t number, uint32_t length = 60);
  // Sends frames numbered from `first`, as many as are taken; returns how many.
  size_t Send(uint64_t first, size_t count, uint32_t length = 60);
  // What there is, by number; fails the test on a frame that is damaged.
  std::vector<uint64_t> Receive();

  // Packets that are not in the pool.
  size_t out() { return pool_->options().packets - pool_->available(); }

 private:
  const ShmEndOptions options_;
  std::unique_ptr<PacketPool> pool_;  // first: it goes after the wire
  std::unique_ptr<Wire> wire_;
};

// Serves both until both are up, or both down; throws after some seconds.
void UntilUp(ShmEnd& a, ShmEnd& b);
void UntilDown(ShmEnd& a);

// The number of a frame that was made by Numbered, after a look at each byte.
uint64_t NumberOf(const Packet& packet);

std::vector<uint64_t> Range(uint64_t first, uint64_t end);

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_SUPPORT_SHM_ENDS_H_
