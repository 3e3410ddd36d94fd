#include "text/word_scanner.h"

#include "text/unicode.h"

namespace edgewise::text {
namespace {

// How the patterns differ, as compile-time constants of one scanner.
struct Rules {
  bool any_case;  // contractions in upper case too
  bool
      any_prefix;  // a letter run may take one character other than \r \n (else: one space) with it
  bool newline_tails;  // symbols take following line ends; \s*[\r\n]+ is a word
  bool marks_are_letters;
  int digits;  // of a word: 0 = a whole run after an optional space, else at most this many
  bool isolated_digits;  // digits were cut out before, so that white space before one is at the end
                         // of a piece
};

constexpr Rules kGpt2Rules{false, false, false, false, 0, false};
constexpr Rules kSmolLmRules{false, false, false, false, 1, true};
constexpr Rules kLlama3Rules{true, true, true, false, 3, false};
constexpr Rules kQwen2Rules{true, true, true, false, 1, false};
constexpr Rules kQwen35Rules{true, true, true, true, 1, false};

template <Rules kRules>
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  // The end of the word that begins at `begin` < text.size().
  std::size_t word_end(std::size_t begin) const {
    const Char first = at(begin);
    if (first.code == '\'') {
      if (const std::size_t length = contraction_length(begin + 1); length != 0) {
        return begin + 1 + length;
      }
    }
    const bool takes_prefix = kRules.any_prefix ? first.cls != CharClass::kNumber &&
                                                      first.code != '\r' && first.code != '\n'
                                                : first.code == ' ';
    const Char second = at(first.end);
    if (first.cls == CharClass::kLetter) {
      return run_end(first.end, CharClass::kLetter);
    }
    if (takes_prefix && second.cls == CharClass::kLetter && !second.is_end) {
      return run_end(second.end, CharClass::kLetter);
    }
    if (first.cls == CharClass::kNumber) {
      return kRules.digits == 0 ? run_end(first.end, CharClass::kNumber) : digits_end(first.end);
    }
    if (kRules.digits == 0 && first.code == ' ' && second.cls == CharClass::kNumber &&
        !second.is_end) {
      return run_end(second.end, CharClass::kNumber);
    }
    if (is_symbol(first)) {
      return symbols_end(first.end);
    }
    if (first.code == ' ' && is_symbol(second)) {
      return symbols_end(second.end);
    }
    return space_end(begin);
  }

 private:
  struct Char {
    std::uint32_t code = kInvalidCode;
    CharClass cls = CharClass::kOther;
    std::size_t end = 0;
    bool is_end = false;  // of the text; no character
  };

  Char at(std::size_t position) const {
    if (position >= text_.size()) {
      return {kInvalidCode, CharClass::kOther, text_.size(), true};
    }
    const CodePoint c = decode_code_point(text_, position);
    CharClass cls = char_class(c.code);
    if (cls == CharClass::kMark) {
      cls = kRules.marks_are_letters ? CharClass::kLetter : CharClass::kOther;
    }
    return {c.code, cls, position + c.length, false};
  }

  static bool is_symbol(const Char& c) { return !c.is_end && c.cls == CharClass::kOther; }

  std::size_t run_end(std::size_t position, CharClass cls) const {
    for (Char c = at(position); !c.is_end && c.cls == cls; c = at(position)) {
      position = c.end;
    }
    return position;
  }

  std::size_t digits_end(std::size_t position) const {
    for (int count = 1; count < kRules.digits; ++count) {
      const Char c = at(position);
      if (c.is_end || c.cls != CharClass::kNumber) {
        break;
      }
      position = c.end;
    }
    return position;
  }

  std::size_t symbols_end(std::size_t position) const {
    position = run_end(position, CharClass::kOther);
    while (kRules.newline_tails && position < text_.size() &&
           (text_[position] == '\r' || text_[position] == '\n')) {
      ++position;
    }
    return position;
  }

  // \s*[\r\n]+ | \s+(?!\S) | \s+
  std::size_t space_end(std::size_t begin) const {
    std::size_t end = begin, last = begin, after_newline = 0;
    Char c = at(begin);
    for (; !c.is_end && c.cls == CharClass::kSpace; c = at(end)) {
      last = end;
      end = c.end;
      if (c.code == '\r' || c.code == '\n') {
        after_newline = end;
      }
    }
    if (kRules.newline_tails && after_newline != 0) {
      return after_newline;
    }
    const bool at_piece_end = c.is_end || (kRules.isolated_digits && c.cls == CharClass::kNumber);
    return at_piece_end || last == begin ? end : last;
  }

  // Bytes after the apostrophe of s|t|re|ve|m|ll|d, 0: none. Ignoring case, U+017F (long s) is an
  // s.
  std::size_t contraction_length(std::size_t position) const {
    const char first = folded(position), second = folded(position + 1);
    if (first == 's' || first == 't' || first == 'm' || first == 'd') {
      return 1;
    }
    if ((first == 'r' && second == 'e') || (first == 'v' && second == 'e') ||
        (first == 'l' && second == 'l')) {
      return 2;
    }
    return kRules.any_case && text_.substr(position, 2) == "\xC5\xBF" ? 2 : 0;
  }

  char folded(std::size_t position) const {
    const char c = position < text_.size() ? text_[position] : '\0';
    return kRules.any_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  }

  std::string_view text_;
};

template <Rules kRules>
void scan(std::string_view piece, std::size_t offset, std::vector<std::size_t>& ends) {
  const Scanner<kRules> scanner(piece);
  for (std::size_t position = 0; position < piece.size();) {
    position = scanner.word_end(position);
    ends.push_back(offset + position);
  }
}

bool is_number_at(std::string_view piece, std::size_t position, std::size_t& end) {
  const CodePoint c = decode_code_point(piece, position);
  end = position + c.length;
  return char_class(c.code) == CharClass::kNumber;
}

void scan_digit_triples(std::string_view piece,
                        std::size_t offset,
                        std::vector<std::size_t>& ends) {
  std::vector<std::size_t> digit_ends;
  std::size_t text_end = 0, position = 0, end = 0;
  while (position < piece.size()) {
    digit_ends.clear();
    while (position < piece.size() && is_number_at(piece, position, end)) {
      digit_ends.push_back(end);
      position = end;
    }
    for (std::size_t i = 0; i < digit_ends.size(); ++i) {
      if ((digit_ends.size() - 1 - i) % 3 == 0) {
        ends.push_back(offset + digit_ends[i]);
      }
    }
    text_end = position;
    while (position < piece.size() && !is_number_at(piece, position, end)) {
      position = end;
    }
    if (position > text_end) {
      ends.push_back(offset + position);
    }
  }
}

void scan_newlines(std::string_view piece, std::size_t offset, std::vector<std::size_t>& ends) {
  for (std::size_t position = 0; position < piece.size();) {
    const std::size_t end = piece[position] == '\n' ? piece.find_first_not_of('\n', position)
                                                    : piece.find('\n', position);
    position = end == std::string_view::npos ? piece.size() : end;
    ends.push_back(offset + position);
  }
}

void scan_trailing_space(std::string_view piece,
                         std::size_t offset,
                         std::vector<std::size_t>& ends) {
  std::size_t kept = 0;
  for (std::size_t position = 0; position < piece.size();) {
    const CodePoint c = decode_code_point(piece, position);
    position += c.length;
    kept = is_white_space(c.code) ? kept : position;
  }
  if (kept > 0) {
    ends.push_back(offset + kept);
  }
  if (kept < piece.size()) {
    ends.push_back(offset + piece.size());
  }
}

}  // namespace

void scan_words(WordScanner scanner,
                std::string_view text,
                std::size_t begin,
                std::size_t end,
                std::vector<std::size_t>& ends) {
  const std::string_view piece = text.substr(begin, end - begin);
  switch (scanner) {
    case WordScanner::kGpt2:
      return scan<kGpt2Rules>(piece, begin, ends);
    case WordScanner::kSmolLm:
      return scan<kSmolLmRules>(piece, begin, ends);
    case WordScanner::kLlama3:
      return scan<kLlama3Rules>(piece, begin, ends);
    case WordScanner::kQwen2:
      return scan<kQwen2Rules>(piece, begin, ends);
    case WordScanner::kQwen35:
      return scan<kQwen35Rules>(piece, begin, ends);
    case WordScanner::kDigitTriples:
      return scan_digit_triples(piece, begin, ends);
    case WordScanner::kNewlines:
      return scan_newlines(piece, begin, ends);
    case WordScanner::kTrailingSpace:
      return scan_trailing_space(piece, begin, ends);
    case WordScanner::kNone:
      break;
  }
  if (begin < end) {
    ends.push_back(end);
  }
}

}  // namespace edgewise::text
