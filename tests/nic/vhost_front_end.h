// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_NIC_VHOST_FRONT_END_H_
#define SLUICE_TESTS_NIC_VHOST_FRONT_END_H_

// The other end of a vhost-user socket: what a machine's emulator says to a device, and what it hears.
//
//   FrontEnd front({.path = path});
//   front.Ask(VhostRequest::kGetFeatures, {}, [&](const VhostMessage& answer) { features = answer.Number(); });
//   while (front.waiting()) front.Poll();
//
// Nothing blocks: answers come in Poll, in the order of the questions. Who is asked may be served by the same thread.
//
// Threads: one at a time.

#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/unique_fd_internal.h"
#include "nic/vhost/message_internal.h"
#include "tests/support/frames.h"

namespace sluice::testing {

struct VhostMessage {
  VhostHeader header = {};
  Bytes payload = {};
  std::vector<std::shared_ptr<const UniqueFd>> fds = {};

  template <typename Payload>
  Payload As() const {
    if (payload.size() != sizeof(Payload)) throw std::logic_error("an answer of another size");
    Payload read;
    std::memcpy(&read, payload.data(), sizeof(read));
    return read;
  }
  uint64_t Number() const { return As<uint64_t>(); }
};

struct FrontEndOptions {
  std::string path = {};
  bool listens = false;  // as QEMU does with server=on
};

class FrontEnd {
 public:
  using OnAnswer = std::function<void(const VhostMessage&)>;

  explicit FrontEnd(const FrontEndOptions& options);
  ~FrontEnd();
  FrontEnd(const FrontEnd&) = delete;
  FrontEnd& operator=(const FrontEnd&) = delete;

  // Connects or accepts where it can, and hears answers. Throws for answers to what was not asked.
  void Poll();
  bool connected() const { return socket_.valid(); }
  // Goes without a word, as when it is killed; answers that are out never come. Poll connects again.
  void HangUp();
  // The same, and stays away: a listener is closed as well.
  void Leave();

  // Sends; what a back-end that has left would have heard is lost. The descriptors stay the caller's.
  void Ask(VhostRequest request, const Bytes& payload, OnAnswer on_answer, const std::vector<int>& fds = {});
  // Where acknowledgements were agreed on, asks for one, and notes a refusal.
  void Tell(VhostRequest request, const Bytes& payload = {}, const std::vector<int>& fds = {});
  // What is no message, or not all of one.
  void SendRaw(const Bytes& bytes);
  void set_acknowledged(bool asked) { acknowledged_ = asked; }

  size_t waiting() const { return questions_.size(); }  // answers that are to come
  const std::vector<VhostRequest>& refused() const { return refused_; }
  uint64_t connections() const { return connections_; }
  int poll_fd() const { return epoll_.get(); }

 private:
  struct Question {
    VhostRequest request;
    OnAnswer on_answer;
  };

  void Listen();
  void Connect();
  void Adopt(UniqueFd socket);
  void Send(VhostHeader header, const Bytes& payload, const std::vector<int>& fds);
  bool ReadSome();
  bool HearOne();

  const FrontEndOptions options_;
  const UniqueFd epoll_;
  UniqueFd listener_;
  UniqueFd socket_;
  Bytes heard_;  // of a message that is not whole yet
  std::vector<std::shared_ptr<const UniqueFd>> heard_fds_;
  std::deque<Question> questions_;
  std::vector<VhostRequest> refused_;
  bool acknowledged_ = false;
  uint64_t connections_ = 0;
};

template <typename Payload>
Bytes PayloadOf(const Payload& payload) {
  const auto* const bytes = reinterpret_cast<const uint8_t*>(&payload);
  return {bytes, bytes + sizeof(payload)};
}

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_NIC_VHOST_FRONT_END_H_
