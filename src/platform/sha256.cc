#include "platform/sha256.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "base/check.h"

namespace edgewise::platform {
namespace {

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

}  // namespace

struct Sha256::State {
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context{EVP_MD_CTX_new(),
                                                                  &EVP_MD_CTX_free};
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  EVP_MD_CTX* context = state_->context.get();
  CHECK(context != nullptr && EVP_DigestInit_ex(context, EVP_sha256(), nullptr) == 1);
}

Sha256::~Sha256() = default;

void Sha256::add(std::span<const std::byte> bytes) {
  CHECK(EVP_DigestUpdate(state_->context.get(), bytes.data(), bytes.size()) == 1);
}

Digest Sha256::finish() {
  Digest digest{};
  unsigned int length = 0;
  CHECK(EVP_DigestFinal_ex(state_->context.get(), reinterpret_cast<unsigned char*>(digest.data()),
                           &length) == 1);
  CHECK(length == digest.size());
  return digest;
}

std::string to_hex(const Digest& digest) {
  std::string hex;
  for (const std::byte b : digest) {
    hex += fmt::format("{:02x}", static_cast<unsigned>(b));
  }
  return hex;
}

bool is_sha256(std::string_view text) {
  return text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

std::string sha256_of_text(std::string_view text) {
  Sha256 sum;
  sum.add(std::as_bytes(std::span(text)));
  return to_hex(sum.finish());
}

Result<std::string> sha256_of_file(const std::filesystem::path& path,
                                   const std::function<void(std::int64_t)>& on_bytes) {
  const std::unique_ptr<std::FILE, CloseFile> file(std::fopen(path.c_str(), "rb"));
  if (!file) {
    return fail(ErrorCode::kIo, "cannot open {}: {}", path.string(), std::strerror(errno));
  }
  Sha256 sum;
  std::vector<std::byte> buffer(1 << 20);
  std::int64_t total = 0;
  while (const std::size_t got = std::fread(buffer.data(), 1, buffer.size(), file.get())) {
    sum.add(std::span(buffer).first(got));
    total += static_cast<std::int64_t>(got);
    if (on_bytes) {
      on_bytes(total);
    }
  }
  if (std::ferror(file.get()) != 0) {
    return fail(ErrorCode::kIo, "cannot read {}: {}", path.string(), std::strerror(errno));
  }
  return to_hex(sum.finish());
}

}  // namespace edgewise::platform
