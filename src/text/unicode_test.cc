#include "text/unicode.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace edgewise::text {
namespace {

std::string as_valid(std::string_view bytes) {
  std::string out;
  append_as_valid_utf8(bytes, out);
  return out;
}

// The examples of the Unicode standard 15.0, tables 3-8 to 3-11: one U+FFFD per maximal subpart.
TEST(Unicode, MalformedBytesBecomeReplacementCharactersAsTheStandardShows) {
  const std::string r(kReplacementCharacter);
  EXPECT_EQ(as_valid("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"), r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(as_valid("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"), r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(as_valid("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"),
            r + r + r + r + r + "A" + r + r + "B");
  EXPECT_EQ(as_valid("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), r + r + r + r + "A");
}

TEST(Unicode, DecodesTheBordersOfEachLength) {
  for (const std::uint32_t code :
       {0x0u, 0x7Fu, 0x80u, 0x7FFu, 0x800u, 0xD7FFu, 0xE000u, 0xFFFFu, 0x10000u, 0x10FFFFu}) {
    std::string bytes;
    append_code_point(code, bytes);
    const CodePoint decoded = decode_code_point(bytes, 0);
    EXPECT_EQ(decoded.code, code);
    EXPECT_EQ(decoded.length, bytes.size());
    EXPECT_TRUE(is_valid_utf8(bytes));
  }
}

TEST(Unicode, EachInvalidByteStandsAlone) {
  const std::string r(kReplacementCharacter);
  EXPECT_EQ(replace_invalid_bytes("a\xE4\xB8z\xC0\x80"), "a" + r + r + "z" + r + r);
  EXPECT_FALSE(is_valid_utf8("\xED\xA0\x80"));
  EXPECT_FALSE(is_valid_utf8("ok\xF4\x90\x80\x80"));
}

TEST(Unicode, AnOpenCharacterIsOneThatMoreBytesCanComplete) {
  EXPECT_EQ(open_character_bytes(""), 0u);
  EXPECT_EQ(open_character_bytes("a"), 0u);
  EXPECT_EQ(open_character_bytes("a\xE4"), 1u);
  EXPECT_EQ(open_character_bytes("a\xE4\xB8"), 2u);
  EXPECT_EQ(open_character_bytes("a\xE4\xB8\xAD"), 0u);
  EXPECT_EQ(open_character_bytes("\xF0\x9F\x98"), 3u);
  EXPECT_EQ(open_character_bytes("\xC0"), 0u);
  EXPECT_EQ(open_character_bytes("\xED\xA0"), 0u);  // would be a surrogate
  EXPECT_EQ(open_character_bytes("\x80\x80\x80\x80"), 0u);
}

RC_GTEST_PROP(Unicode, WhatWasRepairedIsValid, (const std::string& bytes)) {
  RC_ASSERT(is_valid_utf8(as_valid(bytes)));
  RC_ASSERT(is_valid_utf8(replace_invalid_bytes(bytes)));
  if (is_valid_utf8(bytes)) {
    RC_ASSERT(as_valid(bytes) == bytes);
    RC_ASSERT(replace_invalid_bytes(bytes) == bytes);
  }
}

TEST(Unicode, ClassesOfSomeCharacters) {
  EXPECT_EQ(char_class('a'), CharClass::kLetter);
  EXPECT_EQ(char_class(0xE9), CharClass::kLetter);
  EXPECT_EQ(char_class(0x4E2D), CharClass::kLetter);
  EXPECT_EQ(char_class(0xBD), CharClass::kNumber);
  EXPECT_EQ(char_class(0x661), CharClass::kNumber);
  EXPECT_EQ(char_class(0x301), CharClass::kMark);
  EXPECT_EQ(char_class(0x3000), CharClass::kSpace);
  EXPECT_EQ(char_class(0x85), CharClass::kSpace);
  EXPECT_EQ(char_class(0x180E), CharClass::kOther);
  EXPECT_EQ(char_class(0x1F600), CharClass::kOther);
}

}  // namespace
}  // namespace edgewise::text
