#include "api/reply_size.h"

#include <algorithm>

namespace edgewise::api {
namespace {

constexpr double kMemory = 16.0;       // replies that the average remembers
constexpr double kHeaders = 1.04;      // packets' headers, of full packets
constexpr double kPacket = 52.0;       // ... of one
constexpr double kHead = 350.0;        // of HTTP
constexpr double kWholeFrame = 450.0;  // of a reply's JSON: names, identity, usage
constexpr double kOtherEvents = 3.0;   // opening, end, usage and "[DONE]"

}  // namespace

std::size_t ReplySizes::index_of(const ReplyKind& kind) {
  return (kind.chat ? 4U : 0U) + (kind.stream ? 2U : 0U) + (kind.top_logprobs >= 0 ? 1U : 0U);
}

void ReplySizes::observe(const ReplyKind& kind, std::int64_t tokens, double bytes) {
  if (tokens <= 0) {
    return;
  }
  const double told = static_cast<double>(tokens) * (1.0 + std::max(0, kind.top_logprobs));
  const MutexLock lock(mutex_);
  double& average = bytes_.at(index_of(kind));
  average += (std::max(1.0, bytes / told) - average) / kMemory;
}

double ReplySizes::token_bytes(const ReplyKind& kind) const {
  const MutexLock lock(mutex_);
  return bytes_.at(index_of(kind)) * (1.0 + std::max(0, kind.top_logprobs));
}

engine::Delivery ReplySizes::delivery(const ReplyKind& kind, double event_bytes) const {
  const double token = token_bytes(kind) * kHeaders;
  if (!kind.stream) {
    return {.token_bytes = token, .fixed_bytes = kHead + kWholeFrame + kPacket, .at_once = true};
  }
  return {.token_bytes = token + (event_bytes + kPacket) / kMostMerged,
          .fixed_bytes = kHead + kOtherEvents * (event_bytes + kPacket),
          .at_once = false};
}

}  // namespace edgewise::api
