#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/pre_tokenizer.h"

#include <pcre2.h>

#include "base/check.h"
#include "text/split_patterns.h"
#include "text/unicode.h"
#include "text/word_scanner.h"

namespace edgewise::text {
namespace {

// The White_Space property. PCRE2's own \s has U+180E in it, which Unicode took out in 6.3.
constexpr std::string_view kWhiteSpaceRanges =
    R"(\x{9}-\x{D}\x{20}\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";

std::string expand_parts(std::string_view pattern) {
  std::string out(pattern);
  for (const PatternPart& part : all_pattern_parts()) {
    for (std::size_t at = out.find(part.name); at != std::string::npos;
         at = out.find(part.name, at + part.pattern.size())) {
      out.replace(at, part.name.size(), part.pattern);
    }
  }
  return out;
}

std::string expand_space_class(std::string_view pattern) {
  std::string out;
  bool in_class = false;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      const char escaped = pattern[++i];
      if (escaped == 's' || escaped == 'S') {
        CHECK(!in_class || escaped == 's', "\\S inside a class is not expanded");
        out += in_class ? std::string(kWhiteSpaceRanges)
                        : fmt::format("[{}{}]", escaped == 'S' ? "^" : "", kWhiteSpaceRanges);
      } else {
        out += {c, escaped};
      }
      continue;
    }
    in_class = c == '[' ? true : c == ']' ? false : in_class;
    out.push_back(c);
  }
  return out;
}

struct CodeDeleter {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};

struct MatchDeleter {
  void operator()(pcre2_match_data* match) const { pcre2_match_data_free(match); }
};

struct ContextDeleter {
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};

struct StackDeleter {
  void operator()(pcre2_jit_stack* stack) const { pcre2_jit_stack_free(stack); }
};

// What matching needs besides the pattern; one per call of split().
class Matcher {
 public:
  Matcher()
      : match_(pcre2_match_data_create(1, nullptr)), context_(pcre2_match_context_create(nullptr)) {
    CHECK(match_ != nullptr && context_ != nullptr, "out of memory");
    pcre2_set_heap_limit(context_.get(), kMostHeapKib);
  }

  struct Span {
    std::size_t begin;
    std::size_t end;  // == begin: no match
  };

  Span find(const pcre2_code* code, std::string_view text, std::size_t from) {
    int found = match(code, text, from, 0);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT && stack_ == nullptr) {
      // The 32 KiB on the machine's stack are enough for all but words of thousands of characters.
      stack_.reset(pcre2_jit_stack_create(kFirstStack, kMostStack, nullptr));
      pcre2_jit_stack_assign(context_.get(), nullptr, stack_.get());
      found = match(code, text, from, 0);
    }
    if (found == PCRE2_ERROR_JIT_STACKLIMIT) {
      found = match(code, text, from, PCRE2_NO_JIT);
    }
    if (found < 0) {
      return {from, from};  // none, or a limit
    }
    const std::size_t* span = pcre2_get_ovector_pointer(match_.get());
    return {span[0], span[1]};
  }

 private:
  static constexpr std::size_t kFirstStack = 64 << 10;
  static constexpr std::size_t kMostStack = 32 << 20;      // about a word of a million characters
  static constexpr std::uint32_t kMostHeapKib = 64 << 10;  // PCRE2's own limit is 20 GB

  int match(const pcre2_code* code,
            std::string_view text,
            std::size_t from,
            std::uint32_t options) {
    return pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                       options | PCRE2_NO_UTF_CHECK, match_.get(), context_.get());
  }

  std::unique_ptr<pcre2_match_data, MatchDeleter> match_;
  std::unique_ptr<pcre2_match_context, ContextDeleter> context_;
  std::unique_ptr<pcre2_jit_stack, StackDeleter> stack_;
};

}  // namespace

struct PreTokenizer::Stage {
  WordScanner scanner = WordScanner::kNone;
  std::unique_ptr<pcre2_code, CodeDeleter> code;  // null: scanner only

  // Appends the ends of the pieces of text[begin, end).
  void split(std::string_view text,
             std::size_t begin,
             std::size_t end,
             Matcher& matcher,
             std::vector<std::size_t>& ends) const;
};

void PreTokenizer::Stage::split(std::string_view text,
                                std::size_t begin,
                                std::size_t end,
                                Matcher& matcher,
                                std::vector<std::size_t>& ends) const {
  if (code == nullptr) {
    scan_words(scanner, text, begin, end, ends);
    return;
  }
  const std::string_view piece = text.substr(begin, end - begin);
  std::size_t done = 0;
  while (done < piece.size()) {
    const Matcher::Span span = matcher.find(code.get(), piece, done);
    if (span.end <= span.begin) {
      break;  // no further match: the rest is one piece
    }
    if (span.begin > done) {
      ends.push_back(begin + span.begin);
    }
    ends.push_back(begin + span.end);
    done = span.end;
  }
  if (done < piece.size()) {
    ends.push_back(end);
  }
}

PreTokenizer::PreTokenizer() = default;
PreTokenizer::PreTokenizer(PreTokenizer&&) noexcept = default;
PreTokenizer& PreTokenizer::operator=(PreTokenizer&&) noexcept = default;
PreTokenizer::~PreTokenizer() = default;

namespace {

Result<std::unique_ptr<const PreTokenizer::Stage>> compile_stage(const SplitStage& description,
                                                                 bool use_scanners) {
  auto stage = std::make_unique<PreTokenizer::Stage>();
  stage->scanner = description.scanner;
  const bool scans =
      description.scanner != WordScanner::kNone && (use_scanners || description.pattern.empty());
  if (!scans) {
    const std::string pattern = expand_space_class(expand_parts(description.pattern));
    int error = 0;
    std::size_t offset = 0;
    stage->code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                    PCRE2_UTF, &error, &offset, nullptr));
    if (stage->code == nullptr) {
      return fail(ErrorCode::kInternal, "PCRE2 error {} at {} of the split pattern {}", error,
                  offset, pattern);
    }
    // Without JIT (an architecture that has none) the interpreter gives the same matches, more
    // slowly.
    pcre2_jit_compile(stage->code.get(), PCRE2_JIT_COMPLETE);
  }
  return std::unique_ptr<const PreTokenizer::Stage>(std::move(stage));
}

template <typename Visitor>
void for_each_name(const SplitRule& rule, const Visitor& visit) {
  for (std::size_t begin = 0; begin < rule.names.size();) {
    const std::size_t end = std::min(rule.names.find(' ', begin), rule.names.size());
    visit(rule.names.substr(begin, end - begin));
    begin = end + 1;
  }
}

}  // namespace

std::vector<std::string_view> PreTokenizer::known_names() {
  std::vector<std::string_view> names;
  for (const SplitRule& rule : all_split_rules()) {
    for_each_name(rule, [&](std::string_view name) { names.push_back(name); });
  }
  return names;
}

Result<PreTokenizer> PreTokenizer::create(std::string_view name, bool use_scanners) {
  for (const SplitRule& rule : all_split_rules()) {
    bool named = false;
    for_each_name(rule, [&](std::string_view known) { named |= known == name; });
    if (!named) {
      continue;
    }
    PreTokenizer result;
    result.traits_ = rule.traits;
    for (const SplitStage& description : use_scanners ? rule.stages : rule.reference()) {
      result.stages_.push_back(TRY(compile_stage(description, use_scanners)));
    }
    return result;
  }
  std::string list;
  for (const std::string_view known : known_names()) {
    list += list.empty() ? "" : ", ";
    list += known;
  }
  return fail(ErrorCode::kUnsupported,
              "tokenizer.ggml.pre is \"{}\", which is not known; known are: {}", name, list);
}

std::vector<std::size_t> PreTokenizer::split(std::string_view text) const {
  std::vector<std::size_t> ends, next;
  if (text.empty()) {
    return ends;
  }
  Matcher matcher;
  ends.push_back(text.size());
  for (const auto& stage : stages_) {
    next.clear();
    next.reserve(text.size() / 4 + ends.size());
    std::size_t begin = 0;
    for (const std::size_t end : ends) {
      stage->split(text, begin, end, matcher, next);
      begin = end;
    }
    ends.swap(next);
  }
  return ends;
}

}  // namespace edgewise::text
