// How a generation is written as JSON: the same deltas become either stream chunks or, folded, one
// reply.
#pragma once

#include <string>
#include <vector>

#include "chat/generation.h"

namespace edgewise::api {

// All deltas of one choice, added up.
struct FoldedChoice {
  chat::Delta total;  // tool calls complete, in order of their index
  chat::Finish finish = chat::Finish::kStop;

  void add(const chat::Delta& delta);
};

struct UsageTotals {
  std::int64_t prompt_tokens = 0;
  std::int64_t cached_tokens = 0;
  std::int64_t approximate_tokens = 0;  // taken over from other texts
  std::int64_t completion_tokens = 0;
  std::int64_t moved_parts = 0;  // volatile ones, which the prompt has at its end
};

class ReplyFormat {
 public:
  virtual ~ReplyFormat() = default;

  // Stream chunks. The opening comes before everything else of a choice; empty: there is none.
  virtual std::string opening(int choice) = 0;
  virtual std::string delta(int choice, const chat::Delta& delta) = 0;
  virtual std::string finish(int choice, chat::Finish finish) = 0;
  virtual std::string usage(const UsageTotals& usage) = 0;

  // The whole reply.
  virtual std::string body(const std::vector<FoldedChoice>& choices, const UsageTotals& usage) = 0;
};

}  // namespace edgewise::api
