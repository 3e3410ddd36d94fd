// Perplexity over windows of text, counted as llama.cpp's perplexity tool counts: the text is cut
// into windows of `context` tokens, each starts from nothing (its first token replaced by BOS where
// the model asks for one), and the predictions made in the second half of the window count, the
// last one (which has no target) excepted.
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>

#include "bare_model.h"
#include "commands.h"
#include "input.h"
#include "json_writer.h"
#include "model_argument.h"
#include "schedule/node.h"
#include "simulate/scenario.h"
#include "terminal.h"
#include "text/tokenizer.h"

namespace edgewise::app {
namespace {

constexpr std::int64_t kLogitRows = 64;  // logits held at once: V = 262144 makes 64 MiB of this

struct PerplexityOptions {
  std::string model;
  std::string file;
  std::string tokens_file;
  std::string logits_out;
  std::string reference;
  std::int64_t context = 512;
  std::int64_t chunks = -1;
  std::int64_t threads = 0;
  std::string kv_type = "f16";
  bool all_positions = false;
  bool oracle = false;
  bool json = false;

  std::int64_t first_counted() const { return context / 2; }

  // Rows of logits that --logits-out gets of each window: by default those that count.
  std::int64_t first_written() const { return all_positions ? 0 : first_counted(); }

  std::int64_t end_written() const { return all_positions ? context : context - 1; }
};

struct Score {
  double sum = 0.0;  // of negative log-likelihoods
  double sum_squares = 0.0;
  std::int64_t count = 0;

  double mean() const { return sum / static_cast<double>(count); }

  double perplexity() const { return std::exp(mean()); }

  double perplexity_error() const {  // standard error of the mean, carried through exp
    const double n = static_cast<double>(count);
    const double variance = sum_squares / n - mean() * mean();
    return count > 1 && variance > 0.0 ? perplexity() * std::sqrt(variance / (n - 1.0)) : 0.0;
  }
};

double negative_log_likelihood(std::span<const float> logits, TokenId target) {
  float highest = logits[0];
  for (const float logit : logits) {
    highest = std::max(highest, logit);
  }
  double total = 0.0;
  for (const float logit : logits) {
    total += std::exp(static_cast<double>(logit) - static_cast<double>(highest));
  }
  return std::log(total) - (static_cast<double>(logits[static_cast<std::size_t>(target)]) -
                            static_cast<double>(highest));
}

// The file of --logits-out: one line of JSON, then for each window `context` int32 token ids as
// they were fed, and rows_per_window rows of `vocab` f32 logits; everything little-endian.
class LogitsFile {
 public:
  static Result<LogitsFile> create(const std::string& path) {
    LogitsFile file;
    file.path_ = path;
    file.stream_.reset(path == "-" ? stdout : std::fopen(path.c_str(), "wb"));
    if (!file.stream_) {
      return fail(ErrorCode::kIo, "cannot write {}: {}", path, std::strerror(errno));
    }
    return file;
  }

  Result<void> write(const void* data, std::size_t bytes) {
    if (std::fwrite(data, 1, bytes, stream_.get()) != bytes) {
      return fail(ErrorCode::kIo, "cannot write {}: {}", path_, std::strerror(errno));
    }
    return {};
  }

  Result<void> close() {
    std::FILE* stream = stream_.release();
    if ((stream == stdout ? std::fflush(stream) : std::fclose(stream)) != 0) {
      return fail(ErrorCode::kIo, "cannot write {}: {}", path_, std::strerror(errno));
    }
    return {};
  }

 private:
  struct Close {
    void operator()(std::FILE* file) const {
      if (file != stdout) {
        std::fclose(file);
      }
    }
  };

  std::string path_;
  std::unique_ptr<std::FILE, Close> stream_;
};

class Evaluation {
 public:
  Evaluation(model::Model& model,
             cache::KvCache& cache,
             const PerplexityOptions& options,
             std::optional<LogitsFile>& logits_file)
      : model_(model), cache_(cache), options_(options), logits_file_(logits_file) {}

  Result<void> add_window(std::span<const TokenId> fed, std::span<const TokenId> original) {
    if (logits_file_) {
      TRY_VOID(logits_file_->write(fed.data(), fed.size_bytes()));
    }
    SequenceBlocks blocks(cache_);
    const std::int64_t first = logits_file_ ? options_.first_written() : options_.first_counted();
    const std::int64_t end = logits_file_ ? options_.end_written() : options_.context - 1;
    constexpr std::int64_t kChunk = 512;
    for (std::int64_t at = 0; at < first; at += kChunk) {
      forward(fed, at, std::min(kChunk, first - at), blocks, model::Want::kNothing);
    }
    for (std::int64_t at = first; at < end; at += kLogitRows) {
      const std::int64_t count = std::min(kLogitRows, end - at);
      const model::StepResult result = forward(fed, at, count, blocks, model::Want::kAllLogits);
      for (std::int64_t i = 0; i < count; ++i) {
        TRY_VOID(add_row(result.rows[static_cast<std::size_t>(i)], at + i, original));
      }
    }
    return {};
  }

  const Score& score() const { return score_; }

 private:
  Result<void> add_row(std::span<const float> logits,
                       std::int64_t position,
                       std::span<const TokenId> original) {
    if (position >= options_.first_counted() && position < options_.context - 1) {
      const double nll =
          negative_log_likelihood(logits, original[static_cast<std::size_t>(position + 1)]);
      score_.sum += nll;
      score_.sum_squares += nll * nll;
      ++score_.count;
    }
    return logits_file_ ? logits_file_->write(logits.data(), logits.size_bytes()) : Result<void>{};
  }

  model::StepResult forward(std::span<const TokenId> tokens,
                            std::int64_t at,
                            std::int64_t count,
                            SequenceBlocks& blocks,
                            model::Want want) {
    model::StepPlan plan;
    plan.segments.push_back(
        {.tokens = tokens.subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(count)),
         .first_position = at,
         .blocks = blocks.grow_to(at + count),
         .want = want});
    return model_.forward(plan, cache_);
  }

  model::Model& model_;
  cache::KvCache& cache_;
  const PerplexityOptions& options_;
  std::optional<LogitsFile>& logits_file_;
  Score score_;
};

struct Input {
  std::vector<TokenId> tokens;
  std::optional<TokenId> first_of_window;  // replaces the first token of each window
};

// Text or ids, once: it may be a pipe, and a reference is judged by the same.
Result<std::string> read_content(const PerplexityOptions& options) {
  if (options.file.empty() == options.tokens_file.empty()) {
    return fail(ErrorCode::kInvalidArgument,
                "give either FILE (text) or --tokens-file (token ids)");
  }
  return read_text(options.file.empty() ? options.tokens_file : options.file);
}

// Ids given as such are fed as they are; the model then needs no tokenizer.
Result<Input> input_of(const PerplexityOptions& options,
                       const std::string& content,
                       const tensor::Metadata& metadata,
                       std::int64_t vocab) {
  if (!options.tokens_file.empty()) {
    return Input{TRY(parse_token_ids(content, vocab)), std::nullopt};
  }
  const auto tokenizer = TRY(text::Tokenizer::create(metadata));
  Input input{tokenizer->encode(content), std::nullopt};
  if (tokenizer->adds_bos() && tokenizer->bos() >= 0) {
    input.first_of_window = tokenizer->bos();
  }
  for (const TokenId token : input.tokens) {
    if (token < 0 || token >= vocab) {
      return fail(ErrorCode::kCorrupt, "the tokenizer gives token {}, but the model knows only {}",
                  token, vocab);
    }
  }
  return input;
}

Result<std::int64_t> count_windows(const PerplexityOptions& options,
                                   const model::ModelSpec& spec,
                                   std::int64_t tokens) {
  if (!spec.causal) {
    return fail(ErrorCode::kUnsupported,
                "{} is an embedding model; perplexity needs one that predicts text", options.model);
  }
  TRY_VOID(check_range("--context", options.context, 4, spec.context));
  if (options.all_positions && options.logits_out.empty()) {
    return fail(ErrorCode::kInvalidArgument,
                "--all-positions is about --logits-out, which is not given");
  }
  if (options.chunks == 0 || options.chunks < -1) {
    return fail(ErrorCode::kInvalidArgument,
                "--chunks is {}; give a positive number, or leave it out for the whole text",
                options.chunks);
  }
  const std::int64_t windows = tokens / options.context;
  if (windows == 0) {
    return fail(ErrorCode::kInvalidArgument,
                "the text has {} tokens, fewer than one window of {}; give more text or a smaller "
                "--context",
                tokens, options.context);
  }
  return options.chunks < 0 ? windows : std::min(options.chunks, windows);
}

Result<std::optional<LogitsFile>> open_logits_file(const PerplexityOptions& options,
                                                   std::int64_t windows,
                                                   std::int64_t vocab) {
  if (options.logits_out.empty()) {
    return std::nullopt;
  }
  LogitsFile file = TRY(LogitsFile::create(options.logits_out));
  const std::string header = fmt::format(
      R"({{"format": "edgewise-logits-1", "vocab": {}, "context": {}, "windows": {}, "first_position": {}, "rows_per_window": {}}})"
      "\n",
      vocab, options.context, windows, options.first_written(),
      options.end_written() - options.first_written());
  TRY_VOID(file.write(header.data(), header.size()));
  return file;
}

struct Evaluated {
  Score score;
  std::int64_t windows = 0;
  double seconds = 0.0;
};

// `reference`: the perplexity that the model is judged by.
void print_score(const PerplexityOptions& options,
                 const Evaluated& evaluated,
                 std::optional<double> reference) {
  if (options.logits_out == "-") {
    return;  // standard output carries the logits
  }
  const Score& score = evaluated.score;
  const double kappa = simulate::Scenario{}.accuracy_kappa;
  const double accuracy = schedule::accuracy_of_perplexity(
      score.perplexity(), reference.value_or(score.perplexity()), kappa);
  if (!options.json) {
    write_out("perplexity {:.4f} +/- {:.4f} over {} tokens ({} windows of {})\n",
              score.perplexity(), score.perplexity_error(), score.count, evaluated.windows,
              options.context);
    if (reference) {
      write_out("accuracy {:.4f} = exp(-{:g} x max(0, {:.4f} - {:.4f})), for serve --accuracy\n",
                accuracy, kappa, score.perplexity(), *reference);
    }
    return;
  }
  JsonWriter json;
  json.begin_object();
  json.field("perplexity", score.perplexity());
  json.field("perplexity_error", score.perplexity_error());
  json.field("mean_nll", score.mean());
  if (reference) {
    json.field("reference_perplexity", *reference);
    json.field("accuracy_kappa", kappa);
    json.field("accuracy", accuracy);
  }
  json.field("counted_tokens", score.count);
  json.field("context", options.context);
  json.field("windows", evaluated.windows);
  json.field("oracle", options.oracle);
  json.field("kv_type", options.kv_type);
  json.field("seconds", evaluated.seconds);
  json.end_object();
  json.print_line();
}

Result<Evaluated> evaluate(const PerplexityOptions& options, const std::string& content) {
  const kernels::KvType kv_type = TRY(parse_kv_type(options.kv_type));
  BareModel bare = TRY(load_bare_model(options.model, options.threads, options.oracle));
  const model::ModelSpec& spec = bare.model->spec();
  const Input input = TRY(input_of(options, content, bare.file->metadata(), spec.vocab));
  const std::int64_t windows = TRY(count_windows(options, spec, std::ssize(input.tokens)));
  const auto cache = TRY(create_cache(*bare.model, 1, options.context, kv_type));
  std::optional<LogitsFile> logits_file = TRY(open_logits_file(options, windows, spec.vocab));

  Evaluation evaluation(*bare.model, *cache, options, logits_file);
  ProgressLine progress("evaluating");
  const auto start = std::chrono::steady_clock::now();
  for (std::int64_t window = 0; window < windows; ++window) {
    const auto original = std::span(input.tokens)
                              .subspan(static_cast<std::size_t>(window * options.context),
                                       static_cast<std::size_t>(options.context));
    std::vector<TokenId> fed(original.begin(), original.end());
    fed[0] = input.first_of_window.value_or(fed[0]);
    TRY_VOID(evaluation.add_window(fed, original));
    progress.show_fraction(static_cast<double>(window + 1) / static_cast<double>(windows));
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  progress.clear();
  if (logits_file) {
    TRY_VOID(logits_file->close());
  }
  return Evaluated{evaluation.score(), windows, seconds};
}

std::optional<double> as_number(const std::string& text) {
  double value = 0.0;
  const auto [stopped, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  return ec == std::errc() && stopped == text.data() + text.size() ? std::optional(value)
                                                                   : std::nullopt;
}

Result<std::vector<TokenId>> encode_with(const std::string& model, const std::string& text) {
  const auto file = TRY(open_model_file(model));
  const auto tokenizer = TRY(text::Tokenizer::create(file->metadata()));
  return tokenizer->encode(text);
}

// Perplexities of different tokens say nothing of each other.
Result<void> check_same_tokens(const PerplexityOptions& options, const std::string& content) {
  if (!options.tokens_file.empty()) {
    TRY(resolve_model(options.reference));
    return {};
  }
  if (TRY(encode_with(options.model, content)) == TRY(encode_with(options.reference, content))) {
    return {};
  }
  return fail(ErrorCode::kInvalidArgument,
              "{} and {} read the text as different tokens, so their perplexities cannot be "
              "compared; give the same model, less quantized, as --reference",
              options.model, options.reference);
}

// Before anything is evaluated, which takes minutes.
Result<void> check_reference(const PerplexityOptions& options, const std::string& content) {
  if (options.reference.empty()) {
    return {};
  }
  if (options.logits_out == "-") {
    return fail(ErrorCode::kInvalidArgument,
                "--reference has no place where standard output carries the logits");
  }
  if (const std::optional<double> number = as_number(options.reference)) {
    return *number >= 1.0 && *number <= 1e9
               ? Result<void>{}
               : fail(ErrorCode::kInvalidArgument, "a perplexity of {} cannot be; it is at least 1",
                      *number);
  }
  return check_same_tokens(options, content);
}

// The number that was given, or what that model makes of the same text.
Result<double> reference_perplexity(const PerplexityOptions& options, const std::string& content) {
  if (const std::optional<double> number = as_number(options.reference)) {
    return *number;
  }
  PerplexityOptions reference = options;
  reference.model = options.reference;
  reference.logits_out.clear();
  reference.all_positions = false;
  return TRY(evaluate(reference, content)).score.perplexity();
}

Result<void> perplexity(const PerplexityOptions& options) {
  const std::string content = TRY(read_content(options));
  TRY_VOID(check_reference(options, content));
  const Evaluated evaluated = TRY(evaluate(options, content));
  std::optional<double> reference;
  if (!options.reference.empty()) {
    reference = TRY(reference_perplexity(options, content));
  }
  print_score(options, evaluated, reference);
  return {};
}

}  // namespace

Action define_perplexity(Command& command) {
  auto options = std::make_shared<PerplexityOptions>();
  command.argument("MODEL", options->model, kModelHelp, true);
  command.argument("FILE", options->file, "The text; - is standard input", false);
  command.option("--tokens-file", options->tokens_file,
                 "Token ids, fed as they are (no BOS), instead of a text");
  command.option("-c,--context", options->context, "Tokens of one window (default: 512)");
  command.option("--chunks", options->chunks, "Windows to evaluate (default: all)");
  command.option("-t,--threads", options->threads,
                 "Threads (default: what affinity and cgroup allow)");
  command.option("--kv-type", options->kv_type, kKvTypeHelp);
  command.option("--reference", options->reference,
                 "A perplexity of this text, or the model to take it from (the one that MODEL was "
                 "quantized from): also say the accuracy, 0 to 1");
  command.flag("--oracle", options->oracle, "Run the slow reference model in doubles");
  command.option("--logits-out", options->logits_out,
                 "Write the logits of every counted position to this file (- is standard output)");
  command.flag("--all-positions", options->all_positions,
               "--logits-out gets every position of a window, not only those that count");
  command.flag("--json", options->json, "Print JSON");
  command.notes(R"(
Counted as llama.cpp's perplexity tool counts: every window starts from nothing, and the predictions of
its second half count.

--logits-out writes one line of JSON (vocab, context, windows, rows_per_window), then for each window its
token ids as they were fed (int32) and its rows of logits (f32), all little-endian.

Examples:
  edgewise perplexity smollm2 text.txt --context 512 --chunks 8 --json
  edgewise perplexity smollm2 text.txt --oracle --logits-out oracle.logits
  edgewise perplexity q4.gguf text.txt --reference f16.gguf     then: serve q4.gguf --accuracy ...
)");
  return [options] { return perplexity(*options); };
}

}  // namespace edgewise::app
