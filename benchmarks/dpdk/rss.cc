// SPDX-License-Identifier: Apache-2.0
#define ALLOW_EXPERIMENTAL_API  // rte_thash_gfni_bulk

#include "benchmarks/dpdk/rss.h"

#include <rte_byteorder.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <rte_thash.h>

#include <array>
#include <cstring>

#include "sluice/packet/rss.h"

namespace sluice::bench::dpdk {
namespace {

using Key = std::array<uint32_t, kRssKeySize / sizeof(uint32_t)>;

Key ConvertedKey() {
  Key original, converted;
  std::memcpy(original.data(), kMicrosoftRssKey.data(), sizeof(original));
  rte_convert_rss_key(original.data(), converted.data(), sizeof(original));
  return converted;
}

uint32_t Hash(uint32_t* words, uint32_t count, const Key& key) {
  return rte_softrss_be(words, count, reinterpret_cast<const uint8_t*>(key.data()));
}

uint32_t HashOfFrame(const uint8_t* frame, const Key& key) {
  const auto* ip = reinterpret_cast<const rte_ipv4_hdr*>(frame + sizeof(rte_ether_hdr));
  const auto* tcp = reinterpret_cast<const rte_tcp_hdr*>(ip + 1);
  rte_thash_tuple tuple;
  tuple.v4.src_addr = rte_be_to_cpu_32(ip->src_addr);
  tuple.v4.dst_addr = rte_be_to_cpu_32(ip->dst_addr);
  tuple.v4.sport = rte_be_to_cpu_16(tcp->src_port);
  tuple.v4.dport = rte_be_to_cpu_16(tcp->dst_port);
  return Hash(reinterpret_cast<uint32_t*>(&tuple), RTE_THASH_V4_L4_LEN, key);
}

}  // namespace

absl::StatusOr<Sampler> SoftRss(absl::Span<const uint8_t> tuples, size_t size) {
  std::vector<uint32_t> words(tuples.size() / sizeof(uint32_t));
  std::memcpy(words.data(), tuples.data(), tuples.size());
  for (uint32_t& word : words) word = rte_be_to_cpu_32(word);
  const size_t each = size / sizeof(uint32_t);
  std::vector<uint32_t> hashes(words.size() / each);
  return NanosecondsPer([=, key = ConvertedKey()](size_t n) mutable {
    for (size_t done = 0; done < n; done += hashes.size()) {
      for (size_t i = 0; i < hashes.size(); ++i) {
        hashes[i] = Hash(&words[i * each], static_cast<uint32_t>(each), key);
      }
      MustBeInMemory(hashes.data());
    }
  });
}

#if defined(RTE_THASH_GFNI_DEFINED)
absl::StatusOr<Sampler> GfniHash(absl::Span<const uint8_t> tuples, size_t size) {
  // Debian's library, built for an older processor, says that it is not supported; the inline code is.
  if (!__builtin_cpu_supports("gfni")) return absl::UnavailableError("rte_thash_gfni needs GFNI");
  std::vector<uint64_t> matrices(kRssKeySize);
  rte_thash_complete_matrix(matrices.data(), kMicrosoftRssKey.data(), kRssKeySize);
  std::vector<uint8_t> bytes(tuples.begin(), tuples.end());
  std::vector<uint32_t> hashes(bytes.size() / size);
  return NanosecondsPer([=](size_t n) mutable {
    std::vector<uint8_t*> places(hashes.size());
    for (size_t i = 0; i < places.size(); ++i) places[i] = &bytes[i * size];
    for (size_t done = 0; done < n; done += hashes.size()) {
      rte_thash_gfni_bulk(matrices.data(), static_cast<int>(size), places.data(), hashes.data(),
                          static_cast<uint32_t>(hashes.size()));
      MustBeInMemory(hashes.data());
    }
  });
}
#else
absl::StatusOr<Sampler> GfniHash(absl::Span<const uint8_t>, size_t) {
  return absl::UnavailableError("rte_thash_gfni needs GFNI and AVX-512 in the compiler's flags");
}
#endif

absl::StatusOr<Sampler> SoftRssOfFrames(std::vector<const uint8_t*> frames) {
  std::vector<uint32_t> hashes(frames.size());
  return NanosecondsPer([=, key = ConvertedKey()](size_t n) mutable {
    for (size_t done = 0; done < n; done += frames.size()) {
      for (size_t i = 0; i < frames.size(); ++i) hashes[i] = HashOfFrame(frames[i], key);
      MustBeInMemory(hashes.data());
    }
  });
}

}  // namespace sluice::bench::dpdk
