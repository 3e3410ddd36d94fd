// Drives the tokenizer for differential tests: reads records (u8 flags, u32 length, bytes) from
// standard input and answers each with (u32 count, i32 ids..., u32 length, decoded bytes). Flags: 1
// add_special, 2 parse_special. Little-endian. Prints the time that creating the tokenizer took on
// standard error.
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <string>
#include <vector>

#include "tensor/model_file.h"
#include "text/tokenizer.h"

namespace {

double cpu_ms() {
  return 1000.0 * static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

template <typename T>
bool read_value(T& value) {
  return std::fread(&value, sizeof value, 1, stdin) == 1;
}

template <typename T>
void write_values(const T* values, std::size_t count) {
  std::fwrite(values, sizeof(T), count, stdout);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 && argc != 3) {
    std::fprintf(stderr, "usage: tokenize_stream MODEL [PRE]\n");
    return 2;
  }
  const auto file = edgewise::tensor::ModelFile::open(argv[1]);
  if (!file) {
    std::fprintf(stderr, "%s\n", file.error().message.c_str());
    return 1;
  }
  const double start = cpu_ms();
  edgewise::tensor::Metadata renamed;
  if (argc == 3) {  // another tokenizer.ggml.pre than the file's
    renamed = file->metadata();
    renamed.set("tokenizer.ggml.pre", std::string(argv[2]));
  }
  const auto tokenizer = edgewise::text::Tokenizer::create(argc == 3 ? renamed : file->metadata());
  if (!tokenizer) {
    std::fprintf(stderr, "%s\n", tokenizer.error().message.c_str());
    return 1;
  }
  std::fprintf(stderr, "created in %.1f ms, %lld tokens\n", cpu_ms() - start,
               static_cast<long long>((*tokenizer)->vocab_size()));
  std::uint8_t flags = 0;
  std::uint32_t length = 0;
  double encode_ms = 0;
  while (read_value(flags) && read_value(length)) {
    std::string text(length, '\0');
    if (std::fread(text.data(), 1, length, stdin) != length) {
      return 1;
    }
    const double before = cpu_ms();
    const std::vector<edgewise::TokenId> ids =
        (*tokenizer)
            ->encode(text, {.add_special = (flags & 1) != 0, .parse_special = (flags & 2) != 0});
    encode_ms += cpu_ms() - before;
    const std::string decoded = (*tokenizer)->decode(ids);
    const auto count = static_cast<std::uint32_t>(ids.size());
    const auto bytes = static_cast<std::uint32_t>(decoded.size());
    write_values(&count, 1);
    write_values(ids.data(), ids.size());
    write_values(&bytes, 1);
    write_values(decoded.data(), decoded.size());
    std::fflush(stdout);
  }
  std::fprintf(stderr, "encoded in %.1f ms\n", encode_ms);
  return 0;
}
