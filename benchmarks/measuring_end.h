// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_BENCHMARKS_MEASURING_END_H_
#define SLUICE_BENCHMARKS_MEASURING_END_H_

// What every end of a connection does alike, ours and the peers' (see ends.h): the frame that is sent, the
// check of what came, the clock, the result line.

#include <sys/resource.h>
#include <x86intrin.h>

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstring>

#include "sluice/base/clock.h"

namespace sluice::bench {

// Ethernet, IPv4 and UDP headers of a 64-byte frame, and a pattern. Longer frames have anything behind it.
inline constexpr uint8_t kTestFrame[64] = {
    0x02, 0,    0,    0,    0,   1,   0x02, 0, 0,  0,  0,    2,    0x08, 0x00,  // Ethernet
    0x45, 0,    0,    50,   0,   0,   0x40, 0, 64, 17, 0x26, 0xb9, 10,   0,    0, 2,  10, 0,  0,  1,  // IPv4
    0x13, 0x88, 0x13, 0x89, 0,   30,  0,    0,  // UDP, no checksum
    's',  'l',  'u',  'i',  'c', 'e', 1,    2, 3,  4,  5,    6,    7,    8,    9, 10, 11, 12, 13, 14, 15, 16};

inline void SwapAddresses(uint8_t* frame) {
  uint8_t destination[6];
  std::memcpy(destination, frame, 6);
  std::memcpy(frame, frame + 6, 6);
  std::memcpy(frame + 6, destination, 6);
}

// The test frame's 64 bytes for a frame of that length. `tcp`: of a TCP segment, with an IPv4 header that is right for it.
inline void WriteTestHeaders(uint8_t* frame, uint32_t length, bool tcp) {
  std::memcpy(frame, kTestFrame, sizeof kTestFrame);
  if (!tcp) return;
  constexpr uint8_t kTcp[20] = {0x13, 0x88, 0x13, 0x89, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff};
  std::memcpy(frame + 34, kTcp, sizeof kTcp);
  const uint32_t bytes = length - 14;
  frame[16] = static_cast<uint8_t>(bytes >> 8);
  frame[17] = static_cast<uint8_t>(bytes);
  frame[23] = 6;
  frame[24] = frame[25] = 0;
  uint32_t sum = 0;
  for (size_t i = 14; i < 34; i += 2) sum += uint32_t{frame[i]} << 8 | frame[i + 1];
  sum = (sum & 0xffff) + (sum >> 16);
  sum = ~((sum & 0xffff) + (sum >> 16));
  frame[24] = static_cast<uint8_t>(sum >> 8);
  frame[25] = static_cast<uint8_t>(sum);
}

inline void SayReady() {
  std::puts("ready");
  std::fflush(stdout);
}

class MeasuringEnd {
 public:
  // Expects frames of `length` bytes, and measures for `seconds`.
  MeasuringEnd(uint32_t length, double seconds)
      : length_(length), window_(static_cast<Nanoseconds>(seconds * 1e9)) {}

  // Looks at the pattern of one frame.
  void Check(const uint8_t* frame, uint32_t length) {
    bad_ += length != length_ || std::memcmp(frame + kPattern, kTestFrame + kPattern, 6) != 0;
  }
  bool good() const { return bad_ == 0; }

  // Counts packets that were finished with.
  void Count(uint64_t packets) { packets_ += packets; }

  // For who measures its own work apart from its waiting: a turn from Begin to End counts as busy when packets came of it.
  // Where there were fewer than a burst the far end gets time for more, so that each end works on bursts.
  void Begin() { began_ = __rdtsc(); }
  void End(uint64_t packets, uint64_t burst) {
    Stop(packets > 0);
    Finish(packets, burst);
  }
  // The two halves of End, for who has to count between them.
  void Stop(bool busy) {
    if (busy) busy_ += __rdtsc() - began_;
  }
  void Finish(uint64_t packets, uint64_t burst) {
    Count(packets);
    if (packets < burst) Pause();
  }

  // Whether the window is over. Reads the clock once in 32 calls.
  bool Done() {
    if (++turns_ % 32 != 0) return false;
    const Nanoseconds now = Clock::Monotonic().Now();
    if (packets_ == 0) return false;
    if (first_ == 0) first_ = now;
    if (start_ == 0 && now - first_ >= kWarmUp) Start(now);
    if (start_ == 0 || now - start_ < window_) return false;
    end_ = now;
    return true;
  }

  void Print() const {
    std::printf("packets %" PRIu64 " nanoseconds %" PRIu64 " cpu_nanoseconds %" PRIu64 " bad %" PRIu64
                " busy_ticks %" PRIu64 "\n",
                packets_ - packets_before_, end_ - start_, ProcessorTime() - processor_before_, bad_,
                busy_ - busy_before_);
  }

 private:
  static constexpr size_t kPattern = 54;  // behind the headers of TCP, too
  static constexpr Nanoseconds kWarmUp = 100'000'000;
  static constexpr uint64_t kPause = 10'000;  // ticks of the time-stamp counter

  static void Pause() {
    for (const uint64_t start = __rdtsc(); __rdtsc() - start < kPause;) _mm_pause();
  }

  static Nanoseconds ProcessorTime() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    const auto nanoseconds = [](const timeval& time) {
      return static_cast<Nanoseconds>(time.tv_sec) * 1'000'000'000 +
             static_cast<Nanoseconds>(time.tv_usec) * 1000;
    };
    return nanoseconds(usage.ru_utime) + nanoseconds(usage.ru_stime);
  }

  void Start(Nanoseconds now) {
    start_ = now;
    packets_before_ = packets_;
    busy_before_ = busy_;
    processor_before_ = ProcessorTime();
  }

  const uint32_t length_;
  const Nanoseconds window_;
  uint64_t turns_ = 0;
  uint64_t packets_ = 0;
  uint64_t bad_ = 0;
  uint64_t packets_before_ = 0;
  uint64_t began_ = 0;
  uint64_t busy_ = 0;
  uint64_t busy_before_ = 0;
  Nanoseconds first_ = 0;
  Nanoseconds start_ = 0;
  Nanoseconds end_ = 0;
  Nanoseconds processor_before_ = 0;
};

}  // namespace sluice::bench

#endif  // SLUICE_BENCHMARKS_MEASURING_END_H_
