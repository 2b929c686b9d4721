// SPDX-License-Identifier: Apache-2.0
// Sends bytes over TCP that tell where they belong, and checks them at the other end. Needs libc alone.
//
//   stream sink PORT                   checks one connection after the other, and answers each with its verdict
//   stream source ADDRESS PORT BYTES   sends, and prints the verdict; exit status 0 when it is "ok BYTES"
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

constexpr size_t kChunk = 65536;
// Of the sink: what is under way fits the queues in front of a slow guest.
constexpr int kReceiveBuffer = 256 * 1024;

uint64_t words[kChunk / sizeof(uint64_t)];
char received[kChunk];

[[noreturn]] void Fail(const char* what) {
  perror(what);
  exit(1);
}

// The bytes of the stream from `at`, a multiple of kChunk. No word is like another, so that a byte which is lost,
// repeated or out of its place shows.
const char* ChunkAt(uint64_t at) {
  uint64_t number = at / sizeof(uint64_t);
  for (uint64_t& word : words) {
    word = ++number * 0x9e3779b97f4a7c15;
    word ^= word >> 29;
  }
  return reinterpret_cast<const char*>(words);
}

bool SendAll(int fd, const char* bytes, size_t count) {
  while (count != 0) {
    const ssize_t sent = send(fd, bytes, count, MSG_NOSIGNAL);
    if (sent < 0) return false;
    bytes += sent;
    count -= static_cast<size_t>(sent);
  }
  return true;
}

void Check(int connection) {
  uint64_t good = 0;
  char verdict[64];
  for (;;) {
    const ssize_t got = recv(connection, received, kChunk, MSG_WAITALL);
    if (got < 0) return perror("recv");
    const char* const expected = ChunkAt(good);
    const char* const different = std::mismatch(received, received + got, expected).first;
    good += static_cast<uint64_t>(different - received);
    const bool bad = different != received + got;
    if (bad || got != kChunk) {
      snprintf(verdict, sizeof(verdict), "%s %llu\n", bad ? "bad byte at" : "ok",
               static_cast<unsigned long long>(good));
      SendAll(connection, verdict, strlen(verdict));
      return;
    }
  }
}

int Sink(uint16_t port) {
  const int listener = socket(AF_INET6, SOCK_STREAM, 0);
  sockaddr_in6 any{};
  any.sin6_family = AF_INET6;
  any.sin6_port = htons(port);
  const int again = 1;  // also where the last sink's connections still linger
  if (setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &kReceiveBuffer, sizeof(kReceiveBuffer)) != 0 ||
      setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &again, sizeof(again)) != 0 ||
      bind(listener, reinterpret_cast<sockaddr*>(&any), sizeof(any)) != 0 || listen(listener, 1) != 0) {
    Fail("listen");
  }
  for (;;) {
    const int connection = accept(listener, nullptr, nullptr);
    if (connection < 0) Fail("accept");
    Check(connection);
    close(connection);
  }
}

int Connect(const char* address, uint16_t port) {
  sockaddr_in6 v6{};
  sockaddr_in v4{};
  const bool is_v6 = inet_pton(AF_INET6, address, &v6.sin6_addr) == 1;
  if (!is_v6 && inet_pton(AF_INET, address, &v4.sin_addr) != 1) Fail(address);
  v6.sin6_family = AF_INET6;
  v4.sin_family = AF_INET;
  v6.sin6_port = v4.sin_port = htons(port);
  const int fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
  const int failed = is_v6 ? connect(fd, reinterpret_cast<sockaddr*>(&v6), sizeof(v6))
                           : connect(fd, reinterpret_cast<sockaddr*>(&v4), sizeof(v4));
  if (failed != 0) Fail("connect");
  return fd;
}

int Source(const char* address, uint16_t port, uint64_t bytes) {
  const int fd = Connect(address, port);
  for (uint64_t at = 0; at < bytes; at += kChunk) {
    if (!SendAll(fd, ChunkAt(at), std::min<uint64_t>(kChunk, bytes - at))) Fail("send");
  }
  shutdown(fd, SHUT_WR);
  char verdict[64] = {}, expected[64];
  if (recv(fd, verdict, sizeof(verdict) - 1, MSG_WAITALL) < 0) Fail("recv");
  fputs(verdict, stdout);
  snprintf(expected, sizeof(expected), "ok %llu\n", static_cast<unsigned long long>(bytes));
  return strcmp(verdict, expected) == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3 && strcmp(argv[1], "sink") == 0) return Sink(static_cast<uint16_t>(atoi(argv[2])));
  if (argc == 5 && strcmp(argv[1], "source") == 0) {
    return Source(argv[2], static_cast<uint16_t>(atoi(argv[3])), strtoull(argv[4], nullptr, 10));
  }
  fprintf(stderr, "usage: stream sink PORT | stream source ADDRESS PORT BYTES\n");
  return 2;
}
