#include "tensor/split_name.h"

#include <fmt/format.h>

#include <algorithm>

namespace edgewise::tensor {

std::optional<SplitName> parse_split_name(std::string_view file_name) {
  constexpr std::string_view kForm = "-00000-of-00000.gguf";  // 0: any digit
  if (file_name.size() <= kForm.size()) {
    return std::nullopt;
  }
  const std::string_view tail = file_name.substr(file_name.size() - kForm.size());
  for (std::size_t i = 0; i < kForm.size(); ++i) {
    const bool matches = kForm[i] == '0' ? tail[i] >= '0' && tail[i] <= '9' : tail[i] == kForm[i];
    if (!matches) {
      return std::nullopt;
    }
  }
  const auto number_at = [&](std::size_t begin) {
    std::int64_t number = 0;
    for (const char digit : tail.substr(begin, 5)) {
      number = number * 10 + (digit - '0');
    }
    return number;
  };
  return SplitName{std::string(file_name.substr(0, file_name.size() - kForm.size())), number_at(1),
                   number_at(10)};
}

std::string format_split_name(const SplitName& name) {
  return fmt::format("{}-{:05}-of-{:05}.gguf", name.prefix, name.part, name.parts);
}

}  // namespace edgewise::tensor
