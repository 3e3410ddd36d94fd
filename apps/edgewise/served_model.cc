#include "served_model.h"

#include <charconv>

#include "engine/memory_plan.h"
#include "input.h"
#include "model/architectures/architectures.h"
#include "model_argument.h"
#include "platform/cpu.h"

namespace edgewise::app {
namespace {

// The value of each model; empty: its default.
Result<std::vector<std::string>> one_for_each(const char* option,
                                              const std::vector<std::string>& values,
                                              std::size_t models) {
  if (values.empty()) {
    return std::vector<std::string>(models);
  }
  if (values.size() != models) {
    return fail(ErrorCode::kInvalidArgument,
                "{} was given {} times for {} models; give it once for each, in their order (- for "
                "its default)",
                option, values.size(), models);
  }
  std::vector<std::string> given = values;
  for (std::string& value : given) {
    value = value == "-" ? "" : value;
  }
  return given;
}

template <typename T>
Result<T> parse_number(const char* option, const std::string& text, T lowest, T highest) {
  T value{};
  const auto [stopped, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc() || stopped != text.data() + text.size() ||
      !(value >= lowest && value <= highest)) {
    return fail(ErrorCode::kInvalidArgument, "{} must be from {} to {}, not \"{}\"", option, lowest,
                highest, text);
  }
  return value;
}

std::string name_of(const std::string& argument, const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(argument, ignored)) {
    return argument;
  }
  const std::filesystem::path named = path.has_filename() ? path : path.parent_path();
  return std::filesystem::is_directory(path, ignored) ? named.filename().string()
                                                      : named.stem().string();
}

Result<std::int64_t> kv_bytes_per_position(const std::filesystem::path& path,
                                           kernels::KvType kv_type) {
  const auto file = tensor::ModelFile::open(path);
  const auto spec = file ? model::read_spec(*file) : tl::unexpected(file.error());
  if (!spec) {
    return tl::unexpected(spec.error());
  }
  return model::kv_bytes_per_position(*spec, kv_type);
}

}  // namespace

Result<std::vector<ServedModel>> read_model_options(const ModelOptions& options) {
  const std::size_t count = options.models.size();
  const auto aliases = TRY(one_for_each("--alias", options.aliases, count));
  const auto accuracies = TRY(one_for_each("--accuracy", options.accuracies, count));
  const auto groups = TRY(one_for_each("--group", options.groups, count));
  const auto contexts = TRY(one_for_each("--context", options.contexts, count));
  const auto templates = TRY(one_for_each("--chat-template", options.chat_templates, count));
  const auto drafts = TRY(one_for_each("--draft", options.drafts, count));
  std::vector<ServedModel> models;
  for (std::size_t i = 0; i < count; ++i) {
    ServedModel& model = models.emplace_back();
    model.argument = options.models[i];
    model.chat_template_file = templates[i];
    model.group = groups[i];
    if (!drafts[i].empty()) {
      model.draft = TRY(resolve_model(drafts[i]));
    }
    if (!accuracies[i].empty()) {
      model.accuracy = TRY(parse_number("--accuracy", accuracies[i], 0.0, 1.0));
    }
    if (!contexts[i].empty()) {
      model.context =
          TRY(parse_number<std::int64_t>("--context", contexts[i], 0, std::int64_t{1} << 30));
    }
    model.path = TRY(resolve_model(model.argument));
    model.name = aliases[i].empty() ? name_of(model.argument, model.path) : aliases[i];
  }
  return models;
}

Result<void> divide_cache(std::vector<ServedModel>& models,
                          kernels::KvType kv_type,
                          std::int64_t budget_bytes) {
  if (models.size() == 1) {
    models.front().kv_budget_bytes = budget_bytes;
    return {};
  }
  const std::int64_t whole =
      budget_bytes > 0 ? budget_bytes : engine::default_budget(platform::available_memory_bytes());
  std::vector<std::int64_t> needs;
  for (const ServedModel& model : models) {
    std::int64_t& bytes = needs.emplace_back(0);
    for (const std::filesystem::path& path : {model.path, model.draft}) {
      const auto own = path.empty() ? 0 : kv_bytes_per_position(path, kv_type);
      if (!own) {
        return wrap(own.error(), model.argument);
      }
      bytes += *own;
    }
  }
  const std::vector<std::int64_t> shares = engine::divide_budget(whole, needs);
  for (std::size_t i = 0; i < models.size(); ++i) {
    models[i].kv_budget_bytes = shares[i];
  }
  return {};
}

}  // namespace edgewise::app
