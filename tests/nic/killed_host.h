// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_NIC_KILLED_HOST_H_
#define SLUICE_TESTS_NIC_KILLED_HOST_H_

// A guest that sends 100,000 numbered frames a second while its host is killed and started again: how long nobody takes
// them. Whoever sends is not an emulator, which has not the time for as many.
//
//   KilledHost host;
//   const absl::Duration gap = host.Restart();
//
// What takes longer than a minute throws std::runtime_error. Only while no other thread runs: a host is a fork of the
// caller.

#include <array>
#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "tests/support/process.h"
#include "tests/support/wire_ends.h"

namespace sluice::testing {

class KilledHost {
 public:
  KilledHost();  // serves, and hears its guest
  ~KilledHost();

  // From the moment at which the guest is connected again until it is heard.
  absl::Duration Restart();
  // The guest's card, behind which nothing is sent.
  absl::Status Stop();

  uint64_t sent() const;
  // Frames by how often hosts have seen them: never, once, twice, more often. The host that runs goes on meanwhile, but each
  // frame is looked at once.
  std::array<uint64_t, 4> came() const;

 private:
  struct Log;
  struct Unmap {
    void operator()(Log* log) const;
  };
  class Sender;

  int Serve();

  const TempFolder folder_;
  const std::unique_ptr<Log, Unmap> log_;
  std::optional<Process> host_;
  std::unique_ptr<Sender> sender_;
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_NIC_KILLED_HOST_H_
