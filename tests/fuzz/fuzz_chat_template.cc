// Any bytes as a chat template, and as the JSON that it is rendered with: text or an error, in
// bounded time and memory. Input: the template, a zero byte, the context.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "text/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t end = input.find('\0');
  const auto compiled = edgewise::text::ChatTemplate::compile(input.substr(0, end));
  if (!compiled) {
    CHECK(!compiled.error().message.empty());
    return 0;
  }
  const std::string_view context =
      end == std::string_view::npos
          ? R"({"messages": [{"role": "user", "content": "Hi"}], "add_generation_prompt": true, "bos_token": "<s>"})"
          : input.substr(end + 1);
  const auto rendered = compiled->render_at(context, 1'700'000'000);
  CHECK(rendered || !rendered.error().message.empty());
  return 0;
}
