// Runs requests: one thread owns the model, the cache and every sequence. Requests come in through
// a queue and leave as events; tokens in, tokens out, no text.
//
// Each step takes one token from every sequence that is generating and fills what time is left with
// the next chunk of waiting prompts, so several requests progress together. A finished sequence's
// blocks stay as reusable prefix until memory is needed.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "admission/forecast.h"
#include "admission/link.h"
#include "base/ids.h"
#include "base/result.h"
#include "cache/page_store.h"
#include "kernels/kv_type.h"
#include "model/model.h"
#include "platform/turn.h"
#include "reuse/reuse_plan.h"
#include "sampling/sampler.h"

namespace edgewise::engine {

using Clock = std::chrono::steady_clock;

enum class FinishReason {
  kEnd,        // the model ended its answer, or its grammar is complete
  kLength,     // max_tokens reached, or the context is full
  kStopped,    // its receiver said that it is complete
  kCancelled,  // cancel(), or its receiver or the engine went away
  kError,
};

struct Usage {
  std::int64_t prompt_tokens = 0;
  std::int64_t cached_tokens = 0;       // of the prompt, taken from the prefix cache
  std::int64_t approximate_tokens = 0;  // ... and others, taken over from behind other beginnings
  std::int64_t completion_tokens = 0;
  std::int64_t drafted_tokens = 0;         // computed before they were drawn (speculation)
  std::int64_t accepted_tokens = 0;        // ... and then drawn
  std::int64_t model_drafted_tokens = 0;   // of the drafted ones, guessed by the draft model
  std::int64_t model_accepted_tokens = 0;  // ... and then drawn
  double queue_seconds = 0, prefill_seconds = 0, decode_seconds = 0;
};

// One of: a token, or the end (finish set; error set when finish is kError), or an embedding with
// the end.
struct Event {
  std::optional<sampling::Draw> draw;  // an end-of-generation token is not delivered
  std::optional<FinishReason> finish;
  std::optional<Error> error;
  std::vector<float> embedding;
  Usage usage;  // final with `finish`
};

// What the receiver of a token says to it.
enum class Reply {
  kGoOn,
  kComplete,  // a stop string, the last tool call: the request ends with kStopped
  kGone,      // nobody reads any more: it ends with kCancelled
};

// What an answer takes of the link to its receiver; all 0: nothing that is known.
struct Delivery {
  double token_bytes = 0.0;  // at the least, on average
  double fixed_bytes = 0.0;  // beside its tokens
  bool at_once = false;      // nothing is sent before its last token is there

  double bytes(std::int64_t tokens) const {
    return fixed_bytes + token_bytes * static_cast<double>(tokens);
  }
};

struct Request {
  std::vector<TokenId> prompt;  // at least one token
  sampling::SamplingParams sampling;
  std::int64_t max_tokens = -1;  // -1: until the context is full
  std::int64_t min_tokens = 0;   // end-of-generation tokens are not drawn before
  bool ignore_eos = false;       // end-of-generation tokens are never drawn
  bool speculate =
      true;  // false: its tokens are computed one at a time, and teach nothing of guesses
  bool embedding = false;  // compute the pooled embedding of the prompt instead of generating
  // Prefixes are shared only inside one, in memory and, by this name, on disk: nobody should be able to
  // guess another's. The machine is shared fairly between them.
  std::string tenant;
  std::string label;  // names the request in the log
  // Text that is cached behind another beginning may be taken over from there, in part, instead of computed. The answer then
  // depends on what is cached, and differs a little (docs/decisions/013-approximate-reuse.md).
  bool approximate_reuse = false;
  // Pointless when the last (first) token comes later: the request ends then, with kError and
  // kDeadlineExceeded.
  std::optional<Clock::time_point> deadline;
  std::optional<Clock::time_point> first_token_deadline;
  Delivery delivery;
  int priority = 0;    // each step doubles what the request is worth, and what its tenant pays
  double share = 1.0;  // of the tenant, in proportion to the others'; positive
  // Called on the engine thread, in order, the last one with `finish`, whose reply is ignored. Must
  // not block, throw or destroy the engine.
  std::function<Reply(Event)> on_event;
};

enum class Scheduling {
  kFirstComeFirstServed,
  kDeadline,  // the set that is worth most and in time, chosen by search; docs/serving.md
};

// Where often used beginnings are kept beyond memory and this process; see
// docs/decisions/009-kv-pages-on-disk.md.
struct DiskOptions {
  std::filesystem::path folder;   // private to this user; created
  std::int64_t budget_bytes = 0;  // of all files in it; 0: nothing is kept
  std::string model_label;  // what tells the model's files from others, and from other versions
};

struct EngineOptions {
  std::int64_t context = 0;  // positions a sequence may take; 0: the least of what the model was
                             // trained for, 8192, and what fits a quarter of the available memory
  std::int64_t max_sequences = 32;  // running at once; more wait
  std::int64_t max_waiting = 1024;  // more are refused with kUnavailable
  std::int64_t kv_budget_bytes =
      0;  // 0: a quarter of the available memory, more when `context` asks for it
  kernels::KvType kv_type =
      kernels::KvType::kF16;       // of keys and values; an encoder's are always kF16
  std::int64_t step_tokens = 512;  // most tokens computed in one step
  // Longest step while sequences generate, which get their next token only when it is over; 0: 1.6
  // times what it takes without prompts, up to 6 times where all have deadlines or many wait.
  // Learned from measured steps, so kept on average.
  double stall_seconds = 0.0;
  Scheduling scheduling = Scheduling::kDeadline;
  // Compute guesses of the next tokens along with the last one, where measured costs and the guesses
  // so far say that it pays. Changes no answer.
  bool speculate = true;
  reuse::Recomputation recomputation = {};  // with Request::approximate_reuse
  DiskOptions disk;
  // What answers with deadlines are admitted by, beside time and memory; null: no limit.
  std::shared_ptr<admission::Link> link;
  bool forecasts = false;  // keep at hand what forecast() asks for
  // Whose turn it is to compute, of the engines that share this machine's workers; null: it has them
  // to itself.
  std::shared_ptr<platform::Turn> turn;
};

struct EngineStats {  // counters since start, and gauges
  std::int64_t requests_total = 0, running = 0, waiting = 0;
  std::int64_t prompt_tokens_total = 0, cached_tokens_total = 0, completion_tokens_total = 0,
               steps_total = 0;
  std::int64_t approximate_tokens_total = 0;  // of prompts, taken over from other texts
  std::int64_t drafted_tokens_total = 0, accepted_tokens_total = 0;  // speculation
  std::int64_t model_drafted_tokens_total = 0,
               model_accepted_tokens_total = 0;  // the draft model's
  double draft_seconds_total = 0;                // of busy_seconds, in the draft model
  std::int64_t draft_kv_blocks_used = 0, draft_kv_blocks_total = 0;  // 0: there is none
  std::int64_t draft_weight_bytes = 0;
  std::int64_t kv_blocks_used = 0, kv_blocks_total = 0;
  std::int64_t kv_blocks_cached = 0;  // of the used ones, held only as reusable prefix
  std::int64_t kv_blocks_mapped = 0;  // of the used ones, read from files on disk
  cache::PageStoreStats disk = {};
  std::int64_t preemptions_total =
      0;  // sequences that gave up their memory and were computed again
  double busy_seconds = 0;
  double turn_wait_seconds_total = 0;        // while another engine computed
  kernels::ShortlistCounts shortlists = {};  // of the output layer
  // Requests that were not served to their end, by reason.
  std::int64_t refused_full_total = 0;         // too many are waiting
  std::int64_t refused_unreachable_total = 0;  // could not have been in time
  std::int64_t refused_link_total = 0;         // ... because of the link
  std::int64_t expired_waiting_total = 0;      // their time was up before they began
  std::int64_t expired_running_total = 0;      // ... or after
  std::int64_t deadlines_met_total = 0;        // finished, and had a deadline
  // Kernel of the scheduler: searches, those that time ended before they were exact, what those may
  // have missed (value of the bound over the value found, summed), seconds they took.
  std::int64_t selections_total = 0, selections_cut_total = 0;
  double selection_gap_total = 0, selection_seconds_total = 0;
  double scheduling_seconds_total = 0;  // of the engine thread: snapshots, choices, step plans
  double step_error = 0;                // mean |log(measured / predicted)| of recent steps
};

class Engine {
 public:
  // `end_tokens`: end-of-generation ids. `grammars` may be null (constrained requests are then
  // refused). `draft_model`: a smaller model of the same vocabulary that guesses tokens, which changes
  // no answer; null: none.
  static Result<std::unique_ptr<Engine>> create(
      std::unique_ptr<model::Model> model,
      std::vector<TokenId> end_tokens,
      std::shared_ptr<const sampling::GrammarFactory> grammars,
      const EngineOptions& options,
      std::unique_ptr<model::Model> draft_model = nullptr);
  ~Engine();  // cancels what runs and waits

  // Any thread. Fails at once when the prompt does not fit the context, parameters are out of range
  // or the queue is full; then no event comes. A grammar is compiled here, on the caller's thread.
  Result<RequestId> submit(Request request);
  void cancel(RequestId id);  // at the next step; unknown or finished ids are ignored

  // Any thread. Requires EngineOptions::forecasts. Nothing is promised: who comes next is let in, or
  // not, by what is so then.
  admission::Forecast forecast(const admission::Prospect& prospect) const;
  // Any thread. How it stands, for who assigns requests to several. Nothing: nobody had asked for it lately
  // (and EngineOptions::forecasts is off); it is there in a moment.
  std::optional<admission::Load> load() const;

  const model::ModelSpec& spec() const;
  std::int64_t context() const;
  EngineStats stats() const;

 private:
  Engine();
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace edgewise::engine
