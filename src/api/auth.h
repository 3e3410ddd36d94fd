// API keys: "Authorization: Bearer KEY", compared in constant time. Immutable; any thread.
#pragma once

#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace edgewise::api {

class ApiKeys {
 public:
  explicit ApiKeys(const std::vector<std::string>& keys);  // none: everyone may come in

  // The index of the key in an Authorization header; nothing when it is missing or wrong. 0 without
  // keys.
  std::optional<std::size_t> find(std::string_view authorization) const;

  bool is_open() const { return digests_.empty(); }

 private:
  using Digest =
      std::array<unsigned char, 32>;  // SHA-256: equal lengths to compare, no keys in memory dumps
  static Digest digest(std::string_view key);
  std::vector<Digest> digests_;
};

// One key a line; empty lines and lines that begin with '#' are skipped.
Result<std::vector<std::string>> read_api_keys(const std::filesystem::path& file);

}  // namespace edgewise::api
