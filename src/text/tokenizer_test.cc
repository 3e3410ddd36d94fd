#include "text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <chrono>
#include <limits>

#include "text/random_text.h"
#include "text/stream_decoder.h"
#include "text/unicode.h"

namespace edgewise::text {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Strings = std::vector<std::string>;
using Integers = std::vector<std::int64_t>;

// One character of GPT-2's alphabet per byte, written out independently of the implementation's
// table.
std::string byte_character(int byte) {
  std::string out;
  const bool printable = (byte > 32 && byte < 127) || (byte > 160 && byte != 173);
  if (printable) {
    append_code_point(static_cast<std::uint32_t>(byte), out);
    return out;
  }
  const int index = byte <= 32 ? byte : byte <= 160 ? byte - 127 + 33 : 67;
  append_code_point(static_cast<std::uint32_t>(256 + index), out);
  return out;
}

struct Vocabulary {
  Strings tokens;
  Integers types;

  std::int64_t add(const std::string& text, std::int64_t type = 1) {
    tokens.push_back(text);
    types.push_back(type);
    return std::ssize(tokens) - 1;
  }
};

// All bytes (ids 0 to 255), then "lo" 256, "low" 257, " low" 258 (merged from " " and "low"), "er"
// 259, then specials.
tensor::Metadata byte_level_model() {
  Vocabulary v;
  for (int byte = 0; byte < 256; ++byte) {
    v.add(byte_character(byte));
  }
  for (const char* merged : {"lo", "low", "\xC4\xA0low", "er"}) {
    v.add(merged);
  }
  v.add("<|im_start|>", 3);  // 260
  v.add("<|im_end|>", 3);    // 261
  v.add("<tool>", 4);        // 262
  v.add("<tool><x>", 4);     // 263
  tensor::Metadata metadata;
  metadata.set("tokenizer.ggml.model", std::string("gpt2"));
  metadata.set("tokenizer.ggml.pre", std::string("gpt-2"));
  metadata.set("tokenizer.ggml.tokens", v.tokens);
  metadata.set("tokenizer.ggml.token_type", v.types);
  metadata.set("tokenizer.ggml.merges", Strings{"l o", "lo w", "\xC4\xA0 low", "e r"});
  metadata.set("tokenizer.ggml.bos_token_id", std::uint64_t{260});
  metadata.set("tokenizer.ggml.eos_token_id", std::uint64_t{261});
  return metadata;
}

// <unk> 0, <s> 1, </s> 2, bytes 3 to 258, then pieces by score.
tensor::Metadata sentencepiece_model() {
  Vocabulary v;
  std::vector<float> scores;
  const auto add = [&](const std::string& text, std::int64_t type, float score) {
    v.add(text, type);
    scores.push_back(score);
  };
  add("<unk>", 2, 0);
  add("<s>", 3, 0);
  add("</s>", 3, 0);
  for (int byte = 0; byte < 256; ++byte) {
    add(fmt::format("<0x{:02X}>", byte), 6, 0);
  }
  const char* pieces[] = {"\xE2\x96\x81",
                          "a",
                          "b",
                          "ab",
                          "\xE2\x96\x81"
                          "a",
                          "\xE2\x96\x81"
                          "ab",
                          "ba"};  // 259 to 265
  const float piece_scores[] = {-10, -11, -12, -3, -2, -5, -1};
  for (int i = 0; i < 7; ++i) {
    add(pieces[i], 1, piece_scores[i]);
  }
  tensor::Metadata metadata;
  metadata.set("tokenizer.ggml.model", std::string("llama"));
  metadata.set("tokenizer.ggml.tokens", v.tokens);
  metadata.set("tokenizer.ggml.token_type", v.types);
  metadata.set("tokenizer.ggml.scores", scores);
  return metadata;
}

tensor::Metadata wordpiece_model() {
  tensor::Metadata metadata;
  metadata.set("tokenizer.ggml.model", std::string("bert"));
  metadata.set("tokenizer.ggml.tokens", Strings{"[PAD]", "[UNK]", "[CLS]", "[SEP]",
                                                "\xE2\x96\x81un", "aff", "able", "\xE2\x96\x81,",
                                                "\xE2\x96\x81"
                                                "cafe",
                                                "\xE2\x96\x81\xE4\xB8\xAD"});
  metadata.set("tokenizer.ggml.token_type", Integers{3, 3, 3, 3, 1, 1, 1, 1, 1, 1});
  metadata.set("tokenizer.ggml.bos_token_id", std::uint64_t{2});
  metadata.set("tokenizer.ggml.seperator_token_id", std::uint64_t{3});
  metadata.set("tokenizer.ggml.unknown_token_id", std::uint64_t{1});
  return metadata;
}

std::unique_ptr<const Tokenizer> make(const tensor::Metadata& metadata) {
  auto tokenizer = Tokenizer::create(metadata);
  EXPECT_TRUE(tokenizer) << tokenizer.error().message;
  return tokenizer ? std::move(tokenizer).value() : nullptr;
}

std::string error_of(const tensor::Metadata& metadata) {
  auto tokenizer = Tokenizer::create(metadata);
  return tokenizer ? "" : tokenizer.error().message;
}

constexpr EncodeOptions kPlain{.add_special = false, .parse_special = false};

TEST(BpeTokenizer, MergesByRankWithinWords) {
  const auto tokenizer = make(byte_level_model());
  EXPECT_THAT(tokenizer->encode("low lower", kPlain), ElementsAre(257, 258, 259));
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("low lower", kPlain)), "low lower");
  EXPECT_THAT(tokenizer->encode("", kPlain), ElementsAre());
}

TEST(BpeTokenizer, SpecialTokensAreMatchedAsSpelled) {
  const auto tokenizer = make(byte_level_model());
  EXPECT_THAT(tokenizer->encode("<|im_start|>lo<|im_end|>", {.add_special = false}),
              ElementsAre(260, 256, 261));
  // Text of a user: control tokens are only text, user-defined ones are tokens all the same. The
  // longest wins.
  EXPECT_THAT(tokenizer->encode("lo<tool><x><tool>", kPlain), ElementsAre(256, 263, 262));
  EXPECT_GT(tokenizer->encode("<|im_end|>", kPlain).size(), 3u);
  const std::vector<TokenId> marked =
      tokenizer->encode("<|im_start|>lo<tool>", {.add_special = false});
  EXPECT_EQ(tokenizer->decode(marked), "lo<tool>");
  EXPECT_EQ(tokenizer->decode(marked, true), "<|im_start|>lo<tool>");
}

TEST(BpeTokenizer, RolesOfTokens) {
  tensor::Metadata metadata = byte_level_model();
  const auto tokenizer = make(metadata);
  EXPECT_TRUE(tokenizer->is_end_of_generation(261));
  EXPECT_FALSE(tokenizer->is_end_of_generation(260));
  EXPECT_TRUE(tokenizer->is_control(260));
  EXPECT_FALSE(tokenizer->is_control(262));
  EXPECT_FALSE(tokenizer->is_control(-1));
  EXPECT_FALSE(tokenizer->is_end_of_generation(1 << 30));
  EXPECT_EQ(tokenizer->bos(), 260);
  EXPECT_FALSE(tokenizer->adds_bos());
  metadata.set("tokenizer.ggml.add_bos_token", true);
  metadata.set("tokenizer.ggml.add_eos_token", true);
  EXPECT_THAT(make(metadata)->encode("lo"), ElementsAre(260, 256, 261));
}

TEST(BpeTokenizer, InvalidBytesBecomeReplacementCharacters) {
  const auto tokenizer = make(byte_level_model());
  EXPECT_EQ(tokenizer->encode("lo\xFFw", kPlain), tokenizer->encode("lo\xEF\xBF\xBDw", kPlain));
}

TEST(BpeTokenizer, ValidTextComesBack) {
  const auto tokenizer = make(byte_level_model());
  RandomText random(3);
  for (int i = 0; i < 5000; ++i) {
    const std::string text = random.next();
    ASSERT_EQ(tokenizer->decode(tokenizer->encode(text, kPlain)), text);
  }
}

// The heap for long words and the scan for short ones are two roads to the same tokens.
TEST(BpeTokenizer, LongWordsMergeLikeShortOnes) {
  const auto tokenizer = make(byte_level_model());
  std::string word;
  std::vector<TokenId> expected;
  RandomText random(5);
  while (word.size() < 500) {
    switch (random.below(3)) {
      case 0:
        word += "low";
        expected.push_back(257);
        break;
      case 1:
        word += "er";
        expected.push_back(259);
        break;
      default:
        word += "x";
        expected.push_back('x');
    }
  }
  // ids of single bytes are the bytes
  EXPECT_EQ(tokenizer->encode(word, kPlain), expected);
}

TEST(BpeTokenizer, AMegabyteWithoutSpacesIsFast) {
  const auto tokenizer = make(byte_level_model());
  std::string word;
  while (word.size() < (1 << 20)) {
    word += "lower";
  }
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(tokenizer->encode(word, kPlain).size(), 2 * word.size() / 5);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

TEST(SentencePieceTokenizer, MergesByScoreAndFallsBackToBytes) {
  const auto tokenizer = make(sentencepiece_model());
  // " ab": " a" (-2) beats "ab" (-3); then " ab" is a token.
  EXPECT_THAT(tokenizer->encode("ab"), ElementsAre(1, 264));
  // " bab": "ba" (-1) first, then no union of " " and "ba" exists.
  EXPECT_THAT(tokenizer->encode("bab", kPlain), ElementsAre(259, 265, 261));
  EXPECT_THAT(tokenizer->encode("\xC3\xA9", kPlain), ElementsAre(259, 3 + 0xC3, 3 + 0xA9));
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("\xC3\xA9 ab", kPlain)), "\xC3\xA9 ab");
}

TEST(SentencePieceTokenizer, ASpaceIsAddedAtTheStartAndAfterSpecialTokens) {
  tensor::Metadata metadata = sentencepiece_model();
  EXPECT_THAT(make(metadata)->encode("a<s>a", {.add_special = false}), ElementsAre(263, 1, 263));
  metadata.set("tokenizer.ggml.add_space_prefix", false);
  EXPECT_THAT(make(metadata)->encode("a<s>a", {.add_special = false}), ElementsAre(260, 1, 260));
}

TEST(SentencePieceTokenizer, ValidTextComesBack) {
  const auto tokenizer = make(sentencepiece_model());
  RandomText random(4);
  for (int i = 0; i < 5000; ++i) {
    const std::string text = random.next();
    ASSERT_EQ(tokenizer->decode(tokenizer->encode(text, kPlain)), text);
  }
}

TEST(WordPieceTokenizer, TakesTheLongestPieces) {
  const auto tokenizer = make(wordpiece_model());
  EXPECT_THAT(tokenizer->encode("Unaffable, caf\xC3\xA9!"), ElementsAre(2, 4, 5, 6, 7, 8, 1, 3));
  EXPECT_THAT(tokenizer->encode("un\xE4\xB8\xADxyz", kPlain), ElementsAre(4, 9, 1));
  EXPECT_THAT(tokenizer->encode(std::string("un") + std::string(99, 'a'), kPlain), ElementsAre(1));
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{2, 4, 5, 6, 7, 3}), "unaffable ,");
}

TEST(StreamDecoder, NeverEmitsHalfACharacterAndLosesNothing) {
  for (const auto& metadata : {byte_level_model(), sentencepiece_model()}) {
    const auto tokenizer = make(metadata);
    RandomText random(11);
    for (int i = 0; i < 3000; ++i) {
      std::vector<TokenId> tokens = tokenizer->encode(random.next(), kPlain);
      for (std::uint32_t damage = random.below(3); damage > 0; --damage) {
        tokens.push_back(static_cast<TokenId>(
            random.below(static_cast<std::uint32_t>(tokenizer->vocab_size()))));
      }
      StreamDecoder decoder(*tokenizer);
      std::string streamed;
      for (const TokenId token : tokens) {
        const std::string piece = decoder.push(token);
        ASSERT_TRUE(is_valid_utf8(piece));
        streamed += piece;
      }
      streamed += decoder.finish();
      ASSERT_TRUE(is_valid_utf8(streamed));
      ASSERT_EQ(streamed, tokenizer->decode(tokens));
    }
  }
}

TEST(StreamDecoder, KeepsTheFirstSpaceWhenItContinuesAText) {
  const auto tokenizer = make(sentencepiece_model());
  EXPECT_EQ(StreamDecoder(*tokenizer).push(264), "ab");
  EXPECT_EQ(StreamDecoder(*tokenizer, false, true).push(264), " ab");
}

TEST(StreamDecoder, WaitsForTheRestOfACharacter) {
  const auto tokenizer = make(byte_level_model());
  StreamDecoder decoder(*tokenizer);
  EXPECT_EQ(decoder.push(0xE4), "");
  EXPECT_EQ(decoder.push(0xB8), "");
  EXPECT_EQ(decoder.push(0xAD), "\xE4\xB8\xAD");
  EXPECT_EQ(decoder.push(0xF0), "");
  EXPECT_EQ(decoder.push('a'),
            "\xEF\xBF\xBD"
            "a");
  EXPECT_EQ(decoder.push(0xC3), "");
  EXPECT_EQ(decoder.finish(), "\xEF\xBF\xBD");
}

TEST(Tokenizer, HostileMetadataIsAnError) {
  const auto with = [](tensor::Metadata metadata, std::string key, tensor::MetadataValue value) {
    metadata.set(std::move(key), std::move(value));
    return error_of(metadata);
  };
  const tensor::Metadata bpe = byte_level_model(), spm = sentencepiece_model();
  EXPECT_THAT(error_of({}), HasSubstr("tokenizer.ggml.model"));
  EXPECT_THAT(with(bpe, "tokenizer.ggml.model", std::string("rwkv")), HasSubstr("supported are"));
  EXPECT_THAT(with(bpe, "tokenizer.ggml.model", true), HasSubstr("tokenizer.ggml.model"));
  EXPECT_THAT(with(bpe, "tokenizer.ggml.pre", std::string("?")), HasSubstr("qwen2"));
  EXPECT_THAT(with(bpe, "tokenizer.ggml.tokens", Strings{}), HasSubstr("tokenizer.ggml.tokens"));
  EXPECT_THAT(with(bpe, "tokenizer.ggml.tokens", std::int64_t{3}),
              HasSubstr("tokenizer.ggml.tokens"));
  EXPECT_THAT(with(bpe, "tokenizer.ggml.token_type", Integers{1, 2}), HasSubstr("token_type"));
  EXPECT_THAT(with(bpe, "tokenizer.ggml.merges", Strings{"l o", "zz yy"}), HasSubstr("merges[1]"));
  EXPECT_THAT(with(bpe, "tokenizer.ggml.merges", Strings{"lo"}), HasSubstr("merges[0]"));
  EXPECT_THAT(with(bpe, "tokenizer.ggml.merges", Strings{""}), HasSubstr("merges[0]"));
  EXPECT_THAT(with(bpe, "tokenizer.ggml.merges", false), HasSubstr("merges"));
  EXPECT_THAT(with(bpe, "tokenizer.ggml.bos_token_id", std::uint64_t{264}),
              HasSubstr("bos_token_id"));
  EXPECT_THAT(with(bpe, "tokenizer.ggml.eot_token_id", std::int64_t{-2}),
              HasSubstr("eot_token_id"));
  EXPECT_THAT(with(bpe, "tokenizer.ggml.eos_token_id", std::uint64_t{1} << 63),
              HasSubstr("eos_token_id"));
  EXPECT_THAT(with(spm, "tokenizer.ggml.scores", std::vector<float>{1, 2}), HasSubstr("scores"));
  EXPECT_THAT(with(spm, "tokenizer.ggml.scores", std::string("x")), HasSubstr("scores"));
  std::vector<float> not_numbers(266, std::numeric_limits<float>::quiet_NaN());
  EXPECT_THAT(with(spm, "tokenizer.ggml.scores", not_numbers), HasSubstr("not a number"));
  EXPECT_THAT(with(spm, "tokenizer.ggml.token_type", Integers(266, 6)), HasSubstr("type byte"));
  EXPECT_THAT(with(spm, "tokenizer.ggml.add_bos_token", std::string("yes")),
              HasSubstr("add_bos_token"));
}

TEST(Tokenizer, OddButHarmlessMetadataWorks) {
  tensor::Metadata metadata = byte_level_model();
  metadata.set("tokenizer.ggml.padding_token_id", std::uint64_t{0xFFFFFFFF});
  metadata.set("tokenizer.ggml.bos_token_id",
               std::uint64_t{0xFFFFFFFF});  // how some converters write "none"
  metadata.set("tokenizer.ggml.add_bos_token", true);
  const auto tokenizer = make(metadata);
  EXPECT_EQ(tokenizer->bos(), -1);
  EXPECT_THAT(tokenizer->encode("lo"), ElementsAre(256));

  // Empty and repeated texts, every token of every type.
  metadata.set("tokenizer.ggml.tokens", Strings(264, ""));
  metadata.set("tokenizer.ggml.merges", Strings{});
  EXPECT_THAT(make(metadata)->encode("lo"), ElementsAre());
}

TEST(Tokenizer, KnowsALowerBoundOfTokensWithoutEncoding) {
  tensor::Metadata metadata;
  metadata.set("tokenizer.ggml.model", std::string("gpt2"));
  metadata.set("tokenizer.ggml.tokens", Strings{"a", "b", "ab"});
  metadata.set("tokenizer.ggml.merges", Strings{"a b"});
  const auto tokenizer = Tokenizer::create(metadata).value();
  EXPECT_EQ(tokenizer->encode("ababab").size(), 3U);
  EXPECT_EQ(tokenizer->fewest_tokens("ababab"), 3);
  EXPECT_EQ(tokenizer->fewest_tokens("xxxxxx"), 0);  // no token stands for x: it is left out
  EXPECT_EQ(tokenizer->fewest_tokens("\xff"), 0);
}

RC_GTEST_PROP(Tokenizer,
              RandomVocabulariesNeverCrash,
              (const Strings& tokens, const Strings& merges, const std::string& text)) {
  for (const char* model : {"gpt2", "llama", "bert", "gemma4"}) {
    tensor::Metadata metadata;
    metadata.set("tokenizer.ggml.model", std::string(model));
    metadata.set("tokenizer.ggml.tokens", tokens);
    metadata.set("tokenizer.ggml.merges",
                 std::string(model) == "gpt2" && merges.size() % 2 == 0 ? Strings{} : merges);
    Integers types;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      types.push_back(static_cast<std::int64_t>((tokens[i].size() + i) % 6));
    }
    metadata.set("tokenizer.ggml.token_type", types);
    const auto tokenizer = Tokenizer::create(metadata);
    if (!tokenizer) {
      continue;
    }
    const std::vector<TokenId> encoded = (*tokenizer)->encode(text);
    RC_ASSERT((*tokenizer)->fewest_tokens(text) <= std::ssize(encoded));
    for (const TokenId token : encoded) {
      RC_ASSERT(token >= 0);
      RC_ASSERT(token < (*tokenizer)->vocab_size());
    }
  }
}

}  // namespace
}  // namespace edgewise::text
