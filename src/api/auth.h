// API keys: "Authorization: Bearer KEY", compared in constant time, and what comes with each.
// Immutable; any thread.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/service_level.h"
#include "base/result.h"

namespace edgewise::api {

// What the owner of a key may use, and what his requests ask for when they do not say. 0: no limit.
struct KeyPolicy {
  ServiceLevel defaults = {};
  std::int64_t requests_per_minute = 0;
  std::int64_t tokens_per_minute = 0;  // of prompts and answers
  std::int64_t concurrent = 0;         // requests being answered or waiting
  double share = 1.0;                  // of the machine, in proportion to the other keys' shares
  // Another server's, which gives this one its clients' requests (src/nodes) and says whose each is.
  bool front = false;
};

struct ApiKey {
  std::string key;
  KeyPolicy policy = {};
};

// "KEY [name=value ...]": a key of visible ASCII characters with at least one letter or digit, and
// any of the policy's names above or of set_service_level().
Result<ApiKey> parse_api_key(std::string_view text);

// Several of them, empty ones and (lines) that begin with '#' left out.
Result<std::vector<ApiKey>> parse_api_keys(std::string_view text, char separator);

class ApiKeys {
 public:
  explicit ApiKeys(const std::vector<ApiKey>& keys);  // none: everyone may come in

  // The index of the key in an Authorization header; nothing when it is missing or wrong. 0 without
  // keys.
  std::optional<std::size_t> find(std::string_view authorization) const;

  const KeyPolicy& policy(std::size_t index) const { return policies_[index]; }

  // Names the key's owner without telling the key, the same in every process; empty without keys.
  std::string tenant(std::size_t index) const;

  std::size_t size() const { return policies_.size(); }  // at least 1

  bool is_open() const { return digests_.empty(); }

 private:
  using Digest =
      std::array<unsigned char, 32>;  // SHA-256: equal lengths to compare, no keys in memory dumps
  static Digest digest(std::string_view key);
  std::vector<Digest> digests_;
  std::vector<KeyPolicy> policies_;
};

}  // namespace edgewise::api
