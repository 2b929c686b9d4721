// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VHOST_MESSAGE_INTERNAL_H_
#define SLUICE_NIC_VHOST_MESSAGE_INTERNAL_H_

// What front-end and back-end say to each other over the socket, byte for byte: QEMU's document "Vhost-user Protocol"
// (docs/interop/vhost-user). Numbers have the machine's byte order.
//
//   ┌─────────┬───────┬──────┬─────────────┐
//   │ request │ flags │ size │ payload ... │   + up to 8 descriptors, with the first byte or any later one
//   └─────────┴───────┴──────┴─────────────┘
//
// One table says what each request carries; checks, and names for people, come from it.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace sluice {

struct VhostHeader {
  uint32_t request = 0;  // VhostRequest
  uint32_t flags = 0;    // version, kVhostReply, kVhostNeedReply
  uint32_t size = 0;     // of the payload
};
static_assert(sizeof(VhostHeader) == 12);

inline constexpr uint32_t kVhostVersionMask = 3;
inline constexpr uint32_t kVhostVersion = 1;
inline constexpr uint32_t kVhostReply = 1u << 2;      // an answer of the back-end
inline constexpr uint32_t kVhostNeedReply = 1u << 3;  // asks for one, once REPLY_ACK is negotiated

inline constexpr size_t kVhostMostFds = 8;
inline constexpr size_t kVhostMostPayload = 4096;
inline constexpr size_t kVhostTableRegions = 8;  // in one SET_MEM_TABLE
inline constexpr size_t kVhostMemorySlots =
    509;  // with ADD_MEM_REG: as many as vhost in the kernel has by default
inline constexpr uint32_t kVhostLargestRing = 32768;
inline constexpr uint16_t kVhostMostQueuePairs = 64;

// Of the front-end.
enum class VhostRequest : uint32_t {
  kGetFeatures = 1,
  kSetFeatures = 2,
  kSetOwner = 3,
  kResetOwner = 4,
  kSetMemTable = 5,
  kSetLogBase = 6,
  kSetLogFd = 7,
  kSetVringNum = 8,
  kSetVringAddr = 9,
  kSetVringBase = 10,
  kGetVringBase = 11,
  kSetVringKick = 12,
  kSetVringCall = 13,
  kSetVringErr = 14,
  kGetProtocolFeatures = 15,
  kSetProtocolFeatures = 16,
  kGetQueueNum = 17,
  kSetVringEnable = 18,
  kSendRarp = 19,
  kNetSetMtu = 20,
  kSetBackendReqFd = 21,
  kIotlbMsg = 22,
  kSetVringEndian = 23,
  kGetConfig = 24,
  kSetConfig = 25,
  kCreateCryptoSession = 26,
  kCloseCryptoSession = 27,
  kPostcopyAdvise = 28,
  kPostcopyListen = 29,
  kPostcopyEnd = 30,
  kGetInflightFd = 31,
  kSetInflightFd = 32,
  kGpuSetSocket = 33,
  kResetDevice = 34,
  kVringKick = 35,
  kGetMaxMemSlots = 36,
  kAddMemReg = 37,
  kRemMemReg = 38,
  kSetStatus = 39,
  kGetStatus = 40,
};

// Of the back-end, on the socket that SET_BACKEND_REQ_FD brings.
enum class VhostBackendRequest : uint32_t {
  kIotlbMsg = 1,
  kConfigChangeMsg = 2,
  kVringHostNotifierMsg = 3,
  kVringCall = 4,
  kVringErr = 5,
};

// Bits of GET_PROTOCOL_FEATURES.
enum class VhostProtocolFeature : uint8_t {
  kMq = 0,
  kLogShmfd = 1,
  kRarp = 2,
  kReplyAck = 3,
  kNetMtu = 4,
  kBackendReq = 5,
  kCrossEndian = 6,
  kCryptoSession = 7,
  kPagefault = 8,
  kConfig = 9,
  kBackendSendFd = 10,
  kHostNotifier = 11,
  kInflightShmfd = 12,
  kResetDevice = 13,
  kInbandNotifications = 14,
  kConfigureMemSlots = 15,
  kStatus = 16,
};

constexpr uint64_t BitOf(VhostProtocolFeature feature) {
  return uint64_t{1} << static_cast<uint8_t>(feature);
}

// Bits of GET_FEATURES that are virtio's (1.2, 5.1.3 and 6), as far as anything is done with them.
enum class VirtioFeature : uint8_t {
  kChecksum = 0,  // we take frames that are not finished; the next: the guest does
  kGuestChecksum = 1,
  kGuestTso4 = 7,
  kGuestTso6 = 8,
  kGuestEcn = 9,
  kHostTso4 = 11,
  kHostTso6 = 12,
  kHostEcn = 13,
  kMergeableBuffers = 15,
  kStatus = 16,
  kControlQueue = 17,
  kControlReceive = 18,
  kControlVlan = 19,
  kGuestAnnounce = 21,
  kQueuePairs = 22,
  kControlAddress = 23,
  kAnyLayout = 27,
  kIndirect = 28,
  kEventIndex = 29,
  kVersion1 = 32,
  kPacked = 34,
  kInOrder = 35,
  kGuestUso4 = 54,
  kGuestUso6 = 55,
  kHostUso = 56,
  kHashReport = 57,
};

constexpr uint64_t BitOf(VirtioFeature feature) { return uint64_t{1} << static_cast<uint8_t>(feature); }
constexpr bool Has(uint64_t features, VirtioFeature feature) { return (features & BitOf(feature)) != 0; }

// Bits of GET_FEATURES that are vhost's own, between those of virtio.
inline constexpr uint64_t kVhostLogAll = uint64_t{1} << 26;            // VHOST_F_LOG_ALL
inline constexpr uint64_t kVhostProtocolFeatures = uint64_t{1} << 30;  // VHOST_USER_F_PROTOCOL_FEATURES

// ---- payloads; besides these, a plain uint64_t -------------------------------------------------------------------------

// NUM, BASE, GET_VRING_BASE, ENABLE. A base is the index of the available ring; of a packed ring, bits 0-14 the available
// index, 15 its wrap counter, 16-30 the used index, 31 its wrap counter.
struct VhostRingState {
  uint32_t index = 0;
  uint32_t num = 0;
};
static_assert(sizeof(VhostRingState) == 8);

// Addresses of the front-end; `log` is the guest's address of the used ring, which the memory tells as well. Of a packed ring:
// the ring, the device's event suppression (used) and the driver's (available).
struct VhostRingAddress {
  uint32_t index = 0;
  uint32_t flags = 0;  // kVhostRingLog
  uint64_t descriptors = 0;
  uint64_t used = 0;
  uint64_t available = 0;
  uint64_t log = 0;
};
static_assert(sizeof(VhostRingAddress) == 40 && offsetof(VhostRingAddress, available) == 24);
inline constexpr uint32_t kVhostRingLog = 1;  // VHOST_VRING_F_LOG: writes to the used ring go to the log

// KICK, CALL and ERR carry a uint64_t: the ring, and whether no descriptor comes.
inline constexpr uint64_t kVhostRingIndexMask = 0xff;
inline constexpr uint64_t kVhostNoFd = 1u << 8;

struct VhostMemoryRegion {
  uint64_t guest = 0;
  uint64_t bytes = 0;
  uint64_t user = 0;
  uint64_t offset = 0;  // in the file that comes with it
};
static_assert(sizeof(VhostMemoryRegion) == 32);

// Cut off behind the last region that is used.
struct VhostMemoryTable {
  uint32_t count = 0;
  uint32_t padding = 0;
  std::array<VhostMemoryRegion, kVhostTableRegions> regions = {};
};
static_assert(sizeof(VhostMemoryTable) == 264 && offsetof(VhostMemoryTable, regions) == 8);

// ADD_MEM_REG, REM_MEM_REG.
struct VhostSingleRegion {
  uint64_t padding = 0;
  VhostMemoryRegion region = {};
};
static_assert(sizeof(VhostSingleRegion) == 40 && offsetof(VhostSingleRegion, region) == 8);

struct VhostLogArea {
  uint64_t bytes = 0;
  uint64_t offset = 0;
};
static_assert(sizeof(VhostLogArea) == 16);

// The document's 20 bytes; who sends it as a C structure adds 4 of padding.
struct VhostInflightArea {
  uint64_t bytes = 0;
  uint64_t offset = 0;
  uint16_t queues = 0;  // rings
  uint16_t ring = 0;    // entries of each
  uint32_t padding = 0;
};
inline constexpr size_t kVhostInflightAreaLeast = 20;
static_assert(sizeof(VhostInflightArea) == 24 &&
              offsetof(VhostInflightArea, padding) == kVhostInflightAreaLeast);

// ---- what each request carries ----------------------------------------------------------------------------------------

enum class VhostAnswer : uint8_t {
  kOnRequest,  // 0 for done, 1 for failed, where REPLY_ACK is negotiated and the request asks for it
  kAlways,     // one of its own
};

struct VhostRule {
  VhostRequest request;
  const char* name;  // as the document has it, without VHOST_USER_
  uint16_t least_bytes;
  uint16_t most_bytes;
  uint8_t least_fds;
  uint8_t most_fds;
  VhostAnswer answer = VhostAnswer::kOnRequest;
  uint64_t needs = 0;  // protocol features that must have been negotiated
};

// What is not in here is refused: inter-endian rings, configuration space, crypto sessions, post-copy, IOTLB, in-band kicks.
inline constexpr std::array kVhostRules = std::to_array<VhostRule>({
    {VhostRequest::kGetFeatures, "GET_FEATURES", 0, 0, 0, 0, VhostAnswer::kAlways},
    {VhostRequest::kSetFeatures, "SET_FEATURES", 8, 8, 0, 0},
    {VhostRequest::kSetOwner, "SET_OWNER", 0, 0, 0, 0},
    {VhostRequest::kResetOwner, "RESET_OWNER", 0, 0, 0, 0},
    {VhostRequest::kSetMemTable, "SET_MEM_TABLE", 8, sizeof(VhostMemoryTable), 0, kVhostTableRegions},
    {VhostRequest::kSetLogBase, "SET_LOG_BASE", sizeof(VhostLogArea), sizeof(VhostLogArea), 1, 1,
     VhostAnswer::kAlways, BitOf(VhostProtocolFeature::kLogShmfd)},
    {VhostRequest::kSetLogFd, "SET_LOG_FD", 0, 8, 1, 1},
    {VhostRequest::kSetVringNum, "SET_VRING_NUM", 8, 8, 0, 0},
    {VhostRequest::kSetVringAddr, "SET_VRING_ADDR", sizeof(VhostRingAddress), sizeof(VhostRingAddress), 0, 0},
    {VhostRequest::kSetVringBase, "SET_VRING_BASE", 8, 8, 0, 0},
    {VhostRequest::kGetVringBase, "GET_VRING_BASE", 8, 8, 0, 0, VhostAnswer::kAlways},
    {VhostRequest::kSetVringKick, "SET_VRING_KICK", 8, 8, 0, 1},
    {VhostRequest::kSetVringCall, "SET_VRING_CALL", 8, 8, 0, 1},
    {VhostRequest::kSetVringErr, "SET_VRING_ERR", 8, 8, 0, 1},
    {VhostRequest::kGetProtocolFeatures, "GET_PROTOCOL_FEATURES", 0, 0, 0, 0, VhostAnswer::kAlways},
    {VhostRequest::kSetProtocolFeatures, "SET_PROTOCOL_FEATURES", 8, 8, 0, 0},
    {VhostRequest::kGetQueueNum, "GET_QUEUE_NUM", 0, 0, 0, 0, VhostAnswer::kAlways},
    {VhostRequest::kSetVringEnable, "SET_VRING_ENABLE", 8, 8, 0, 0},
    {VhostRequest::kSendRarp, "SEND_RARP", 8, 8, 0, 0, VhostAnswer::kOnRequest,
     BitOf(VhostProtocolFeature::kRarp)},
    {VhostRequest::kNetSetMtu, "NET_SET_MTU", 8, 8, 0, 0, VhostAnswer::kOnRequest,
     BitOf(VhostProtocolFeature::kNetMtu)},
    {VhostRequest::kSetBackendReqFd, "SET_BACKEND_REQ_FD", 0, 8, 1, 1, VhostAnswer::kOnRequest,
     BitOf(VhostProtocolFeature::kBackendReq)},
    {VhostRequest::kGetInflightFd, "GET_INFLIGHT_FD", kVhostInflightAreaLeast, sizeof(VhostInflightArea), 0,
     0, VhostAnswer::kAlways, BitOf(VhostProtocolFeature::kInflightShmfd)},
    {VhostRequest::kSetInflightFd, "SET_INFLIGHT_FD", kVhostInflightAreaLeast, sizeof(VhostInflightArea), 1,
     1, VhostAnswer::kOnRequest, BitOf(VhostProtocolFeature::kInflightShmfd)},
    {VhostRequest::kResetDevice, "RESET_DEVICE", 0, 0, 0, 0, VhostAnswer::kOnRequest,
     BitOf(VhostProtocolFeature::kResetDevice)},
    {VhostRequest::kGetMaxMemSlots, "GET_MAX_MEM_SLOTS", 0, 8, 0, 0, VhostAnswer::kAlways,
     BitOf(VhostProtocolFeature::kConfigureMemSlots)},
    {VhostRequest::kAddMemReg, "ADD_MEM_REG", sizeof(VhostSingleRegion), sizeof(VhostSingleRegion), 0, 1,
     VhostAnswer::kOnRequest, BitOf(VhostProtocolFeature::kConfigureMemSlots)},
    // Front-ends that send its descriptor along are at large; it is closed.
    {VhostRequest::kRemMemReg, "REM_MEM_REG", sizeof(VhostSingleRegion), sizeof(VhostSingleRegion), 0, 1,
     VhostAnswer::kOnRequest, BitOf(VhostProtocolFeature::kConfigureMemSlots)},
    {VhostRequest::kSetStatus, "SET_STATUS", 8, 8, 0, 0, VhostAnswer::kOnRequest,
     BitOf(VhostProtocolFeature::kStatus)},
    {VhostRequest::kGetStatus, "GET_STATUS", 0, 8, 0, 0, VhostAnswer::kAlways,
     BitOf(VhostProtocolFeature::kStatus)},
});

// Null for a request that is not served.
const VhostRule* VhostRuleOf(uint32_t request);

// ---- names for people -------------------------------------------------------------------------------------------------

std::string VhostRequestName(uint32_t request);    // "SET_MEM_TABLE", "request 77"
std::string VhostFeatureNames(uint64_t features);  // "CSUM MRG_RXBUF VERSION_1", "none"
std::string VhostProtocolFeatureNames(uint64_t features);

}  // namespace sluice

#endif  // SLUICE_NIC_VHOST_MESSAGE_INTERNAL_H_
