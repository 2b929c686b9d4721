// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_SOFTVERBS_COUNTER_FILE_INTERNAL_H_
#define SLUICE_NIC_SOFTVERBS_COUNTER_FILE_INTERNAL_H_

// A counter that other programs read as a file, as those that sysfs has of cards. The file is of whoever made the sysfs
// of the device, and its text is changed in place, in mapped memory: no system call.

#include <cstddef>
#include <cstdint>
#include <string>

namespace sluice {

class CounterFile {
 public:
  static constexpr size_t kDigits = 20;  // of which the file is to have room for

  CounterFile() = default;
  ~CounterFile() { Close(); }
  CounterFile(const CounterFile&) = delete;
  CounterFile& operator=(const CounterFile&) = delete;

  // Where there is no such file, nothing is shown.
  void Open(const std::string& path);
  void Show(uint64_t value);

 private:
  void Close();

  char* text_ = nullptr;
  uint64_t shown_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_NIC_SOFTVERBS_COUNTER_FILE_INTERNAL_H_
