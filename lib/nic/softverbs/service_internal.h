// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_SOFTVERBS_SERVICE_INTERNAL_H_
#define SLUICE_NIC_SOFTVERBS_SERVICE_INTERNAL_H_

// Keeps a device moving while the program sleeps, and listens on its control socket: a thread that exists from the first
// alarm on, or from the start where there is a socket, and itself sleeps while no completion queue is armed. The one
// thread that the library makes by itself: a card works without being asked.

#include <atomic>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "base/unique_fd_internal.h"
#include "nic/softverbs/control_socket_internal.h"

namespace sluice {

struct SoftDevice;

class SoftService {
 public:
  explicit SoftService(SoftDevice& device) : device_(device) {}
  ~SoftService() { Stop(); }
  SoftService(const SoftService&) = delete;
  SoftService& operator=(const SoftService&) = delete;

  // Takes orders at `path` from now on. Once, before anything else.
  absl::Status Listen(const std::string& path);
  // Under the gate: somebody waits now. False when there is no thread to be had.
  bool Start();
  // Not under the gate.
  void Stop();

 private:
  void Run();
  int Work(int& wire, int& service);
  void Wake() const;

  SoftDevice& device_;
  SoftControlSocket control_;
  UniqueFd bell_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_SOFTVERBS_SERVICE_INTERNAL_H_
