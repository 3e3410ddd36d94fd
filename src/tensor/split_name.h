// Names of the parts of a split model: NAME-00001-of-00003.gguf.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace edgewise::tensor {

struct SplitName {
  std::string prefix;  // "NAME"
  std::int64_t part = 0;
  std::int64_t parts = 0;

  bool is_possible() const { return part >= 1 && part <= parts; }
};

std::optional<SplitName> parse_split_name(std::string_view file_name);  // nullopt: not of that form
std::string format_split_name(const SplitName& name);

}  // namespace edgewise::tensor
