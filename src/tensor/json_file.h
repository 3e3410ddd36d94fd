// A small JSON file of a model folder, parsed with limits, and typed look-ups in it. Private to the
// readers in tensor/; includes Boost.JSON, so only .cc files include this.
#pragma once

#include <boost/json.hpp>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace edgewise::tensor {

class JsonFile {
 public:
  static Result<JsonFile> read(const std::filesystem::path& path);
  static Result<std::optional<JsonFile>> read_if_present(const std::filesystem::path& path);

  const boost::json::value& root() const { return root_; }

  // The value behind keys one inside the other; nullptr: absent (or null).
  const boost::json::value* find(std::string_view key) const { return find_in(root_, key); }

  static const boost::json::value* find_in(const boost::json::value& value, std::string_view key);

  // Absent or null: nullopt. Of another type: an error that names file and key.
  Result<std::optional<std::int64_t>> integer(std::string_view key) const;
  Result<std::optional<double>> number(std::string_view key) const;
  Result<std::optional<bool>> boolean(std::string_view key) const;
  Result<std::optional<std::string>> string(std::string_view key) const;

  Result<std::int64_t> positive_integer(std::string_view key) const;  // required

  template <typename... Args>
  [[nodiscard]] tl::unexpected<Error> error(ErrorCode code,
                                            fmt::format_string<Args...> format,
                                            Args&&... args) const {
    return fail(code, "{}: {}", path_.string(), fmt::format(format, std::forward<Args>(args)...));
  }

 private:
  std::filesystem::path path_;
  boost::json::value root_;
};

}  // namespace edgewise::tensor
