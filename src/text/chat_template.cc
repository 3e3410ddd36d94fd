#include "text/chat_template.h"

#include <ctime>
#include <memory>
#include <string>
#include <utility>

#include "edgewise_text.h"

namespace edgewise::text {
namespace {

struct TemplateFree {
  void operator()(edgewise_template* compiled) const { edgewise_template_free(compiled); }
};

std::string take(edgewise_bytes& bytes) {
  std::string text;
  if (bytes.size > 0) {
    text.assign(reinterpret_cast<const char*>(bytes.data), bytes.size);
  }
  edgewise_bytes_free(&bytes);
  return text;
}

tl::unexpected<Error> error_of(edgewise_status status, edgewise_bytes& message) {
  ErrorCode code = ErrorCode::kInternal;
  if (status == EDGEWISE_INVALID) {
    code = ErrorCode::kInvalidArgument;
  } else if (status == EDGEWISE_LIMIT) {
    code = ErrorCode::kResourceExhausted;
  }
  return fail(code, "{}", take(message));
}

}  // namespace

struct ChatTemplate::Impl {
  std::string source;
  std::unique_ptr<edgewise_template, TemplateFree> compiled;
};

ChatTemplate::ChatTemplate(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

Result<ChatTemplate> ChatTemplate::compile(std::string_view source) {
  edgewise_template* compiled = nullptr;
  edgewise_bytes error{};
  const edgewise_status status =
      edgewise_template_compile(source.data(), source.size(), &compiled, &error);
  if (status != EDGEWISE_OK) {
    return error_of(status, error);
  }
  edgewise_bytes_free(&error);
  auto impl = std::make_unique<Impl>();
  impl->source = source;
  impl->compiled.reset(compiled);
  return ChatTemplate(std::move(impl));
}

Result<std::string> ChatTemplate::render(std::string_view context_json) const {
  return render_at(context_json, std::time(nullptr));
}

Result<std::string> ChatTemplate::render_at(std::string_view context_json,
                                            std::int64_t unix_seconds) const {
  edgewise_bytes output{};
  const edgewise_status status = edgewise_template_render(
      impl_->compiled.get(), context_json.data(), context_json.size(), unix_seconds, &output);
  if (status != EDGEWISE_OK) {
    return error_of(status, output);
  }
  return take(output);
}

std::string_view ChatTemplate::source() const {
  return impl_->source;
}

}  // namespace edgewise::text
