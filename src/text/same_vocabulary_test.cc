#include "text/same_vocabulary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace edgewise::text {
namespace {

using testing::HasSubstr;

// Bytes are tokens, with what else is given. The last one ends answers.
std::unique_ptr<const Tokenizer> tokenizer(std::vector<std::string> more,
                                           std::int64_t kind_of_more = 1) {
  std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
  std::vector<std::int64_t> types = {2, 3, 3};
  for (int byte = 0; byte < 256; ++byte) {
    tokens.push_back(fmt::format("<0x{:02X}>", byte));
    types.push_back(6);
  }
  for (std::string& token : more) {
    tokens.push_back(std::move(token));
    types.push_back(kind_of_more);
  }
  tensor::Metadata metadata;
  metadata.set("tokenizer.ggml.model", std::string("llama"));
  metadata.set("tokenizer.ggml.tokens", tokens);
  metadata.set("tokenizer.ggml.scores", std::vector<float>(tokens.size(), 0.0F));
  metadata.set("tokenizer.ggml.token_type", types);
  return std::move(*Tokenizer::create(metadata));
}

TEST(SameVocabulary, EqualOnesAreTheSame) {
  EXPECT_TRUE(check_same_vocabulary(*tokenizer({"a", "b"}), *tokenizer({"a", "b"})));
}

TEST(SameVocabulary, NamesTheFirstTokenThatDiffers) {
  const auto checked =
      check_same_vocabulary(*tokenizer({"a", "b", "c"}), *tokenizer({"a", "x", "y"}));
  ASSERT_FALSE(checked.has_value());
  EXPECT_EQ(checked.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(checked.error().message,
              HasSubstr("token 260 is \"b\" in one and \"x\" in the other"));
}

TEST(SameVocabulary, TellsRolesApart) {
  const auto checked = check_same_vocabulary(*tokenizer({"a"}), *tokenizer({"a"}, 3));
  ASSERT_FALSE(checked.has_value());
  EXPECT_THAT(checked.error().message, HasSubstr("a control token"));
  EXPECT_FALSE(check_same_vocabulary(*tokenizer({"<|im_end|>"}), *tokenizer({"<|im_start|>"})));
}

TEST(SameVocabulary, PaddingIsAllowedAndMoreIsNot) {
  std::vector<std::string> padding;
  for (std::int64_t i = 0; i < kMostPadding; ++i) {
    padding.push_back(fmt::format("[PAD{}]", i));
  }
  EXPECT_TRUE(check_same_vocabulary(*tokenizer({}), *tokenizer(padding)));
  EXPECT_TRUE(check_same_vocabulary(*tokenizer(padding), *tokenizer({})));
  padding.emplace_back("one more");
  const auto checked = check_same_vocabulary(*tokenizer({}), *tokenizer(padding));
  ASSERT_FALSE(checked.has_value());
  EXPECT_THAT(checked.error().message, HasSubstr("259 tokens"));
}

}  // namespace
}  // namespace edgewise::text
