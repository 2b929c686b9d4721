// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_BENCHMARKS_NIC_XDP_END_H_
#define SLUICE_BENCHMARKS_NIC_XDP_END_H_

// What both AF_XDP ends, xdp_port (ours) and xsk_peer (a bare libxdp loop), are told; ends.h says what they print.
//
//   --mode=send       frames of --length, flat out or --rate a second, until SIGTERM
//   --mode=receive    frees what comes in; measures
//   --mode=forward    sends what comes in out of the same port, addresses swapped; measures
//   --wait=sleep      sleeps on the socket when nothing has come, instead of polling

#include <poll.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"
#include "benchmarks/machine.h"
#include "benchmarks/measuring_end.h"

namespace sluice::bench {

inline constexpr uint32_t kXdpBurst = 32;
inline constexpr int kXdpSleepMs = 10;  // the longest sleep, so that the end of the window is seen

struct XdpEndOptions {
  std::string mode;
  std::string interface;
  std::string wait = "poll";
  int cpu = MeasuringCpu();
  uint32_t length = 64;
  uint32_t ring = 2048;
  double seconds = 0.5;
  double rate = 0;  // frames a second; 0 = flat out

  bool sleeps() const { return wait == "sleep"; }
};

inline bool ParseXdpOption(absl::string_view argument, XdpEndOptions& options) {
  const auto text = [&argument](absl::string_view name, std::string& value) {
    if (!absl::ConsumePrefix(&argument, name)) return false;
    value = std::string(argument);
    return true;
  };
  if (text("--mode=", options.mode) || text("--interface=", options.interface) ||
      text("--wait=", options.wait)) {
    return true;
  }
  if (absl::ConsumePrefix(&argument, "--cpu=")) return absl::SimpleAtoi(argument, &options.cpu);
  if (absl::ConsumePrefix(&argument, "--length=")) return absl::SimpleAtoi(argument, &options.length);
  if (absl::ConsumePrefix(&argument, "--ring=")) return absl::SimpleAtoi(argument, &options.ring);
  if (absl::ConsumePrefix(&argument, "--rate=")) return absl::SimpleAtod(argument, &options.rate);
  return absl::ConsumePrefix(&argument, "--seconds=") && absl::SimpleAtod(argument, &options.seconds);
}

inline bool ParseXdpOptions(int argc, char** argv, XdpEndOptions& options) {
  for (int i = 1; i < argc; ++i) {
    if (ParseXdpOption(argv[i], options)) continue;
    std::fprintf(stderr, "%s: what is %s?\n", argv[0], argv[i]);
    return false;
  }
  return !options.interface.empty() && options.length >= sizeof(kTestFrame);
}

inline void WaitReadable(int fd) {
  pollfd waited{.fd = fd, .events = POLLIN, .revents = 0};
  poll(&waited, 1, kXdpSleepMs);
}

// Says how many frames a sender may send now; sleeps while that is none.
class Pace {
 public:
  explicit Pace(double rate) : rate_(rate) {}

  uint32_t Next() {
    if (rate_ == 0) return kXdpBurst;
    const Nanoseconds now = Clock::Monotonic().Now();
    if (start_ == 0) start_ = now;
    const double due = static_cast<double>(now - start_) * 1e-9 * rate_ - static_cast<double>(sent_);
    const auto frames = static_cast<uint32_t>(std::clamp(due, 0.0, double{kXdpBurst}));
    if (frames == 0) Nap();
    return frames;
  }
  void Sent(uint32_t frames) { sent_ += frames; }

 private:
  static void Nap() {
    const timespec nap{.tv_sec = 0, .tv_nsec = 50'000};
    nanosleep(&nap, nullptr);
  }

  const double rate_;
  Nanoseconds start_ = 0;
  uint64_t sent_ = 0;
};

}  // namespace sluice::bench

#endif  // SLUICE_BENCHMARKS_NIC_XDP_END_H_
