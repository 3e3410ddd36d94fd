#include "output.h"

#include <cerrno>
#include <cstring>
#include <fstream>

namespace edgewise::app {
namespace {

tl::unexpected<Error> cannot_write(const std::filesystem::path& path) {
  return fail(ErrorCode::kIo, "cannot write {}: {}", path.string(), std::strerror(errno));
}

}  // namespace

Result<void> check_writable(const std::filesystem::path& path) {
  std::error_code ignored;
  const bool is_new = !std::filesystem::exists(path, ignored);
  if (!std::ofstream(path, std::ios::binary | std::ios::app)) {
    return cannot_write(path);
  }
  if (is_new) {
    std::filesystem::remove(path, ignored);
  }
  return {};
}

Result<void> write_text(const std::filesystem::path& path, std::string_view text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  if (!file) {
    return cannot_write(path);
  }
  return {};
}

}  // namespace edgewise::app
