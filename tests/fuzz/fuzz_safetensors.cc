// Any bytes as a .safetensors file: an error or tensors that lie in the file.
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/check.h"
#include "tensor/hugging_face_bert.h"
#include "tensor/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  const auto entries = edgewise::tensor::parse_safetensors(bytes, "fuzz");
  if (!entries) {
    return 0;
  }
  for (const edgewise::tensor::SafetensorsEntry& entry : *entries) {
    CHECK(entry.data.data() >= bytes.data() &&
          entry.data.data() + entry.data.size() <= bytes.data() + bytes.size());
    (void)edgewise::tensor::bert_tensor_name("fuzz", entry.name);
  }
  return 0;
}
