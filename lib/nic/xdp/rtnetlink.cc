// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include "nic/xdp/rtnetlink_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

constexpr size_t kReplyBytes = 32768;  // what the kernel puts in one datagram of a dump at most

// A request with room for one attribute.
struct LinkRequest {
  nlmsghdr header{};
  ifinfomsg link{};
  rtattr attribute{};
  std::array<char, IFNAMSIZ> name{};
};

LinkRequest RequestByIndex(uint32_t index) {
  LinkRequest request;
  request.header.nlmsg_type = RTM_GETLINK;
  request.header.nlmsg_flags = NLM_F_REQUEST;
  request.header.nlmsg_len = NLMSG_LENGTH(sizeof(ifinfomsg));
  request.link.ifi_index = static_cast<int>(index);
  return request;
}

struct RouteRequest {
  nlmsghdr header{};
  rtmsg route{};
};

absl::Status Failed(int error, const std::string& what) {
  return ErrorStatus({.device = {},
                      .stage = "ask rtnetlink",
                      .capability = {},
                      .error_number = error,
                      .what = what,
                      .remedy = "check the interface with `ip link` in the same network namespace"});
}

UniqueFd OpenSocket(int flags) {
  return UniqueFd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | flags, NETLINK_ROUTE));
}

bool Join(const UniqueFd& fd, uint32_t groups) {
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = groups;
  return bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
}

// Lets only notices of one link pass: a host with a thousand taps would otherwise wake every port for each of
// them. The index is in host order in the message, and a filter loads words in network order.
bool FilterByLink(const UniqueFd& fd, uint32_t index) {
  constexpr uint32_t kIndexAt = NLMSG_HDRLEN + offsetof(ifinfomsg, ifi_index);
  std::array<sock_filter, 4> code{{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kIndexAt),
                                   BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl(index), 0, 1),
                                   BPF_STMT(BPF_RET | BPF_K, UINT32_MAX), BPF_STMT(BPF_RET | BPF_K, 0)}};
  const sock_fprog filter{.len = code.size(), .filter = code.data()};
  return setsockopt(fd.get(), SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) == 0;
}

template <typename T>
T ReadAs(const rtattr& attribute) {
  T value{};
  std::memcpy(&value, RTA_DATA(&attribute), std::min(sizeof(value), size_t{RTA_PAYLOAD(&attribute)}));
  return value;
}

template <typename Each>
void ForEachAttribute(const nlmsghdr& message, size_t fixed, Each&& each) {
  const auto* bytes = static_cast<const char*>(NLMSG_DATA(&message)) + NLMSG_ALIGN(fixed);
  auto left = static_cast<int>(message.nlmsg_len - NLMSG_LENGTH(fixed));
  for (const auto* at = reinterpret_cast<const rtattr*>(bytes); RTA_OK(at, left); at = RTA_NEXT(at, left)) {
    each(*at);
  }
}

LinkFacts ParseLink(const nlmsghdr& message) {
  const auto& link = *static_cast<const ifinfomsg*>(NLMSG_DATA(&message));
  LinkFacts facts;
  facts.index = static_cast<uint32_t>(link.ifi_index);
  facts.administratively_up = (link.ifi_flags & IFF_UP) != 0;
  facts.carrier = (link.ifi_flags & IFF_LOWER_UP) != 0;
  ForEachAttribute(message, sizeof(ifinfomsg), [&](const rtattr& attribute) {
    switch (attribute.rta_type) {
      case IFLA_IFNAME:
        facts.name = static_cast<const char*>(RTA_DATA(&attribute));
        break;
      case IFLA_ADDRESS:
        facts.mac = ReadAs<MacAddress>(attribute);
        break;
      case IFLA_MTU:
        facts.mtu = ReadAs<uint32_t>(attribute);
        break;
      case IFLA_NUM_RX_QUEUES:
        facts.rx_queues = ReadAs<uint32_t>(attribute);
        break;
      case IFLA_NUM_TX_QUEUES:
        facts.tx_queues = ReadAs<uint32_t>(attribute);
        break;
      default:
        break;
    }
  });
  return facts;
}

bool LeavesThrough(const rtattr& hops, int index) {
  auto left = static_cast<int>(RTA_PAYLOAD(&hops));
  for (const auto* hop = static_cast<const rtnexthop*>(RTA_DATA(&hops)); RTNH_OK(hop, left);
       left -= static_cast<int>(RTNH_ALIGN(hop->rtnh_len)), hop = RTNH_NEXT(hop)) {
    if (hop->rtnh_ifindex == index) return true;
  }
  return false;
}

bool IsDefaultThrough(const nlmsghdr& message, int index) {
  const auto& route = *static_cast<const rtmsg*>(NLMSG_DATA(&message));
  if (message.nlmsg_type != RTM_NEWROUTE || route.rtm_dst_len != 0 || route.rtm_table != RT_TABLE_MAIN) {
    return false;
  }
  bool through = false;
  ForEachAttribute(message, sizeof(rtmsg), [&](const rtattr& attribute) {
    if (attribute.rta_type == RTA_OIF) through |= ReadAs<int>(attribute) == index;
    if (attribute.rta_type == RTA_MULTIPATH) through |= LeavesThrough(attribute, index);
  });
  return through;
}

}  // namespace

absl::StatusOr<RouteSocket> RouteSocket::Open() {
  UniqueFd fd = OpenSocket(0);
  if (!fd.valid() || !Join(fd, 0)) return Failed(errno, "netlink socket");
  return RouteSocket(std::move(fd));
}

absl::Status RouteSocket::Ask(nlmsghdr& request, const OnMessage& on_message) {
  request.nlmsg_seq = ++sequence_;
  if (send(fd_.get(), &request, request.nlmsg_len, 0) < 0) return Failed(errno, "send");
  const bool dump = (request.nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
  std::vector<char> reply(kReplyBytes);
  for (;;) {
    const ssize_t got = recv(fd_.get(), reply.data(), reply.size(), 0);
    if (got < 0) return Failed(errno, "receive");
    auto left = static_cast<uint32_t>(got);
    for (auto* message = reinterpret_cast<nlmsghdr*>(reply.data()); NLMSG_OK(message, left);
         message = NLMSG_NEXT(message, left)) {
      if (message->nlmsg_seq != sequence_) continue;
      if (message->nlmsg_type == NLMSG_DONE) return absl::OkStatus();
      if (message->nlmsg_type == NLMSG_ERROR) {
        const int error = -static_cast<const nlmsgerr*>(NLMSG_DATA(message))->error;
        return error == 0 ? absl::OkStatus() : Failed(error, "");
      }
      on_message(*message);
      if (!dump) return absl::OkStatus();
    }
  }
}

absl::StatusOr<LinkFacts> RouteSocket::AskLink(nlmsghdr& request) {
  LinkFacts facts;
  const absl::Status asked = Ask(request, [&](const nlmsghdr& message) { facts = ParseLink(message); });
  if (!asked.ok()) return asked;
  return facts;
}

absl::StatusOr<LinkFacts> RouteSocket::LinkByName(const std::string& name) {
  LinkRequest request;
  if (name.empty() || name.size() >= request.name.size()) return Failed(ENODEV, "");
  request.header.nlmsg_type = RTM_GETLINK;
  request.header.nlmsg_flags = NLM_F_REQUEST;
  request.header.nlmsg_len = sizeof(request);
  request.attribute.rta_type = IFLA_IFNAME;
  request.attribute.rta_len = static_cast<uint16_t>(RTA_LENGTH(name.size() + 1));
  std::memcpy(request.name.data(), name.c_str(), name.size() + 1);
  return AskLink(request.header);
}

absl::StatusOr<LinkFacts> RouteSocket::LinkByIndex(uint32_t index) {
  LinkRequest request = RequestByIndex(index);
  return AskLink(request.header);
}

absl::StatusOr<bool> RouteSocket::CarriesDefaultRoute(uint32_t index) {
  RouteRequest request;
  request.header.nlmsg_type = RTM_GETROUTE;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request.header.nlmsg_len = sizeof(request);
  bool carries = false;
  const absl::Status asked = Ask(request.header, [&](const nlmsghdr& message) {
    carries |= IsDefaultThrough(message, static_cast<int>(index));
  });
  if (!asked.ok()) return asked;
  return carries;
}

absl::StatusOr<LinkWatch> LinkWatch::Open(uint32_t index) {
  UniqueFd fd = OpenSocket(SOCK_NONBLOCK);
  // The filter first: nothing of another link is then ever queued.
  if (!fd.valid() || !FilterByLink(fd, index) || !Join(fd, RTMGRP_LINK)) return Failed(errno, "watch links");
  return LinkWatch(std::move(fd), index);
}

void LinkWatch::AskState() const {
  const LinkRequest request = RequestByIndex(index_);
  // A link that is gone has said so already, and there is nothing else to fail here.
  send(fd_.get(), &request, request.header.nlmsg_len, 0);
}

void LinkWatch::Read(const std::function<void(Notice)>& on_notice) const {
  alignas(nlmsghdr) std::array<char, kReplyBytes> buffer;
  for (;;) {
    const ssize_t got = recv(fd_.get(), buffer.data(), buffer.size(), 0);
    if (got < 0 && errno == ENOBUFS) on_notice(Notice::kMissedSome);
    if (got < 0 && errno != ENOBUFS) return;
    auto left = static_cast<uint32_t>(std::max<ssize_t>(got, 0));
    for (const auto* message = reinterpret_cast<const nlmsghdr*>(buffer.data()); NLMSG_OK(message, left);
         message = NLMSG_NEXT(message, left)) {
      // A bridge that lets go of its port says so with a DELLINK of its own family.
      if (static_cast<const ifinfomsg*>(NLMSG_DATA(message))->ifi_family != AF_UNSPEC) continue;
      if (message->nlmsg_type == RTM_DELLINK) on_notice(Notice::kGone);
      if (message->nlmsg_type != RTM_NEWLINK) continue;
      on_notice(ParseLink(*message).up() ? Notice::kUp : Notice::kDown);
    }
  }
}

}  // namespace sluice
