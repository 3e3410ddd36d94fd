// Any bytes as a GGUF file: an error or a model whose tensors lie in the file; never a crash or a
// huge allocation.
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/check.h"
#include "tensor/model_file.h"

using edgewise::tensor::ModelFile;
using edgewise::tensor::TensorView;
using edgewise::tensor::UnsupportedTypes;

namespace {

void use(const ModelFile& file, std::span<const std::byte> bytes) {
  for (const TensorView& tensor : file.tensors()) {
    CHECK(tensor.data.data() >= bytes.data() &&
          tensor.data.data() + tensor.data.size() <= bytes.data() + bytes.size());
    CHECK(file.find(tensor.name) == &tensor);
    const std::int64_t block = edgewise::tensor::traits(tensor.type).block_elems;
    std::vector<float> values(static_cast<std::size_t>(block));
    edgewise::tensor::dequantize(tensor.type, tensor.data.data(), values);
    const std::byte last = tensor.data.back();
    asm volatile("" : : "r"(&last) : "memory");  // keeps the read
  }
  for (const auto& [key, value] : file.metadata().all()) {
    CHECK(file.metadata().find(key) == &value);
    (void)file.metadata().integer(key);
    (void)file.metadata().number(key);
    (void)file.metadata().string(key);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  for (const UnsupportedTypes policy : {UnsupportedTypes::kReject, UnsupportedTypes::kList}) {
    const auto file = ModelFile::from_gguf_bytes(bytes, "fuzz", policy);
    if (file) {
      use(*file, bytes);
    }
  }
  return 0;
}
