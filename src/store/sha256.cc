#include "store/sha256.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include "base/check.h"

namespace edgewise::store {
namespace {

class Digest {
 public:
  Digest() : context_(EVP_MD_CTX_new(), &EVP_MD_CTX_free) {
    CHECK(context_ != nullptr && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1);
  }

  void add(const void* data, std::size_t bytes) {
    CHECK(EVP_DigestUpdate(context_.get(), data, bytes) == 1);
  }

  std::string finish() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
    unsigned int length = 0;
    CHECK(EVP_DigestFinal_ex(context_.get(), bytes.data(), &length) == 1);
    std::string hex;
    for (unsigned int i = 0; i < length; ++i) {
      hex += fmt::format("{:02x}", bytes[i]);
    }
    return hex;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

}  // namespace

std::string sha256_of_text(std::string_view text) {
  Digest digest;
  digest.add(text.data(), text.size());
  return digest.finish();
}

Result<std::string> sha256_of_file(const std::filesystem::path& path,
                                   const std::function<void(std::int64_t)>& on_bytes) {
  const std::unique_ptr<std::FILE, CloseFile> file(std::fopen(path.c_str(), "rb"));
  if (!file) {
    return fail(ErrorCode::kIo, "cannot open {}: {}", path.string(), std::strerror(errno));
  }
  Digest digest;
  std::vector<char> buffer(1 << 20);
  std::int64_t total = 0;
  while (const std::size_t got = std::fread(buffer.data(), 1, buffer.size(), file.get())) {
    digest.add(buffer.data(), got);
    total += static_cast<std::int64_t>(got);
    if (on_bytes) {
      on_bytes(total);
    }
  }
  if (std::ferror(file.get()) != 0) {
    return fail(ErrorCode::kIo, "cannot read {}: {}", path.string(), std::strerror(errno));
  }
  return digest.finish();
}

bool is_sha256(std::string_view text) {
  return text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

}  // namespace edgewise::store
