#include "answer.h"

#include <unistd.h>

#include <chrono>
#include <ctime>
#include <deque>

#include "base/mutex.h"
#include "input.h"
#include "json_writer.h"
#include "platform/cpu.h"
#include "terminal.h"

namespace edgewise::app {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Age of this process: field 22 of /proc/self/stat is its start in clock ticks since boot.
double process_age_seconds() {
  const std::string stat = read_text("/proc/self/stat").value_or("");
  std::size_t at = stat.rfind(')');  // the name before it may hold spaces
  for (int field = 2; field < 22 && at != std::string::npos; ++field) {
    at = stat.find(' ', at + 1);
  }
  timespec now{};
  if (at == std::string::npos || clock_gettime(CLOCK_BOOTTIME, &now) != 0) {
    return -1.0;
  }
  const double started =
      std::strtod(stat.c_str() + at, nullptr) / static_cast<double>(sysconf(_SC_CLK_TCK));
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9 - started;
}

// Between the engine's thread, which must not wait for a terminal, and ours.
class Mailbox {
 public:
  void put(chat::Delta delta) {
    const MutexLock lock(mutex_);
    deltas_.push_back(std::move(delta));
    changed_.notify_one();
  }

  void put_outcome(const chat::Outcome& outcome) {
    const MutexLock lock(mutex_);
    outcome_ = outcome;
    changed_.notify_one();
  }

  // What came, waiting at most `limit` for it.
  std::deque<chat::Delta> take(std::chrono::milliseconds limit) {
    const Clock::time_point latest = Clock::now() + limit;
    MutexLock lock(mutex_);
    bool is_early = true;
    while (is_early && deltas_.empty() && !outcome_.has_value()) {
      is_early = changed_.wait_until(lock, latest);
    }
    return std::exchange(deltas_, {});
  }

  // Once everything before it was taken.
  std::optional<chat::Outcome> outcome() {
    const MutexLock lock(mutex_);
    return deltas_.empty() ? outcome_ : std::nullopt;
  }

 private:
  Mutex mutex_;
  Condition changed_;
  std::deque<chat::Delta> deltas_ EDGEWISE_GUARDED_BY(mutex_);
  std::optional<chat::Outcome> outcome_ EDGEWISE_GUARDED_BY(mutex_);
};

class Printer {
 public:
  explicit Printer(const Echo& echo) : echo_(echo), style_(Style::of_stdout()) {}

  void print(const chat::Delta& delta) {
    if (!echo_.enabled) {
      return;
    }
    if (echo_.reasoning && !delta.reasoning.empty()) {
      write_out("{}{}{}", style_.dim, delta.reasoning, style_.reset);
      reasoning_open_ = true;
    }
    if (!delta.content.empty()) {
      write_out("{}{}", reasoning_open_ ? "\n" : "", delta.content);
      reasoning_open_ = false;
    }
    std::fflush(stdout);
  }

 private:
  Echo echo_;
  Style style_;
  bool reasoning_open_ = false;
};

}  // namespace

Result<Answer> stream_answer(chat::Generator& generator,
                             Interrupt& interrupt,
                             const Echo& echo,
                             const Start& start) {
  // Shared with the sink, which lives as long as the engine keeps it.
  const auto mailbox = std::make_shared<Mailbox>();
  const Clock::time_point begin = Clock::now();
  const RequestId id = TRY(start(
      {.on_delta =
           [mailbox](const chat::Delta& delta) {
             mailbox->put(delta);
             return true;
           },
       .on_done = [mailbox](const chat::Outcome& outcome) { mailbox->put_outcome(outcome); }}));
  Answer answer;
  Printer printer(echo);
  std::optional<chat::Outcome> outcome;
  while (!outcome) {
    for (const chat::Delta& delta : mailbox->take(std::chrono::milliseconds(50))) {
      if (answer.first_token_seconds < 0.0) {
        answer.first_token_seconds = seconds_since(begin);
        answer.first_token_since_process_start = process_age_seconds();
      }
      answer.content += delta.content;
      answer.reasoning += delta.reasoning;
      printer.print(delta);
    }
    if (interrupt.take() || std::ferror(stdout) != 0) {
      generator.cancel(id);
    }
    outcome = mailbox->outcome();
  }
  if (outcome->error) {
    return tl::unexpected<Error>(*outcome->error);
  }
  answer.finish = outcome->finish;
  answer.usage = outcome->usage;
  answer.total_seconds = seconds_since(begin);
  return answer;
}

std::string finish_name(chat::Finish finish) {
  switch (finish) {
    case chat::Finish::kStop:
      return "stop";
    case chat::Finish::kLength:
      return "length";
    case chat::Finish::kToolCalls:
      return "tool_calls";
    case chat::Finish::kCancelled:
      return "cancelled";
    case chat::Finish::kError:
      return "error";
  }
  return "error";
}

namespace {

double rate(std::int64_t tokens, double seconds) {
  return tokens > 0 && seconds > 0.0 ? static_cast<double>(tokens) / seconds : 0.0;
}

double prefill_rate(const engine::Usage& usage) {
  return rate(usage.prompt_tokens - usage.cached_tokens, usage.prefill_seconds);
}

// The first token comes out of the prefill.
double decode_rate(const engine::Usage& usage) {
  return rate(usage.completion_tokens - 1, usage.decode_seconds);
}

std::string of_draft_model(const engine::Usage& usage) {
  return usage.model_drafted_tokens == 0
             ? ""
             : fmt::format(", {} of {} by the draft model", usage.model_accepted_tokens,
                           usage.model_drafted_tokens);
}

}  // namespace

std::string stats_line(const Answer& answer, std::uint64_t seed) {
  const engine::Usage& usage = answer.usage;
  return fmt::format(
      "first token {:.2f} s after the prompt, {:.2f} s after the start · {} prompt tokens ({} from "
      "cache), {:.1f} tokens/s · {} tokens, {:.1f} tokens/s ({} of {} drafted ones "
      "right{}) · memory {} · seed {}",
      answer.first_token_seconds, answer.first_token_since_process_start, usage.prompt_tokens,
      usage.cached_tokens, prefill_rate(usage), usage.completion_tokens, decode_rate(usage),
      usage.accepted_tokens, usage.drafted_tokens, of_draft_model(usage),
      human_bytes(static_cast<double>(platform::resident_bytes())), seed);
}

void print_answer_json(const Answer& answer, std::uint64_t seed) {
  const engine::Usage& usage = answer.usage;
  JsonWriter json;
  json.begin_object();
  json.field("text", answer.content);
  json.field("reasoning", answer.reasoning);
  json.field("finish", finish_name(answer.finish));
  json.field("seed", seed);
  json.field("prompt_tokens", usage.prompt_tokens);
  json.field("cached_tokens", usage.cached_tokens);
  json.field("completion_tokens", usage.completion_tokens);
  json.field("drafted_tokens", usage.drafted_tokens);
  json.field("accepted_tokens", usage.accepted_tokens);
  json.field("model_drafted_tokens", usage.model_drafted_tokens);
  json.field("model_accepted_tokens", usage.model_accepted_tokens);
  json.field("first_token_seconds", answer.first_token_seconds);
  json.field("first_token_seconds_since_process_start", answer.first_token_since_process_start);
  json.field("total_seconds", answer.total_seconds);
  json.field("prefill_tokens_per_s", prefill_rate(usage));
  json.field("decode_tokens_per_s", decode_rate(usage));
  json.field("resident_bytes", platform::resident_bytes());
  json.field("peak_resident_bytes", platform::peak_resident_bytes());
  json.end_object();
  json.print_line();
}

}  // namespace edgewise::app
