#include "input.h"

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <memory>

namespace edgewise::app {

Result<std::string> read_text(const std::filesystem::path& path) {
  const bool is_stdin = path == "-";
  const std::string name = is_stdin ? "standard input" : path.string();
  std::error_code ignored;
  if (!is_stdin && std::filesystem::is_directory(path, ignored)) {
    return fail(ErrorCode::kInvalidArgument, "{} is a folder, not a text file", name);
  }
  const auto close = [](std::FILE* file) {
    if (file != stdin) {
      std::fclose(file);
    }
  };
  const std::unique_ptr<std::FILE, decltype(close)> file(
      is_stdin ? stdin : std::fopen(path.c_str(), "rb"), close);
  if (!file) {
    const int reason = errno;
    const ErrorCode code = reason == ENOENT   ? ErrorCode::kNotFound
                           : reason == EACCES ? ErrorCode::kPermissionDenied
                                              : ErrorCode::kIo;
    return fail(code, "cannot open {}: {}", name, std::strerror(reason));
  }
  std::string text;
  std::array<char, 1 << 16> buffer;
  while (const std::size_t got = std::fread(buffer.data(), 1, buffer.size(), file.get())) {
    text.append(buffer.data(), got);
    if (std::ssize(text) > kMostInputBytes) {
      return fail(ErrorCode::kResourceExhausted, "{} is larger than {} bytes", name,
                  kMostInputBytes);
    }
  }
  if (std::ferror(file.get()) != 0) {
    return fail(ErrorCode::kIo, "cannot read {}: {}", name, std::strerror(errno));
  }
  return text;
}

Result<std::vector<TokenId>> parse_token_ids(std::string_view text, std::int64_t vocab) {
  constexpr std::string_view kSeparators = " \t\r\n,[]";
  std::vector<TokenId> ids;
  std::size_t at = 0;
  while ((at = text.find_first_not_of(kSeparators, at)) != std::string_view::npos) {
    const std::size_t end = std::min(text.find_first_of(kSeparators, at), text.size());
    const std::string_view word = text.substr(at, end - at);
    std::int64_t id = -1;
    const auto [stop, error] = std::from_chars(word.data(), word.data() + word.size(), id);
    if (error != std::errc{} || stop != word.data() + word.size()) {
      return fail(ErrorCode::kInvalidArgument, "\"{}\" (number {} in the list) is not a token id",
                  word.substr(0, 40), ids.size() + 1);
    }
    if (id < 0 || id >= vocab) {
      return fail(ErrorCode::kInvalidArgument, "token id {} is outside the vocabulary (0 to {})",
                  id, vocab - 1);
    }
    ids.push_back(static_cast<TokenId>(id));
    at = end;
  }
  return ids;
}

Result<kernels::KvType> parse_kv_type(std::string_view name) {
  const std::optional<kernels::KvType> type = kernels::kv_type_of(name);
  if (!type) {
    return fail(ErrorCode::kInvalidArgument, "--kv-type is f16 or q8, not \"{}\"", name);
  }
  return *type;
}

Result<void> check_range(std::string_view option,
                         std::int64_t value,
                         std::int64_t least,
                         std::int64_t most) {
  if (value < least || value > most) {
    return fail(ErrorCode::kInvalidArgument, "{} is {}; it must be from {} to {}", option, value,
                least, most);
  }
  return {};
}

}  // namespace edgewise::app
