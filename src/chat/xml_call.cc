#include "chat/xml_call.h"

#include <algorithm>

#include "chat/json_scanner.h"

namespace edgewise::chat {
namespace {

// The text up to `end`, which is consumed too; nullopt when it does not come.
std::optional<std::string_view> take_until(std::string_view& text, std::string_view end) {
  const std::size_t at = text.find(end);
  if (at == std::string_view::npos) {
    return std::nullopt;
  }
  const std::string_view taken = text.substr(0, at);
  text.remove_prefix(at + end.size());
  return taken;
}

void skip_space(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \r\n\t"), text.size()));
}

// The line break after the opening and before the closing tag belongs to the form, not to the
// value.
std::string_view strip_line_breaks(std::string_view value) {
  if (value.starts_with('\n')) {
    value.remove_prefix(1);
  }
  if (value.ends_with('\n')) {
    value.remove_suffix(1);
  }
  return value;
}

JsonScanner::Status scan(std::string_view text) {
  JsonScanner scanner;
  auto status = JsonScanner::Status::kInvalid;
  for (const char c : text) {
    status = scanner.push(c);
  }
  return status;
}

bool is_json_value(std::string_view value) {
  if (value.starts_with('{') || value.starts_with('[')) {
    return scan(value) == JsonScanner::Status::kComplete;
  }
  if (value.starts_with('"')) {
    return unquote_json(value).has_value();
  }
  const bool one_scalar = value.find_first_of(",[]{}\" \n\r\t") == std::string_view::npos;
  return !value.empty() && one_scalar &&
         scan("[" + std::string(value) + "]") == JsonScanner::Status::kComplete;
}

std::string typed(std::string_view value, const std::string& type) {
  if (type == "string" || !is_json_value(value)) {
    return quote_json(value);
  }
  return std::string(value);
}

}  // namespace

std::optional<WrittenCall> parse_xml_call(std::string_view text, const std::vector<Tool>& tools) {
  skip_space(text);
  if (!take_until(text, "<function=")) {
    return std::nullopt;
  }
  const auto name = take_until(text, ">");
  if (!name || name->empty() || name->find_first_of("\n<\"") != std::string_view::npos) {
    return std::nullopt;
  }
  const auto tool =
      std::find_if(tools.begin(), tools.end(), [&](const Tool& t) { return t.name == *name; });
  WrittenCall call;
  call.name = std::string(*name);
  call.arguments = "{";
  while (true) {
    skip_space(text);
    if (text.starts_with("</function>")) {
      break;
    }
    if (!text.starts_with("<parameter=")) {
      return std::nullopt;
    }
    take_until(text, "=");
    const auto key = take_until(text, ">");
    const auto value = key ? take_until(text, "</parameter>") : std::nullopt;
    if (!value) {
      return std::nullopt;
    }
    std::string type;
    if (tool != tools.end()) {
      if (const auto known = tool->parameter_types.find(std::string(*key));
          known != tool->parameter_types.end()) {
        type = known->second;
      }
    }
    call.arguments += call.arguments.size() > 1 ? ", " : "";
    call.arguments += quote_json(*key) + ": " + typed(strip_line_breaks(*value), type);
  }
  call.arguments += "}";
  return call;
}

}  // namespace edgewise::chat
