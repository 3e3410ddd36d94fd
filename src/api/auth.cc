#include "api/auth.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <cstring>
#include <fstream>

#include "net/http_message.h"

namespace edgewise::api {
namespace {

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) {
    return {};
  }
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

}  // namespace

ApiKeys::Digest ApiKeys::digest(std::string_view key) {
  Digest result;
  SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(), result.data());
  return result;
}

ApiKeys::ApiKeys(const std::vector<std::string>& keys) {
  for (const std::string& key : keys) {
    digests_.push_back(digest(key));
  }
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

Result<std::vector<std::string>> read_api_keys(const std::filesystem::path& file) {
  std::ifstream stream(file);
  if (!stream) {
    return fail(ErrorCode::kIo, "cannot read the API key file {}: {}", file.string(),
                std::strerror(errno));
  }
  std::vector<std::string> keys;
  for (std::string line; std::getline(stream, line);) {
    const std::string_view key = trimmed(line);
    if (!key.empty() && !key.starts_with('#')) {
      keys.emplace_back(key);
    }
  }
  if (keys.empty()) {
    return fail(ErrorCode::kInvalidArgument, "the API key file {} has no keys in it",
                file.string());
  }
  return keys;
}

}  // namespace edgewise::api
