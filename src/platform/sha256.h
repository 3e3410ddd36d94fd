// SHA-256 of bytes, text and files.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace edgewise::platform {

using Digest = std::array<std::byte, 32>;

class Sha256 {
 public:
  Sha256();
  ~Sha256();

  void add(std::span<const std::byte> bytes);
  Digest finish();  // once

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string to_hex(const Digest& digest);  // 64 lower-case digits
bool is_sha256(std::string_view text);     // 64 lower-case hexadecimal digits

// As hexadecimal digits.
std::string sha256_of_text(std::string_view text);

// on_bytes: called with the bytes read so far; may be empty.
Result<std::string> sha256_of_file(const std::filesystem::path& path,
                                   const std::function<void(std::int64_t)>& on_bytes);

}  // namespace edgewise::platform
