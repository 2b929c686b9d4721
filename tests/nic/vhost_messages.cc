// SPDX-License-Identifier: Apache-2.0
#include "tests/nic/vhost_messages.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <utility>

#include "absl/strings/str_cat.h"
#include "sluice/base/status.h"

namespace sluice::testing {
namespace {

void Must(bool done, const std::string& what) {
  if (!done) throw std::runtime_error(what);
}

constexpr size_t kMostFdsSent = 64;

}  // namespace

UniqueFd SharedFile(uint64_t bytes) {
  UniqueFd file(memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  Must(file.valid() && ftruncate(file.get(), static_cast<off_t>(bytes)) == 0, "no memfd");
  return file;
}

size_t SharedMappings() {
  std::ifstream maps("/proc/self/maps");
  size_t count = 0;
  for (std::string line; std::getline(maps, line);)
    count += line.find("/memfd:guest") != std::string::npos ? 1 : 0;
  return count;
}

UniqueFd EventFd() { return UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }

bool SameFile(int a, int b) {
  struct stat one {
  }, other{};
  Must(fstat(a, &one) == 0 && fstat(b, &other) == 0, "fstat");
  return one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

uint64_t VhostReplied::Number() const {
  Must(payload.size() == sizeof(uint64_t), "an answer of another size");
  uint64_t number;
  std::memcpy(&number, payload.data(), sizeof(number));
  return number;
}

VhostScript VhostScript::To(const std::string& path) {
  UniqueFd socket = ConnectUnix(path, SOCK_STREAM);
  Must(socket.valid(), "nobody listens at " + path);
  return VhostScript(std::move(socket));
}

void VhostScript::Send(VhostRequest request, const Bytes& payload, const std::vector<int>& fds,
                       uint32_t flags) {
  const VhostHeader header{static_cast<uint32_t>(request), kVhostVersion | flags,
                           static_cast<uint32_t>(payload.size())};
  SendRaw(BytesOf(header) + payload, fds);
}

void VhostScript::SendRaw(const Bytes& bytes, const std::vector<int>& fds) {
  alignas(cmsghdr) char control[CMSG_SPACE(kMostFdsSent * sizeof(int))] = {};
  iovec part{const_cast<uint8_t*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
    cmsghdr* const rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    std::memcpy(CMSG_DATA(rights), fds.data(), fds.size() * sizeof(int));
  }
  // A back-end that hung up does not hear it: that is for the test to find out by what it says.
  (void)!sendmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

std::optional<VhostReplied> VhostScript::Read() {
  VhostReplied reply;
  alignas(cmsghdr) char control[CMSG_SPACE(kMostFdsSent * sizeof(int))] = {};
  iovec part{&reply.header, sizeof(reply.header)};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  const ssize_t got = recvmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got != static_cast<ssize_t>(sizeof(reply.header))) return std::nullopt;
  for (cmsghdr* rights = CMSG_FIRSTHDR(&message); rights != nullptr; rights = CMSG_NXTHDR(&message, rights)) {
    for (size_t at = 0; CMSG_LEN(at) < rights->cmsg_len; at += sizeof(int)) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(rights) + at, sizeof(fd));
      reply.fds.emplace_back(fd);
    }
  }
  reply.payload.resize(reply.header.size);
  const ssize_t rest = recv(socket_.get(), reply.payload.data(), reply.payload.size(), MSG_DONTWAIT);
  Must(reply.payload.empty() || rest == static_cast<ssize_t>(reply.payload.size()), "half an answer");
  return reply;
}

bool VhostScript::HungUpOn() {
  std::array<uint8_t, 4096> sink;
  ssize_t got = 1;
  while (got > 0) got = recv(socket_.get(), sink.data(), sink.size(), MSG_DONTWAIT);
  return got == 0 || errno != EAGAIN;
}

void NotingBackend::OnDisconnected(const absl::Status& why) {
  parting = why;
  notes_.push_back("disconnected");
}

void NotingBackend::OnFeatures(uint64_t negotiated) {
  notes_.push_back(absl::StrCat("features ", absl::Hex(negotiated)));
}

void NotingBackend::StartRing(const VhostRingSetup& setup) {
  Must(rings_.count(setup.index) == 0, "started twice");
  rings_[setup.index].setup = setup;
  Note("start", setup.index);
}

void NotingBackend::RestRing(uint16_t ring) {
  Must(!std::exchange(rings_.at(ring).rests, true), "rests already");
  Note("rest", ring);
}

void NotingBackend::ResumeRing(const VhostRingSetup& setup) {
  Served& served = rings_.at(setup.index);
  Must(std::exchange(served.rests, false), "does not rest");
  served.setup = setup;
  Note("resume", setup.index);
}

uint32_t NotingBackend::StopRing(uint16_t ring) {
  Must(rings_.erase(ring) == 1, "does not run");
  Note("stop", ring);
  return position;
}

void NotingBackend::EnableRing(uint16_t ring, bool enabled) {
  Must(!rings_.at(ring).rests, "rests");
  Note(enabled ? "enable" : "disable", ring);
}

void NotingBackend::SetCall(uint16_t ring, VhostFd call) {
  Must(!rings_.at(ring).rests, "rests");
  rings_.at(ring).setup.call = std::move(call);
  Note("call", ring);
}

bool NotingBackend::SetMtu(uint16_t mtu) {
  notes_.push_back(absl::StrCat("mtu ", mtu));
  return mtu <= most_mtu;
}

void NotingBackend::SendRarp(const MacAddress& guest) {
  std::string note = "rarp";
  for (const uint8_t byte : guest.bytes()) absl::StrAppend(&note, " ", absl::Hex(byte, absl::kZeroPad2));
  notes_.push_back(note);
}

VhostRingAddress ScriptedGuest::Address(uint32_t ring) const {
  constexpr uint64_t kRing = 0x8000, kPart = 0x2000;
  const uint64_t at = kUser + ring * kRing;
  return {.index = ring,
          .flags = 0,
          .descriptors = at,
          .used = at + 2 * kPart,
          .available = at + kPart,
          .log = kGuest + ring * kRing + 2 * kPart};
}

Bytes TableOf(const std::vector<VhostMemoryRegion>& regions) {
  Bytes table = BytesOf(static_cast<uint64_t>(regions.size()));
  for (const VhostMemoryRegion& region : regions) table = table + BytesOf(region);
  return table;
}

Bytes SingleOf(const VhostMemoryRegion& region) { return BytesOf(VhostSingleRegion{.region = region}); }

namespace {

std::unique_ptr<VhostSession> OpenAt(const std::string& path, uint16_t pairs, VhostBackend& backend) {
  auto session =
      VhostSession::Open({.path = path, .features = VhostScene::kFeatures, .queue_pairs = pairs}, backend);
  Must(session.ok(), session.status().ToString());
  return *std::move(session);
}

}  // namespace

VhostScene::VhostScene(uint16_t pairs)
    : session(OpenAt(folder.file("s"), pairs, backend)), front(VhostScript::To(folder.file("s"))) {
  Serve();
  Must(Notes() == std::vector<std::string>{"connected"}, "not connected");
}

// Until nothing is asked for any more.
void VhostScene::Serve() {
  pollfd wanted{session->service_fd(), POLLIN, 0};
  while (poll(&wanted, 1, 0) == 1) session->Service();
}

void VhostScene::Tell(VhostRequest request, const Bytes& payload, const std::vector<int>& fds,
                      uint32_t flags) {
  front.Send(request, payload, fds, flags);
  Serve();
}

VhostReplied VhostScene::Ask(VhostRequest request, const Bytes& payload, const std::vector<int>& fds) {
  Tell(request, payload, fds);
  std::optional<VhostReplied> reply = front.Read();
  Must(reply.has_value(), "no answer to " + VhostRequestName(static_cast<uint32_t>(request)));
  Must(reply->header.request == static_cast<uint32_t>(request), "an answer to something else");
  Must(reply->header.flags == (kVhostVersion | kVhostReply), "the flags of no answer");
  return *std::move(reply);
}

void VhostScene::Greet(uint64_t features, uint64_t protocol_features) {
  Tell(VhostRequest::kSetProtocolFeatures, protocol_features);
  Tell(VhostRequest::kSetOwner);
  Tell(VhostRequest::kSetFeatures, features);
}

void VhostScene::ShareMemory() {
  Tell(VhostRequest::kSetMemTable, TableOf({guest.region()}), {guest.file.get()});
}

void VhostScene::SetUpRing(uint32_t ring, uint32_t size) {
  Tell(VhostRequest::kSetVringNum, BytesOf(VhostRingState{ring, size}));
  Tell(VhostRequest::kSetVringBase, BytesOf(VhostRingState{ring, 0}));
  Tell(VhostRequest::kSetVringAddr, BytesOf(guest.Address(ring)));
  KickRing(ring);
}

void VhostScene::KickRing(uint32_t ring, VhostRequest request) {
  const UniqueFd kick = EventFd();
  Tell(request, uint64_t{ring}, {kick.get()});
}

std::string VhostScene::Complaint() {
  const std::optional<Problem> problem = ProblemOf(backend.parting);
  return problem ? problem->stage + ": " + problem->what : "";
}

}  // namespace sluice::testing
