// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_SOFTVERBS_EVENT_PIPE_INTERNAL_H_
#define SLUICE_NIC_SOFTVERBS_EVENT_PIPE_INTERNAL_H_

// Events on a descriptor that the program reads, waits for and closes: records of a fixed size in a pipe. One descriptor
// serves for both ends, so that nothing is left when the program closes it.

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "base/unique_fd_internal.h"

namespace sluice {

// -1 and errno when there is none to be had.
inline int OpenEventPipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return -1;
  const std::string path = "/proc/self/fd/" + std::to_string(ends[0]);
  const int both = open(path.c_str(), O_RDWR | O_CLOEXEC);
  close(ends[0]);
  close(ends[1]);
  return both;
}

inline bool Ready(int pipe, short what) {
  pollfd watched{pipe, what, 0};
  return poll(&watched, 1, 0) == 1 && (watched.revents & what) != 0;
}

// False when the pipe is full: whoever lets thousands of events lie loses the next. One writer at a time.
template <typename Record>
bool PutEvent(int pipe, const Record& record) {
  return Ready(pipe, POLLOUT) && write(pipe, &record, sizeof(record)) == sizeof(record);
}

// Takes those out that `goes` names; the others keep their order. No writer meanwhile; a reader may take some first, which
// is why they are read through a descriptor of our own that does not wait.
template <typename Record, typename Goes>
void RemoveEvents(int pipe, Goes goes) {
  const std::string path = "/proc/self/fd/" + std::to_string(pipe);
  const UniqueFd reader(open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  std::vector<Record> kept;
  Record record;
  while (read(reader.get(), &record, sizeof(record)) == sizeof(record)) {
    if (!goes(record)) kept.push_back(record);
  }
  for (const Record& one : kept) (void)PutEvent(pipe, one);
}

}  // namespace sluice

#endif  // SLUICE_NIC_SOFTVERBS_EVENT_PIPE_INTERNAL_H_
