// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_NIC_VHOST_MESSAGES_H_
#define SLUICE_TESTS_NIC_VHOST_MESSAGES_H_

// A front-end by hand: sends what it is told to, right or wrong, byte for byte, and shows what came back. And a back-end that
// notes what is asked of it.

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "nic/vhost/session_internal.h"
#include "tests/support/frames.h"
#include "tests/support/wire_ends.h"

namespace sluice::testing {

// What a front-end shares: a memfd of so many bytes.
UniqueFd SharedFile(uint64_t bytes);
size_t SharedMappings();  // how many such are mapped now, by whomever
UniqueFd EventFd();
bool SameFile(int a, int b);

template <typename T>
Bytes BytesOf(const T& value) {
  const auto* const bytes = reinterpret_cast<const uint8_t*>(&value);
  return {bytes, bytes + sizeof(value)};
}
Bytes operator+(Bytes a, const Bytes& b);

struct VhostReplied {
  VhostHeader header = {};
  Bytes payload = {};
  std::vector<UniqueFd> fds = {};

  uint64_t Number() const;  // throws for another size
};

class VhostScript {
 public:
  explicit VhostScript(UniqueFd socket) : socket_(std::move(socket)) {}
  static VhostScript To(const std::string& path);  // connected, or throws

  void Send(VhostRequest request, const Bytes& payload = {}, const std::vector<int>& fds = {},
            uint32_t flags = 0);
  void SendRaw(const Bytes& bytes, const std::vector<int>& fds = {});
  std::optional<VhostReplied> Read();  // nothing when nothing came
  bool HungUpOn();                     // by the back-end; what it said before is lost
  void HangUp() { socket_ = UniqueFd(); }

 private:
  UniqueFd socket_;
};

// Notes each call as a word or two, in order: "start 0", "rest 0", "features 100000000".
class NotingBackend : public VhostBackend {
 public:
  void OnConnected() override { notes_.push_back("connected"); }
  void OnDisconnected(const absl::Status& why) override;
  void OnFeatures(uint64_t negotiated) override;
  void StartRing(const VhostRingSetup& setup) override;
  void RestRing(uint16_t ring) override;
  void ResumeRing(const VhostRingSetup& setup) override;
  uint32_t StopRing(uint16_t ring) override;
  void EnableRing(uint16_t ring, bool enabled) override;
  void SetCall(uint16_t ring, VhostFd call) override;
  bool SetMtu(uint16_t mtu) override;
  void SendRarp(const MacAddress& guest) override;

  std::vector<std::string> TakeNotes() { return std::exchange(notes_, {}); }
  const VhostRingSetup& ring(uint16_t index) const { return rings_.at(index).setup; }
  absl::Status parting;    // of the last OnDisconnected
  uint32_t position = 77;  // what StopRing returns
  uint16_t most_mtu = 9000;

 private:
  struct Served {
    VhostRingSetup setup;
    bool rests = false;
  };
  void Note(const std::string& what, uint16_t ring) { notes_.push_back(what + " " + std::to_string(ring)); }

  std::vector<std::string> notes_;
  std::map<uint16_t, Served> rings_;
};

// Memory of a guest in one file, with room for 4 rings of up to 256 entries.
struct ScriptedGuest {
  static constexpr uint64_t kBytes = 1 << 20;
  static constexpr uint64_t kGuest = 0x4000'0000;
  static constexpr uint64_t kUser = 0x7f12'3400'0000;

  VhostMemoryRegion region() const { return {.guest = kGuest, .bytes = kBytes, .user = kUser, .offset = 0}; }
  VhostRingAddress Address(uint32_t ring) const;

  UniqueFd file = SharedFile(kBytes);
};

// A table of regions as SET_MEM_TABLE carries it, and a region as ADD_MEM_REG does.
Bytes TableOf(const std::vector<VhostMemoryRegion>& regions);
Bytes SingleOf(const VhostMemoryRegion& region);

// A session on a socket file, a front-end that talks to it, and a guest's memory.
class VhostScene {
 public:
  static constexpr uint64_t kFeatures =
      uint64_t{1} << 32 | uint64_t{1} << 34 | 1 << 15;  // VERSION_1, PACKED, MRG_RXBUF
  static constexpr uint64_t kTaken = uint64_t{1} << 32 | kVhostProtocolFeatures;

  explicit VhostScene(uint16_t pairs = 2);

  // Sends, and has it served.
  void Tell(VhostRequest request, const Bytes& payload = {}, const std::vector<int>& fds = {},
            uint32_t flags = 0);
  void Tell(VhostRequest request, uint64_t number, const std::vector<int>& fds = {}) {
    Tell(request, BytesOf(number), fds);
  }
  VhostReplied Ask(VhostRequest request, const Bytes& payload = {}, const std::vector<int>& fds = {});
  void Serve();

  // What a front-end says before its rings: features, and the memory.
  void Greet(uint64_t features = kTaken, uint64_t protocol_features = kVhostServedProtocolFeatures);
  void ShareMemory();
  // What it says of a ring, with a kick. Not enabled.
  void SetUpRing(uint32_t ring, uint32_t size = 256);
  void KickRing(uint32_t ring, VhostRequest request = VhostRequest::kSetVringKick);

  std::string Complaint();  // why the front-end was hung up on: what was wrong; empty while it was not
  std::vector<std::string> Notes() { return backend.TakeNotes(); }

  TempFolder folder;
  NotingBackend backend;
  std::unique_ptr<VhostSession> session;
  VhostScript front;
  ScriptedGuest guest;
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_NIC_VHOST_MESSAGES_H_
