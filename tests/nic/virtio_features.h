// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_NIC_VIRTIO_FEATURES_H_
#define SLUICE_TESTS_NIC_VIRTIO_FEATURES_H_

// Feature bits as tests name them (virtio 1.2, 5.1.3 and 6).

#include <cstdint>

namespace sluice::testing::feature {

inline constexpr uint64_t kCsum = 1ull << 0;
inline constexpr uint64_t kGuestCsum = 1ull << 1;
inline constexpr uint64_t kMac = 1ull << 5;
inline constexpr uint64_t kGuestTso4 = 1ull << 7;
inline constexpr uint64_t kGuestTso6 = 1ull << 8;
inline constexpr uint64_t kGuestEcn = 1ull << 9;
inline constexpr uint64_t kHostTso4 = 1ull << 11;
inline constexpr uint64_t kHostTso6 = 1ull << 12;
inline constexpr uint64_t kHostEcn = 1ull << 13;
inline constexpr uint64_t kMrgRxbuf = 1ull << 15;
inline constexpr uint64_t kMq = 1ull << 22;
inline constexpr uint64_t kIndirect = 1ull << 28;
inline constexpr uint64_t kEventIndex = 1ull << 29;
inline constexpr uint64_t kVersion1 = 1ull << 32;
inline constexpr uint64_t kPacked = 1ull << 34;
inline constexpr uint64_t kInOrder = 1ull << 35;
inline constexpr uint64_t kGuestUso4 = 1ull << 54;
inline constexpr uint64_t kGuestUso6 = 1ull << 55;
inline constexpr uint64_t kHostUso = 1ull << 56;
inline constexpr uint64_t kHashReport = 1ull << 57;

inline constexpr uint64_t kGuestTso = kGuestTso4 | kGuestTso6 | kGuestEcn;
inline constexpr uint64_t kGuestUso = kGuestUso4 | kGuestUso6;
inline constexpr uint64_t kHostTso = kHostTso4 | kHostTso6 | kHostEcn;

}  // namespace sluice::testing::feature

#endif  // SLUICE_TESTS_NIC_VIRTIO_FEATURES_H_
