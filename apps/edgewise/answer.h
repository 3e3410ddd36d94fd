// One answer, streamed to standard output as it is made; Ctrl-C stops it.
#pragma once

#include <functional>
#include <string>

#include "base/result.h"
#include "chat/generation.h"
#include "interrupt.h"

namespace edgewise::app {

struct Answer {
  std::string content;
  std::string reasoning;
  chat::Finish finish = chat::Finish::kStop;
  engine::Usage usage;
  double first_token_seconds = -1.0;  // from the prompt; below 0: there was none
  double first_token_since_process_start = -1.0;
  double total_seconds = 0.0;
};

struct Echo {
  bool enabled = true;     // write the text to standard output
  bool reasoning = false;  // and the reasoning (dimmed)
};

using Start = std::function<Result<RequestId>(chat::Sink)>;

// Starts, streams, and returns when the answer has ended. An interrupted answer is one with finish
// kCancelled.
Result<Answer> stream_answer(chat::Generator& generator,
                             Interrupt& interrupt,
                             const Echo& echo,
                             const Start& start);

std::string finish_name(chat::Finish finish);

// "first token 0.05 s after the prompt, ...": one line for people.
std::string stats_line(const Answer& answer, std::uint64_t seed);

// The whole answer with its figures.
void print_answer_json(const Answer& answer, std::uint64_t seed);

}  // namespace edgewise::app
