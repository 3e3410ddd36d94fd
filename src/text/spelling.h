// How a vocabulary file spells the bytes of a token as readable text.
#pragma once

#include <string>
#include <string_view>

namespace edgewise::text {

enum class Spelling {
  kByteCharacters,  // GPT-2: one printable character per byte
  kSpaceMarks,      // SentencePiece: U+2581 is a space
};

inline constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581

// Appends the bytes that `text` spells. False, and nothing appended: no ordinary text is spelled
// like that.
bool append_spelled(Spelling spelling, std::string_view text, std::string& out);

// `text` with each space mark replaced by a space.
void append_without_space_marks(std::string_view text, std::string& out);

}  // namespace edgewise::text
