// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_SOFTVERBS_SERVICE_INTERNAL_H_
#define SLUICE_NIC_SOFTVERBS_SERVICE_INTERNAL_H_

// Keeps a port moving while the program sleeps: a thread that exists from the first alarm on, and itself sleeps while no
// completion queue is armed. The one thread that the library makes by itself: a card works without being asked.

#include <atomic>
#include <functional>
#include <mutex>
#include <thread>

#include "base/unique_fd_internal.h"
#include "nic/softverbs/port_internal.h"

namespace sluice {

class SoftService {
 public:
  // `gate` is over the port, and over `wanted`, which says whether anybody waits.
  SoftService(std::mutex& gate, SoftPort& port, std::function<bool()> wanted)
      : gate_(gate), port_(port), wanted_(std::move(wanted)) {}
  ~SoftService() { Stop(); }
  SoftService(const SoftService&) = delete;
  SoftService& operator=(const SoftService&) = delete;

  // Under the gate: somebody waits now. False when there is no thread to be had.
  bool Start();
  // Not under the gate.
  void Stop();

 private:
  void Run();
  int Work(int& wire, int& service);
  void Wake() const;

  std::mutex& gate_;
  SoftPort& port_;
  const std::function<bool()> wanted_;
  UniqueFd bell_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_SOFTVERBS_SERVICE_INTERNAL_H_
