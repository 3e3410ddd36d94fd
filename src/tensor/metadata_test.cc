#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "tensor/model_file.h"

namespace edgewise::tensor {
namespace {

using testing::HasSubstr;

TEST(Metadata, AMissingKeyIsNotAnError) {
  const Metadata metadata;
  EXPECT_EQ(metadata.find("a"), nullptr);
  EXPECT_EQ(metadata.integer("a").value(), std::nullopt);
  EXPECT_EQ(metadata.number("a").value(), std::nullopt);
  EXPECT_EQ(metadata.boolean("a").value(), std::nullopt);
  EXPECT_EQ(metadata.string("a").value(), std::nullopt);
  EXPECT_EQ(metadata.strings("a"), nullptr);
}

TEST(Metadata, IntegersOfEitherSignFitOrAreRefused) {
  Metadata metadata;
  metadata.set("signed", std::int64_t{-5});
  metadata.set("unsigned", std::uint64_t{5});
  metadata.set("huge", std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(metadata.integer("signed").value(), -5);
  EXPECT_EQ(metadata.integer("unsigned").value(), 5);
  EXPECT_FALSE(metadata.integer("huge").has_value());
  EXPECT_EQ(metadata.number("signed").value(), -5.0);
}

TEST(Metadata, DropsArraysAlone) {
  Metadata metadata;
  metadata.set("texts", TextList{"a"});
  metadata.set("numbers", std::vector<std::int64_t>{1});
  metadata.set("reals", std::vector<float>{1.0F});
  metadata.set("text", std::string("a"));
  metadata.set("number", std::int64_t{1});
  metadata.drop_arrays();
  EXPECT_EQ(metadata.all().size(), 2U);
  EXPECT_EQ(metadata.string("text").value(), "a");
  EXPECT_EQ(metadata.integer("number").value(), 1);
}

TEST(Metadata, AnotherTypeIsAnErrorThatNamesTheKey) {
  Metadata metadata;
  metadata.set("text", std::string("5"));
  metadata.set("real", 5.0);
  metadata.set("flag", true);
  EXPECT_THAT(metadata.integer("text").error().message, HasSubstr("text"));
  EXPECT_FALSE(metadata.integer("real").has_value());
  EXPECT_FALSE(metadata.integer("flag").has_value());
  EXPECT_FALSE(metadata.number("text").has_value());
  EXPECT_FALSE(metadata.boolean("real").has_value());
  EXPECT_FALSE(metadata.string("flag").has_value());
  EXPECT_EQ(metadata.strings("text"), nullptr);
  EXPECT_EQ(metadata.floats("real"), nullptr);
  EXPECT_EQ(metadata.integers("real"), nullptr);
}

}  // namespace
}  // namespace edgewise::tensor
