// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_XDP_RTNETLINK_INTERNAL_H_
#define SLUICE_NIC_XDP_RTNETLINK_INTERNAL_H_

// The little of rtnetlink(7) that a port needs: what a link is, whether it carries the default route, and
// notices of its changes. Sockets stay in the network namespace of the thread that opened them.

#include <linux/netlink.h>

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "base/unique_fd_internal.h"
#include "sluice/packet/headers.h"

namespace sluice {

struct LinkFacts {
  uint32_t index = 0;
  std::string name;
  MacAddress mac;
  uint32_t mtu = 0;
  uint32_t rx_queues = 1;  // that it was made with; fewer may be in use
  uint32_t tx_queues = 1;
  bool administratively_up = false;
  bool carrier = false;
  bool up() const { return administratively_up && carrier; }
};

// Questions and answers. One thread at a time; blocks for as long as the kernel takes to answer.
class RouteSocket {
 public:
  static absl::StatusOr<RouteSocket> Open();

  absl::StatusOr<LinkFacts> LinkByName(const std::string& name);
  absl::StatusOr<LinkFacts> LinkByIndex(uint32_t index);
  // Whether a default route of the main table, IPv4 or IPv6, leaves through the link.
  absl::StatusOr<bool> CarriesDefaultRoute(uint32_t index);

 private:
  using OnMessage = std::function<void(const nlmsghdr&)>;

  explicit RouteSocket(UniqueFd fd) : fd_(std::move(fd)) {}
  absl::Status Ask(nlmsghdr& request, const OnMessage& on_message);
  absl::StatusOr<LinkFacts> AskLink(nlmsghdr& request);

  UniqueFd fd_;
  uint32_t sequence_ = 0;
};

// Notices about one link, as they come.
class LinkWatch {
 public:
  enum class Notice : uint8_t { kUp, kDown, kGone, kMissedSome };

  static absl::StatusOr<LinkWatch> Open(uint32_t index);

  int fd() const { return fd_.get(); }
  // Has the kernel put the link's present state behind the notices that wait: a reader then starts from a known one.
  void AskState() const;
  // Hands over all notices that wait, oldest first; never blocks.
  void Read(const std::function<void(Notice)>& on_notice) const;

 private:
  LinkWatch(UniqueFd fd, uint32_t index) : fd_(std::move(fd)), index_(index) {}

  UniqueFd fd_;
  uint32_t index_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_XDP_RTNETLINK_INTERNAL_H_
