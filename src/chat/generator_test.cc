#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <condition_variable>
#include <future>
#include <mutex>

#include "chat/generation.h"
#include "chat/tiny_model.h"

namespace edgewise::chat {
namespace {

// One answer, folded; any thread may wait for its end.
class Reader {
 public:
  Sink sink(std::int64_t leave_after = -1) {
    return {[this, leave_after](const Delta& delta) {
              const std::lock_guard lock(mutex_);
              content += delta.content;
              for (const ToolCallDelta& call : delta.tool_calls) {
                if (!call.name.empty()) {
                  names.push_back(call.name);
                  ids.push_back(call.id);
                  arguments.emplace_back();
                }
                arguments.back() += call.arguments;
              }
              return leave_after < 0 || ++deltas_ < leave_after;
            },
            [this](const Outcome& o) {
              const std::lock_guard lock(mutex_);
              outcome = o;
              done_.notify_all();
            }};
  }

  const Outcome& wait() {
    std::unique_lock lock(mutex_);
    done_.wait(lock, [this] { return outcome.has_value(); });
    return *outcome;
  }

  std::string content;
  std::vector<std::string> names, ids, arguments;
  std::optional<Outcome> outcome;

 private:
  std::mutex mutex_;
  std::condition_variable done_;
  std::int64_t deltas_ = 0;
};

std::unique_ptr<Generator> load(const std::filesystem::path& path,
                                LoadedModelOptions options = {}) {
  options.threads = 1;
  if (options.engine.kv_budget_bytes == 0) {
    options.engine.kv_budget_bytes = 8 << 20;
  }
  auto generator = Generator::load(path, std::move(options));
  EXPECT_TRUE(generator.has_value()) << generator.error().message;
  return std::move(*generator);
}

ChatInput user_says(const std::string& text) {
  ChatInput input;
  input.messages_json =
      boost::json::serialize(boost::json::array{{{"role", "user"}, {"content", text}}});
  return input;
}

GenerationOptions with_seed(std::uint64_t seed, std::int64_t max_tokens = 40) {
  GenerationOptions options;
  options.sampling.seed = seed;
  options.max_tokens = max_tokens;
  return options;
}

constexpr std::string_view kTools = R"([
  {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object",
    "properties": {"city": {"$ref": "#/$defs/name"}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["city", "days"], "additionalProperties": false,
    "$defs": {"name": {"type": "string", "enum": ["Rome", "Oslo"]}}}}},
  {"type": "function", "function": {"name": "stop_all"}}])";

std::string refusal(const Result<RequestId>& id) {
  return id ? "accepted" : id.error().message;
}

TEST(Generator, SameSeedSameTextAloneBesideOthersAndFromCache) {
  const TinyModelFile file;
  std::vector<std::string> alone(4);
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    auto generator = load(file.path());
    Reader reader;
    ASSERT_TRUE(generator->start_chat(user_says("Hello there"), with_seed(seed), reader.sink())
                    .has_value());
    reader.wait();
    alone[seed] = reader.content;
  }
  EXPECT_NE(alone[0], alone[1]);
  auto generator = load(file.path());
  for (int round = 0; round < 2; ++round) {
    std::vector<Reader> readers(8);
    for (std::uint64_t i = 0; i < 8; ++i) {
      ASSERT_TRUE(
          generator->start_chat(user_says("Hello there"), with_seed(i % 4), readers[i].sink())
              .has_value());
    }
    for (std::uint64_t i = 0; i < 8; ++i) {
      const Outcome& outcome = readers[i].wait();
      EXPECT_EQ(readers[i].content, alone[i % 4]);
      if (round == 1) {
        EXPECT_EQ(outcome.usage.cached_tokens, outcome.usage.prompt_tokens - 1);
      }
    }
  }
}

TEST(Generator, WritesOneBosHoweverTheTemplateDoesIt) {
  for (const std::string_view source :
       {std::string_view("{{ bos_token }}hi"), std::string_view("hi")}) {
    const TinyModelFile file(source);
    auto generator = load(file.path());
    Reader reader;
    ASSERT_TRUE(generator->start_chat(user_says("x"), with_seed(1, 1), reader.sink()).has_value());
    EXPECT_EQ(reader.wait().usage.prompt_tokens, 3);
  }
}

TEST(Generator, ForcesACallOfATool) {
  const TinyModelFile file;
  auto generator = load(file.path());
  for (std::uint64_t seed = 0; seed < 12; ++seed) {
    ChatInput input = user_says("What is the weather?");
    input.tools_json = kTools;
    input.tool_choice = seed % 2 == 0 ? "required" : "get_weather";
    input.parallel_tool_calls = false;
    Reader reader;
    const auto id = generator->start_chat(input, with_seed(seed, 400), reader.sink());
    ASSERT_TRUE(id.has_value()) << id.error().message;
    const Outcome& outcome = reader.wait();
    ASSERT_EQ(outcome.finish, Finish::kToolCalls)
        << reader.content << (outcome.error ? outcome.error->message : "");
    ASSERT_EQ(reader.names.size(), 1U);
    EXPECT_TRUE(reader.ids[0].starts_with("call_"));
    EXPECT_EQ(reader.content, "");
    boost::system::error_code error;
    const auto arguments = boost::json::parse(reader.arguments[0], error);
    ASSERT_FALSE(error) << reader.arguments[0];
    if (reader.names[0] == "get_weather") {
      const auto& city = arguments.at("city").as_string();
      EXPECT_TRUE(city == "Rome" || city == "Oslo");
      EXPECT_TRUE(arguments.at("days").as_int64() >= 1 && arguments.at("days").as_int64() <= 9);
    } else {
      EXPECT_EQ(reader.names[0], "stop_all");
      EXPECT_EQ(seed % 2, 0U);
    }
  }
}

TEST(Generator, AnswersInAFormatOrCallsATool) {
  const TinyModelFile file;
  auto generator = load(file.path());
  int answers = 0;
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    ChatInput input = user_says("What is the weather?");
    input.tools_json = kTools;
    GenerationOptions options = with_seed(seed, 400);
    options.sampling.grammar = {
        sampling::GrammarSpec::Kind::kJsonSchema,
        R"({"type":"object","properties":{"ok":{"type":"boolean"}},"required":["ok"],"additionalProperties":false})"};
    Reader reader;
    const auto id = generator->start_chat(input, options, reader.sink());
    ASSERT_TRUE(id.has_value()) << id.error().message;
    const Outcome& outcome = reader.wait();
    if (outcome.finish == Finish::kStop) {
      ++answers;
      EXPECT_TRUE(boost::json::parse(reader.content).at("ok").is_bool()) << reader.content;
    }
  }
  EXPECT_GT(answers, 0);
}

TEST(Generator, RefusesWithAReason) {
  const TinyModelFile file;
  auto generator = load(file.path());
  Reader none;
  ChatInput input = user_says("x");
  input.tool_choice = "required";
  EXPECT_NE(refusal(generator->start_chat(input, {}, none.sink())).find("no tools"),
            std::string::npos);
  input.tools_json = kTools;
  input.tool_choice = "fly";
  EXPECT_NE(refusal(generator->start_chat(input, {}, none.sink())).find("\"fly\""),
            std::string::npos);
  GenerationOptions many;
  many.stop.assign(17, "x");
  EXPECT_NE(refusal(generator->start_chat(user_says("x"), many, none.sink())).find("16"),
            std::string::npos);
  many.stop = {""};
  EXPECT_NE(refusal(generator->start_chat(user_says("x"), many, none.sink())).find("empty"),
            std::string::npos);
  ChatInput broken;
  broken.messages_json = "[]";
  EXPECT_NE(refusal(generator->start_chat(broken, {}, none.sink())).find("at least one message"),
            std::string::npos);
  const auto too_long =
      refusal(generator->start_chat(user_says(std::string(2000, 'a')), {}, none.sink()));
  EXPECT_NE(too_long.find("1024"), std::string::npos) << too_long;
  const auto embedding =
      generator->start_embedding({5}, [](const Result<std::vector<float>>&, engine::Usage) {});
  EXPECT_NE(refusal(embedding).find("pooling"), std::string::npos);
}

TEST(Generator, ATemplateThatIsMissingOrBrokenIsSaidSo) {
  Reader none;
  {
    const TinyModelFile file("");
    auto generator = load(file.path());
    EXPECT_FALSE(generator->has_chat_template());
    EXPECT_NE(
        refusal(generator->start_chat(user_says("x"), {}, none.sink())).find("no chat template"),
        std::string::npos);
  }
  {
    const TinyModelFile file("{% for %}");
    auto generator = load(file.path());
    EXPECT_NE(refusal(generator->start_chat(user_says("x"), {}, none.sink())).find("chat template"),
              std::string::npos);
    Reader reader;
    ASSERT_TRUE(generator->start_completion({5, 6}, with_seed(1, 2), reader.sink()).has_value());
    EXPECT_EQ(reader.wait().usage.completion_tokens, 2);
  }
  {
    const TinyModelFile file("{{ raise_exception('only users please') }}");
    auto generator = load(file.path());
    EXPECT_NE(
        refusal(generator->start_chat(user_says("x"), {}, none.sink())).find("only users please"),
        std::string::npos);
  }
  const TinyModelFile file;
  LoadedModelOptions options;
  options.chat_template = "{% if %}";
  EXPECT_FALSE(Generator::load(file.path(), options).has_value());
}

TEST(Generator, EndsWhenTheReaderLeavesOrCancels) {
  const TinyModelFile file;
  auto generator = load(file.path());
  GenerationOptions endless = with_seed(3, -1);
  endless.ignore_eos = true;
  Reader leaves;
  ASSERT_TRUE(generator->start_chat(user_says("x"), endless, leaves.sink(3)).has_value());
  EXPECT_EQ(leaves.wait().finish, Finish::kCancelled);
  Reader cancelled;
  const auto id = generator->start_chat(user_says("x"), endless, cancelled.sink());
  generator->cancel(*id);
  const Finish finish = cancelled.wait().finish;
  EXPECT_TRUE(finish == Finish::kCancelled || finish == Finish::kLength);
}

TEST(Generator, GoesAwayWithWorkInHand) {
  const TinyModelFile file;
  std::vector<Reader> readers(6);
  {
    auto generator = load(file.path());
    GenerationOptions endless = with_seed(3, -1);
    endless.ignore_eos = true;
    for (Reader& reader : readers) {
      ASSERT_TRUE(generator->start_chat(user_says("x"), endless, reader.sink()).has_value());
    }
  }
  for (Reader& reader : readers) {
    EXPECT_TRUE(reader.outcome.has_value());
  }
}

TEST(Generator, EmbedsWithAnEncoder) {
  const TinyEncoderFile file(std::filesystem::path(EDGEWISE_SOURCE_DIR) /
                             "tests/golden/tiny_models/bert_mean.gguf");
  auto generator = load(file.path());
  EXPECT_TRUE(generator->is_embedding_model());
  std::promise<std::vector<float>> promise;
  const std::vector<TokenId> tokens = generator->tokenizer().encode("a b c");
  const auto id = generator->start_embedding(
      tokens, [&](const Result<std::vector<float>>& embedding, engine::Usage usage) {
        EXPECT_EQ(usage.prompt_tokens, 5);  // [CLS] and [SEP] around
        promise.set_value(embedding.value_or(std::vector<float>{}));
      });
  ASSERT_TRUE(id.has_value()) << id.error().message;
  double norm = 0.0;
  for (const float x : promise.get_future().get()) {
    norm += static_cast<double>(x) * static_cast<double>(x);
  }
  EXPECT_NEAR(norm, 1.0, 1e-4);
  Reader none;
  EXPECT_NE(refusal(generator->start_completion({5}, {}, none.sink())).find("embeddings"),
            std::string::npos);
}

// The same model as its own draft model: a file, a tokenizer, weights and a cache of its own.
TEST(Generator, ADraftModelChangesNoText) {
  const TinyModelFile file;
  LoadedModelOptions with_draft;
  with_draft.draft = file.path();
  for (const float temperature : {0.0F, 1.0F}) {
    std::vector<std::string> texts;
    for (const LoadedModelOptions& options : {LoadedModelOptions{}, with_draft}) {
      auto generator = load(file.path(), options);
      std::vector<Reader> readers(3);
      for (std::size_t i = 0; i < readers.size(); ++i) {
        GenerationOptions generation = with_seed(i, 200);
        generation.sampling.temperature = temperature;
        generation.ignore_eos = true;
        ASSERT_TRUE(
            generator->start_chat(user_says("x"), generation, readers[i].sink()).has_value());
      }
      std::string all;
      for (Reader& reader : readers) {
        EXPECT_EQ(reader.wait().usage.completion_tokens, 200);
        all += reader.content + "|";
      }
      texts.push_back(all);
      EXPECT_EQ(generator->engine().stats().draft_kv_blocks_total > 0, !options.draft.empty());
    }
    EXPECT_EQ(texts[0], texts[1]);
  }
}

TEST(Generator, EmbeddingModelsAndDraftModelsDoNotGoTogether) {
  const TinyModelFile decoder;
  const TinyEncoderFile encoder(std::filesystem::path(EDGEWISE_SOURCE_DIR) /
                                "tests/golden/tiny_models/bert_mean.gguf");
  LoadedModelOptions options;
  options.draft = decoder.path();
  const auto embedding = Generator::load(encoder.path(), options);
  ASSERT_FALSE(embedding.has_value());
  EXPECT_NE(embedding.error().message.find("nothing to guess"), std::string::npos);
  options.draft = encoder.path();
  const auto drafted = Generator::load(decoder.path(), options);
  ASSERT_FALSE(drafted.has_value());
  EXPECT_NE(drafted.error().message.find("vocabularies differ"), std::string::npos);
}

}  // namespace
}  // namespace edgewise::chat
