// What approximate reuse (docs/decisions/013-approximate-reuse.md) costs and saves: prompts whose second line changed, computed
// exactly, and with the rest taken over from the prompt before the change.
//
// A prompt is a chat (plain text, where the model has no template): a clock and a piece of prose in the system message, then a
// question about the prose, or for the time. The clock's digits change, or a line is added; with --changes rule it is how to
// answer. For each way to recompute (first tokens of a run / last tokens of a prompt):
//   KL      mean and largest KL(exact || approximate) of the next-token distributions along the exact greedy answer, in nats
//   top 1   positions where both would draw the same token greedily
//   time    questions for the time whose own greedy answer names the new one (and the old one)
//   sooner  exact computing time over approximate, from the same exact beginning; copying alone in % of exact
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <numeric>
#include <utility>

#include "chat/chat_format.h"
#include "model/model.h"
#include "platform/cpu.h"
#include "platform/worker_pool.h"
#include "reuse/reuse_plan.h"

namespace edgewise {
namespace {

using Tokens = std::vector<TokenId>;
using Row = std::vector<float>;

constexpr std::int64_t kChunk = 512;

struct Options {
  std::string model;
  std::string text = "tests/accuracy/text.txt";
  std::size_t pieces = 4;
  std::size_t piece_bytes = 6000;
  std::int64_t answer = 32;
  std::vector<std::string> recomputed = {"0/1",   "8/1",   "16/1",  "32/1",  "64/1",  "128/1",
                                         "0/32",  "8/32",  "16/32", "32/32", "64/32", "128/32",
                                         "16/64", "32/64", "64/64", "128/64"};
  std::vector<std::string> changes = {"digits", "line"};
  std::string kv_type = "f16";
  int threads = platform::usable_cpus();
};

// To the same length, a line more, and one that changes what is to be made of all that follows.
struct Change {
  std::string_view name, before, after;
};

constexpr std::string_view kOldTime = "09:31";
constexpr std::string_view kNewTime = "14:52";
constexpr Change kChanges[] = {
    {"digits", "Time: 2026-11-27 09:31:07", "Time: 2026-11-27 14:52:38"},
    {"line", "Time: 2026-11-27 09:31:07",
     "Time: 2026-11-27 14:52:38\nAlarm: pump 4 stopped, pressure 7.3 bar"},
    {"rule", "Time: 2026-11-27 09:31:07\nAnswer in English.",
     "Time: 2026-11-27 14:52:38\nAnswer in French, and call every person by a number, never by "
     "name."},
};
constexpr std::string_view kQuestions[] = {
    "Who is described in the text, and what happens to them?",
    "What time is it now? Answer with the time only.",
};
constexpr std::size_t kAsksForTime = 1;

std::string json_string(std::string_view text) {
  std::string json = "\"";
  for (const char c : text) {
    json += c == '"' ? "\\\"" : c == '\\' ? "\\\\" : c == '\n' ? "\\n" : std::string(1, c);
  }
  return json + '"';
}

template <typename T>
T or_exit(Result<T> result) {
  if (!result) {
    fmt::print(stderr, "reuse_bench: {}\n", result.error().message);
    std::exit(1);
  }
  return std::move(*result);
}

// log softmax, in doubles.
std::vector<double> log_distribution(const Row& logits) {
  const double top = *std::ranges::max_element(logits);
  double sum = 0.0;
  for (const float logit : logits) {
    sum += std::exp(static_cast<double>(logit) - top);
  }
  std::vector<double> result(logits.size());
  std::ranges::transform(logits, result.begin(), [&](float logit) {
    return static_cast<double>(logit) - top - std::log(sum);
  });
  return result;
}

double divergence(const Row& exact, const Row& approximate) {
  const std::vector<double> p = log_distribution(exact);
  const std::vector<double> q = log_distribution(approximate);
  double sum = 0.0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    sum += std::exp(p[i]) * (p[i] - q[i]);
  }
  return sum;
}

TokenId top_of(const Row& row) {
  return static_cast<TokenId>(std::ranges::max_element(row) - row.begin());
}

class Lab {
 public:
  explicit Lab(const Options& options)
      : file_(std::make_shared<const tensor::ModelFile>(
            or_exit(tensor::ModelFile::open(options.model)))),
        pool_(options.threads),
        ops_(pool_, *or_exit(kernels::select_table())),
        model_(or_exit(model::Model::load(file_, ops_))),
        tokenizer_(or_exit(text::Tokenizer::create(file_->metadata()))),
        format_(or_exit(chat::ChatFormat::create(file_->metadata(), *tokenizer_, ""))),
        cache_(or_exit(cache::KvCache::create(
            model_->kv_shapes(), 256, *kernels::kv_type_of(options.kv_type)))) {}

  Tokens prompt_of(std::string_view clock, std::string_view piece, std::string_view question) {
    const std::string system =
        fmt::format("You help the crew of a plant.\n{}\nAnswer from this.\n\n{}", clock, piece);
    if (!format_->has_template()) {
      return tokenizer_->encode(fmt::format("{}\n\nQuestion: {}\nAnswer:", system, question));
    }
    chat::ChatInput input;
    input.messages_json =
        fmt::format(R"([{{"role":"system","content":{}}},{{"role":"user","content":{}}}])",
                    json_string(system), json_string(question));
    return or_exit(format_->prepare(input, {}, 8192, [] { return std::uint64_t{1}; })).prompt;
  }

  std::string decode(const Tokens& tokens) const { return tokenizer_->decode(tokens); }

  // A sequence on its way: its blocks, and how far it is.
  struct Sequence {
    std::vector<cache::BlockId> blocks;
    std::int64_t computed = 0;
  };

  void grow(Sequence& sequence, std::int64_t positions) {
    while (std::ssize(sequence.blocks) * kernels::kKeyBlock < positions) {
      sequence.blocks.push_back(cache_->allocate().value());
    }
  }

  void release(Sequence& sequence) {
    std::ranges::for_each(sequence.blocks, [&](auto block) { cache_->release(block); });
    sequence = {};
  }

  void compute(Sequence& sequence, const Tokens& tokens, std::int64_t end) {
    grow(sequence, end);
    while (sequence.computed < end) {
      forward(sequence, tokens, std::min(kChunk, end - sequence.computed), model::Want::kNothing);
    }
  }

  // Of the tokens from the computed ones to the last.
  std::vector<Row> logits(Sequence& sequence, const Tokens& tokens) {
    grow(sequence, std::ssize(tokens));
    std::vector<Row> rows;
    const auto result =
        forward(sequence, tokens, std::ssize(tokens) - sequence.computed, model::Want::kAllLogits);
    for (const auto row : result.rows) {
      rows.emplace_back(row.begin(), row.end());
    }
    return rows;
  }

  // Greedily, from a prompt of which all but the last token are computed.
  Tokens answer(Sequence& sequence, Tokens tokens, std::int64_t count) {
    const std::size_t prompt = tokens.size();
    for (std::int64_t i = 0; i < count; ++i) {
      tokens.push_back(top_of(logits(sequence, tokens).back()));
    }
    return {tokens.begin() + static_cast<std::ptrdiff_t>(prompt), tokens.end()};
  }

  void copy(const Sequence& source, const reuse::CommonRun& run, Sequence& to) {
    grow(to, run.end());
    model_->copy_positions({.source = source.blocks,
                            .from = run.from,
                            .blocks = to.blocks,
                            .to = run.begin,
                            .count = run.length},
                           *cache_);
  }

 private:
  model::StepResult forward(Sequence& sequence,
                            const Tokens& tokens,
                            std::int64_t count,
                            model::Want want) {
    const auto part = std::span(tokens).subspan(static_cast<std::size_t>(sequence.computed),
                                                static_cast<std::size_t>(count));
    const std::int64_t first = std::exchange(sequence.computed, sequence.computed + count);
    return model_->forward({{{part, first, sequence.blocks, want}}}, *cache_);
  }

  std::shared_ptr<const tensor::ModelFile> file_;
  platform::WorkerPool pool_;
  kernels::Ops ops_;
  std::unique_ptr<model::Model> model_;
  std::unique_ptr<const text::Tokenizer> tokenizer_;
  std::unique_ptr<const chat::ChatFormat> format_;
  std::unique_ptr<cache::KvCache> cache_;
};

double seconds_of(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double median(std::vector<double> values) {
  if (values.empty()) {
    return 0.0;
  }
  std::ranges::sort(values);
  return values[values.size() / 2];
}

struct Figures {
  std::vector<double> kl;
  std::vector<double> first_kl;  // of the answers' first tokens
  std::int64_t agreeing = 0;
  std::int64_t asked = 0, named_new = 0, named_old = 0;
  std::vector<double> sooner, copy_share;
  std::int64_t prompt_tokens = 0, copied_tokens = 0;

  void note_time(const std::string& answer) {
    ++asked;
    named_new += answer.find(kNewTime) != std::string::npos ? 1 : 0;
    named_old += answer.find(kOldTime) != std::string::npos ? 1 : 0;
  }
};

// One changed prompt, exactly computed.
struct Case {
  Tokens before;
  Tokens prompt;
  bool asks_for_time = false;
  Tokens answer;           // greedy
  std::vector<Row> exact;  // logits along it
  double seconds = 0.0;    // to compute the prompt behind `same`
  std::int64_t same = 0;   // tokens at the beginning that did not change
};

Case exact_case(Lab& lab, Tokens before, Tokens prompt, bool asks_for_time, std::int64_t length) {
  Case c;
  c.before = std::move(before);
  c.prompt = std::move(prompt);
  c.asks_for_time = asks_for_time;
  c.same = std::ranges::mismatch(c.before, c.prompt).in1 - c.before.begin();
  Lab::Sequence sequence;
  lab.compute(sequence, c.prompt, c.same);
  c.seconds = seconds_of([&] { lab.compute(sequence, c.prompt, std::ssize(c.prompt) - 1); });
  c.answer = lab.answer(sequence, c.prompt, length);
  Tokens all = c.prompt;
  all.insert(all.end(), c.answer.begin(), c.answer.end() - 1);
  sequence.computed = std::ssize(c.prompt) - 1;
  c.exact = lab.logits(sequence, all);
  lab.release(sequence);
  return c;
}

void try_reuse(Lab& lab,
               const Lab::Sequence& source,
               const Case& c,
               const reuse::Recomputation& again,
               Figures& figures) {
  const std::vector<std::span<const TokenId>> sources{c.before};
  const auto runs = reuse::plan_reuse(c.prompt, c.same, sources, again);
  Lab::Sequence sequence;
  lab.compute(sequence, c.prompt, c.same);
  double copying = 0.0;
  const double seconds = seconds_of([&] {
    for (const reuse::CommonRun& run : runs) {
      lab.compute(sequence, c.prompt, run.begin);
      copying += seconds_of([&] { lab.copy(source, run, sequence); });
      sequence.computed = run.end();
      figures.copied_tokens += run.length;
    }
    lab.compute(sequence, c.prompt, std::ssize(c.prompt) - 1);
  });
  figures.prompt_tokens += std::ssize(c.prompt);
  figures.sooner.push_back(c.seconds / seconds);
  figures.copy_share.push_back(copying / c.seconds);
  Tokens all = c.prompt;
  all.insert(all.end(), c.answer.begin(), c.answer.end() - 1);
  const std::vector<Row> rows = lab.logits(sequence, all);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    figures.kl.push_back(divergence(c.exact[i], rows[i]));
    figures.agreeing += top_of(c.exact[i]) == top_of(rows[i]) ? 1 : 0;
  }
  figures.first_kl.push_back(figures.kl[figures.kl.size() - rows.size()]);
  if (c.asks_for_time) {
    sequence.computed = std::ssize(c.prompt) - 1;
    figures.note_time(lab.decode(lab.answer(sequence, c.prompt, std::ssize(c.answer))));
  }
  lab.release(sequence);
}

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

void print(std::string_view name, const Figures& f) {
  fmt::print(
      "| {} | {:.4f} | {:.4f} | {:.2f} | {:.1f} % | {} ({}) of {} | {:.1f} ({:.1f}) | {:.1f} % | "
      "{:.0f} % |\n",
      name, mean(f.kl), mean(f.first_kl), *std::ranges::max_element(f.kl),
      100.0 * static_cast<double>(f.agreeing) / static_cast<double>(f.kl.size()), f.named_new,
      f.named_old, f.asked, median(f.sooner), *std::ranges::min_element(f.sooner),
      100.0 * median(f.copy_share),
      100.0 * static_cast<double>(f.copied_tokens) / static_cast<double>(f.prompt_tokens));
}

reuse::Recomputation recomputation_of(const std::string& text) {
  const auto slash = text.find('/');
  return {.first = std::stoll(text.substr(0, slash)), .last = std::stoll(text.substr(slash + 1))};
}

void run(const Options& options) {
  std::ifstream file(options.text);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  if (text.size() < options.pieces * options.piece_bytes) {
    fmt::print(stderr, "reuse_bench: {} has {} bytes, {} are wanted\n", options.text, text.size(),
               options.pieces * options.piece_bytes);
    std::exit(1);
  }
  Lab lab(options);
  std::map<std::string, Figures> figures;
  Figures exact;
  std::int64_t positions = 0;
  std::int64_t prompts = 0;
  for (std::size_t piece = 0; piece < options.pieces; ++piece) {
    const std::string prose = text.substr(piece * options.piece_bytes, options.piece_bytes);
    for (const Change& change : kChanges) {
      if (std::ranges::find(options.changes, change.name) == options.changes.end()) {
        continue;
      }
      for (std::size_t q = 0; q < std::size(kQuestions); ++q) {
        const Case c = exact_case(lab, lab.prompt_of(change.before, prose, kQuestions[q]),
                                  lab.prompt_of(change.after, prose, kQuestions[q]),
                                  q == kAsksForTime, options.answer);
        Lab::Sequence source;
        lab.compute(source, c.before, std::ssize(c.before));
        if (c.asks_for_time) {
          exact.note_time(lab.decode(c.answer));
        }
        ++prompts;
        positions += std::ssize(c.exact);
        exact.prompt_tokens += std::ssize(c.prompt);
        for (const std::string& again : options.recomputed) {
          try_reuse(lab, source, c, recomputation_of(again), figures[again]);
        }
        lab.release(source);
      }
    }
  }
  fmt::print(
      "{}: {} prompts of {} tokens on average, {} positions, {}; exact answers name the time: {} "
      "({}) of {}\n\n",
      options.model, prompts, exact.prompt_tokens / prompts, positions, options.kv_type,
      exact.named_new, exact.named_old, exact.asked);
  fmt::print(
      "| recomputed, first/last | KL | of first tokens | largest | top 1 | named the new (old) "
      "time | times sooner, median (worst) | copying, of exact time | taken over |\n");
  fmt::print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
  for (const std::string& again : options.recomputed) {
    print(again, figures[again]);
  }
}

}  // namespace
}  // namespace edgewise

int main(int argc, char** argv) {
  edgewise::Options options;
  CLI::App app("What approximate reuse costs in accuracy and saves in time.");
  app.add_option("model", options.model, "A GGUF file")->required()->check(CLI::ExistingFile);
  app.add_option("--text", options.text, "Prose for the prompts")->capture_default_str();
  app.add_option("--pieces", options.pieces, "Pieces of it; each makes 2 prompts for each change")
      ->capture_default_str();
  app.add_option("--piece-bytes", options.piece_bytes, "Bytes of a piece")->capture_default_str();
  app.add_option("--answer", options.answer, "Tokens of an answer")->capture_default_str();
  app.add_option("--recomputed", options.recomputed, "FIRST/LAST ...")->capture_default_str();
  app.add_option("--changes", options.changes)
      ->check(CLI::IsMember({"digits", "line", "rule"}))
      ->capture_default_str();
  app.add_option("--kv-type", options.kv_type)->check(CLI::IsMember({"f16", "q8"}));
  app.add_option("--threads", options.threads)->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  edgewise::run(options);
}
