#include <algorithm>
#include <atomic>
#include <future>
#include <random>

#include "base/hash.h"
#include "base/mutex.h"
#include "chat/answer_stream.h"
#include "chat/chat_format.h"
#include "chat/draft_loading.h"
#include "chat/generation.h"
#include "chat/prompt_length.h"
#include "platform/cpu.h"
#include "platform/worker_pool.h"

namespace edgewise::chat {
namespace {

// Building the grammar machinery walks the whole vocabulary; most processes never need it.
class LazyGrammars : public sampling::GrammarFactory {
 public:
  explicit LazyGrammars(const text::Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  Result<std::unique_ptr<sampling::GrammarMatcher>> create_matcher(
      const sampling::GrammarSpec& spec, std::string_view owner) const override {
    std::shared_ptr<const sampling::GrammarFactory> factory;
    {
      const MutexLock lock(mutex_);
      if (factory_ == nullptr) {
        factory_ = TRY(sampling::GrammarFactory::create(tokenizer_));
      }
      factory = factory_;
    }
    return factory->create_matcher(spec, owner);
  }

 private:
  const text::Tokenizer& tokenizer_;
  mutable Mutex mutex_;
  mutable std::shared_ptr<const sampling::GrammarFactory> factory_ EDGEWISE_GUARDED_BY(mutex_);
};

// Unique, unguessable-enough numbers for the ids of tool calls: a sequence with a random start.
class IdSource {
 public:
  IdSource() {
    std::random_device device;
    state_ = (std::uint64_t{device()} << 32) | device();
  }

  std::uint64_t next() {
    return split_mix(state_.fetch_add(kSplitMixStep, std::memory_order_relaxed));
  }

 private:
  std::atomic<std::uint64_t> state_;
};

std::vector<TokenId> end_tokens_of(const text::Tokenizer& tokenizer) {
  std::vector<TokenId> ends;
  for (TokenId token = 0; token < tokenizer.vocab_size(); ++token) {
    if (tokenizer.is_end_of_generation(token)) {
      ends.push_back(token);
    }
  }
  return ends;
}

// Not the device: the numbers of some change when they are mounted again.
std::string label_of(const tensor::ModelFile& file) {
  std::string label;
  for (const platform::FileStamp& stamp : file.stamps()) {
    label += fmt::format("file {} {} {} {}\n", stamp.inode, stamp.size, stamp.modified_ns,
                         stamp.changed_ns);
  }
  return label;
}

Result<void> check_stops(const std::vector<std::string>& stops) {
  if (stops.size() > kMostStopStrings) {
    return fail(ErrorCode::kInvalidArgument,
                "{} stop strings were given, but at most {} are allowed", stops.size(),
                kMostStopStrings);
  }
  if (std::any_of(stops.begin(), stops.end(),
                  [](const std::string& stop) { return stop.empty(); })) {
    return fail(ErrorCode::kInvalidArgument, "a stop string is empty");
  }
  return {};
}

engine::Request engine_request(const text::Tokenizer& tokenizer,
                               std::vector<TokenId> prompt,
                               GenerationOptions options,
                               AnswerSetup answer,
                               Sink sink) {
  answer.stop = std::move(options.stop);
  answer.logprobs = options.sampling.top_logprobs >= 0;
  engine::Request request;
  request.prompt = std::move(prompt);
  request.sampling = std::move(options.sampling);
  request.max_tokens = options.max_tokens;
  request.min_tokens = options.min_tokens;
  request.ignore_eos = options.ignore_eos;
  request.tenant = std::move(options.tenant);
  request.label = std::move(options.label);
  request.deadline = options.deadline;
  request.first_token_deadline = options.first_token_deadline;
  request.delivery = options.delivery;
  request.priority = options.priority;
  request.share = options.share;
  request.approximate_reuse = options.approximate_reuse;
  request.speculate = options.speculate;
  auto stream = std::make_shared<AnswerStream>(tokenizer, std::move(answer), std::move(sink));
  request.on_event = [stream](engine::Event event) { return stream->on_event(std::move(event)); };
  return request;
}

}  // namespace

// In order of need: what is below uses what is above, and goes first. The engine's thread ends
// before the rest.
struct Generator::State {
  std::shared_ptr<const tensor::ModelFile> file;
  std::unique_ptr<const text::Tokenizer> tokenizer;
  std::unique_ptr<const ChatFormat> format;
  std::shared_ptr<platform::WorkerPool> pool;
  std::unique_ptr<kernels::Ops> ops;
  std::shared_ptr<const sampling::GrammarFactory> grammars;
  std::string name;
  IdSource ids;
  std::unique_ptr<engine::Engine> engine;

  Result<void> load_texts(const std::string& chat_template) {
    tokenizer = TRY(text::Tokenizer::create(file->metadata()));
    format = TRY(ChatFormat::create(file->metadata(), *tokenizer, chat_template));
    return {};
  }
};

Generator::Generator() : state_(std::make_unique<State>()) {}

Generator::~Generator() = default;

Result<std::unique_ptr<Generator>> Generator::load(const std::filesystem::path& path,
                                                   LoadedModelOptions options) {
  std::unique_ptr<Generator> generator(new Generator());
  State& state = *generator->state_;
  const auto file = std::make_shared<tensor::ModelFile>(TRY(tensor::ModelFile::open(path)));
  state.file = file;
  state.name = TRY(file->metadata().string("general.name")).value_or(path.stem().string());
  // Beside the weights: a large vocabulary takes as long as mapping them.
  auto texts =
      std::async(std::launch::async, [&] { return state.load_texts(options.chat_template); });

  const kernels::KernelTable* table = TRY(kernels::select_table());
  state.pool = options.pool != nullptr
                   ? std::move(options.pool)
                   : std::make_shared<platform::WorkerPool>(
                         options.threads > 0 ? options.threads : platform::usable_cpus());
  state.ops = std::make_unique<kernels::Ops>(*state.pool, *table);
  model::LoadOptions load_options;
  load_options.oracle = options.oracle;
  load_options.context = options.engine.context;
  load_options.packed_folder = std::move(options.packed_folder);
  load_options.shortlist = options.shortlist;
  load_options.on_progress = options.on_progress;
  auto model = TRY(model::Model::load(state.file, *state.ops, std::move(load_options)));
  TRY_VOID(texts.get());
  file->drop_metadata_arrays();
  std::unique_ptr<model::Model> draft;
  if (!options.draft.empty()) {
    draft = TRY(load_draft_model(options.draft, *state.tokenizer, model->spec(), *state.ops,
                                 {.context = options.engine.context,
                                  .packed_folder = std::move(options.draft_packed_folder),
                                  .on_progress = options.on_progress}));
  }

  options.engine.disk.model_label = label_of(*state.file);
  state.grammars = std::make_shared<LazyGrammars>(*state.tokenizer);
  state.engine = TRY(engine::Engine::create(std::move(model), end_tokens_of(*state.tokenizer),
                                            state.grammars, options.engine, std::move(draft)));
  return generator;
}

Result<std::string> Generator::render_chat(const ChatInput& input) const {
  return state_->format->render(input);
}

Result<RequestId> Generator::start_chat(const ChatInput& input,
                                        GenerationOptions options,
                                        Sink sink) {
  TRY_VOID(check_stops(options.stop));
  State& state = *state_;
  PreparedChat chat = TRY(state.format->prepare(input, options, state.engine->context(),
                                                [&state] { return state.ids.next(); }));
  options.sampling.grammar = std::move(chat.grammar);
  return state.engine->submit(engine_request(*state.tokenizer, std::move(chat.prompt),
                                             std::move(options), std::move(chat.answer),
                                             std::move(sink)));
}

Result<std::vector<TokenId>> Generator::chat_prompt(const ChatInput& input,
                                                    const GenerationOptions& options) const {
  PreparedChat chat = TRY(state_->format->prepare(input, options, state_->engine->context(),
                                                  [] { return std::uint64_t{0}; }));
  return std::move(chat.prompt);
}

Result<RequestId> Generator::start_completion(std::vector<TokenId> prompt,
                                              GenerationOptions options,
                                              Sink sink) {
  TRY_VOID(check_stops(options.stop));
  AnswerSetup answer;
  answer.continues_text = true;
  return state_->engine->submit(engine_request(*state_->tokenizer, std::move(prompt),
                                               std::move(options), std::move(answer),
                                               std::move(sink)));
}

Result<RequestId> Generator::start_embedding(
    std::vector<TokenId> tokens,
    std::function<void(Result<std::vector<float>>, engine::Usage)> done) {
  engine::Request request;
  request.prompt = std::move(tokens);
  request.embedding = true;
  request.on_event = [done = std::move(done)](engine::Event event) {
    if (event.finish == engine::FinishReason::kEnd) {
      done(std::move(event.embedding), event.usage);
    } else if (event.finish.has_value()) {
      const Error cancelled{ErrorCode::kCancelled, "the request was cancelled"};
      done(tl::unexpected<Error>(event.error.value_or(cancelled)), event.usage);
    }
    return engine::Reply::kGoOn;
  };
  return state_->engine->submit(std::move(request));
}

void Generator::cancel(RequestId id) {
  state_->engine->cancel(id);
}

Result<std::vector<TokenId>> Generator::encode(std::string_view text) const {
  TRY_VOID(check_prompt_length(*state_->tokenizer, text, state_->engine->context()));
  return state_->tokenizer->encode(text);
}

const text::Tokenizer& Generator::tokenizer() const {
  return *state_->tokenizer;
}

const engine::Engine& Generator::engine() const {
  return *state_->engine;
}

const tensor::Metadata& Generator::metadata() const {
  return state_->file->metadata();
}

bool Generator::has_chat_template() const {
  return state_->format->has_template();
}

bool Generator::is_embedding_model() const {
  return !state_->engine->spec().causal;
}

std::string Generator::model_name() const {
  return state_->name;
}

}  // namespace edgewise::chat
