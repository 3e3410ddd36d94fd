#include "api/auth.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <bit>
#include <charconv>

#include "net/http_message.h"
#include "platform/sha256.h"

namespace edgewise::api {
namespace {

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) {
    return {};
  }
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

// The first word, which is cut off.
std::string_view take_word(std::string_view& text) {
  const std::size_t end = std::min(text.find_first_of(" \t"), text.size());
  const std::string_view word = text.substr(0, end);
  text = trimmed(text.substr(end));
  return word;
}

// What a header can carry as it is, and no punctuation that was left where a key was meant to be.
bool may_be_key(std::string_view text) {
  const auto is_word = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
  };
  return std::any_of(text.begin(), text.end(), is_word) &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < '\x7f'; });
}

template <typename T>
Result<void> set_amount(T& into, std::string_view name, std::string_view value) {
  T amount{};
  const auto [stopped, ec] = std::from_chars(value.data(), value.data() + value.size(), amount);
  if (ec != std::errc() || stopped != value.data() + value.size() || !(amount > 0)) {
    return fail(ErrorCode::kInvalidArgument, "{} of an API key must be a positive number, not {}",
                name, value);
  }
  into = amount;
  return {};
}

Result<void> set_policy(KeyPolicy& policy, std::string_view name, std::string_view value) {
  bool is_known = false;
  TRY_VOID(set_service_level(policy.defaults, name, value, is_known));
  if (is_known) {
    return {};
  }
  if (name == "requests_per_minute") {
    return set_amount(policy.requests_per_minute, name, value);
  }
  if (name == "tokens_per_minute") {
    return set_amount(policy.tokens_per_minute, name, value);
  }
  if (name == "concurrent") {
    return set_amount(policy.concurrent, name, value);
  }
  if (name == "share") {
    return set_amount(policy.share, name, value);
  }
  if (name == "front") {
    if (value != "true" && value != "false") {
      return fail(ErrorCode::kInvalidArgument, "front of an API key must be true or false, not {}",
                  value);
    }
    policy.front = value == "true";
    return {};
  }
  return fail(ErrorCode::kInvalidArgument,
              "an API key has no setting \"{}\" (docs/api.md lists them)", name);
}

}  // namespace

ApiKeys::Digest ApiKeys::digest(std::string_view key) {
  Digest result;
  SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(), result.data());
  return result;
}

ApiKeys::ApiKeys(const std::vector<ApiKey>& keys) {
  for (const ApiKey& key : keys) {
    digests_.push_back(digest(key.key));
    policies_.push_back(key.policy);
  }
  if (policies_.empty()) {
    policies_.emplace_back();
  }
}

std::string ApiKeys::tenant(std::size_t index) const {
  return is_open() ? std::string()
                   : platform::to_hex(std::bit_cast<platform::Digest>(digests_[index]));
}

std::optional<std::size_t> ApiKeys::find(std::string_view authorization) const {
  if (digests_.empty()) {
    return 0;
  }
  constexpr std::string_view kScheme = "Bearer ";
  if (authorization.size() <= kScheme.size() ||
      !net::names_equal(authorization.substr(0, kScheme.size()), kScheme)) {
    return std::nullopt;
  }
  const Digest given = digest(trimmed(authorization.substr(kScheme.size())));
  std::optional<std::size_t> found;
  for (std::size_t i = 0; i < digests_.size(); ++i) {  // always all of them
    if (CRYPTO_memcmp(given.data(), digests_[i].data(), given.size()) == 0) {
      found = i;
    }
  }
  return found;
}

Result<ApiKey> parse_api_key(std::string_view text) {
  ApiKey result;
  result.key = take_word(text);
  if (!may_be_key(result.key)) {
    return fail(ErrorCode::kInvalidArgument,
                "\"{}\" is no API key: it has letters or digits, and only visible ASCII characters",
                result.key);
  }
  while (!text.empty()) {
    const std::string_view word = take_word(text);
    const std::size_t equals = word.find('=');
    if (equals == std::string_view::npos) {
      return fail(ErrorCode::kInvalidArgument,
                  "behind an API key, \"{}\" is no name=value; a key itself has no spaces", word);
    }
    TRY_VOID(set_policy(result.policy, word.substr(0, equals), word.substr(equals + 1)));
  }
  return result;
}

Result<std::vector<ApiKey>> parse_api_keys(std::string_view text, char separator) {
  std::vector<ApiKey> keys;
  for (int number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find(separator), text.size());
    const std::string_view entry = trimmed(text.substr(0, end));
    if (!entry.empty() && entry[0] != '#') {
      auto key = parse_api_key(entry);
      if (!key) {
        return wrap(std::move(key).error(),
                    fmt::format("{} {}", separator == '\n' ? "line" : "entry", number));
      }
      keys.push_back(*std::move(key));
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return keys;
}

}  // namespace edgewise::api
