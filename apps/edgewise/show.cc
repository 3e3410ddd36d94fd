// What a model file holds and what running it will take, without loading the weights.
#include <algorithm>
#include <map>
#include <memory>

#include "base/check.h"
#include "commands.h"
#include "engine/engine.h"
#include "engine/memory_plan.h"
#include "input.h"
#include "json_writer.h"
#include "kernels/kernel_table.h"
#include "model/architectures/architectures.h"
#include "model_argument.h"
#include "platform/cpu.h"
#include "terminal.h"
#include "text/unicode.h"
#include "utf8.h"

namespace edgewise::app {
namespace {

constexpr std::size_t kShownElements = 8;      // of an array, for people
constexpr std::size_t kShownCharacters = 100;  // of a string, for people

struct ShowOptions {
  std::string model;
  std::string kv_type = "f16";
  bool metadata = false;
  bool tensors = false;
  bool full = false;
  bool json = false;
};

struct MemoryNeeds {
  std::int64_t weight_bytes = 0;
  std::int64_t kv_bytes_per_position = 0;
  std::int64_t available_bytes = 0;
  std::int64_t trained_context = 0;
  std::int64_t default_context = 0;
  std::int64_t kv_bytes_at_default_context = 0;
};

Result<MemoryNeeds> plan(const tensor::ModelFile& file,
                         const model::ModelSpec& spec,
                         kernels::KvType kv_type) {
  MemoryNeeds needs;
  for (const tensor::TensorView& tensor : file.tensors()) {
    needs.weight_bytes += static_cast<std::int64_t>(tensor.data.size());
  }
  needs.kv_bytes_per_position = model::kv_bytes_per_position(spec, kv_type);
  needs.available_bytes = platform::available_memory_bytes();
  needs.trained_context = spec.context;
  const engine::MemoryPlan planned =
      TRY(engine::plan_memory({.trained_context = spec.context,
                               .block_bytes = needs.kv_bytes_per_position * kernels::kKeyBlock,
                               .available_bytes = needs.available_bytes,
                               .max_sequences = engine::EngineOptions{}.max_sequences}));
  needs.default_context = planned.context;
  needs.kv_bytes_at_default_context = planned.context * needs.kv_bytes_per_position;
  return needs;
}

std::string shape_text(const tensor::TensorView& tensor) {
  std::string text;
  for (const std::int64_t extent : tensor.shape) {
    text += (text.empty() ? "" : " x ") + fmt::format("{}", extent);
  }
  return text;
}

struct TypeCount {
  std::int64_t tensors = 0;
  std::int64_t bytes = 0;
};

std::map<std::string_view, TypeCount> count_types(const tensor::ModelFile& file) {
  std::map<std::string_view, TypeCount> counts;
  for (const tensor::TensorView& tensor : file.tensors()) {
    TypeCount& count = counts[tensor::traits(tensor.type).name];
    ++count.tensors;
    count.bytes += static_cast<std::int64_t>(tensor.data.size());
  }
  return counts;
}

// ---- for people

std::string shortened(std::string_view text, bool full) {
  std::string printable = to_printable(text);
  if (full || printable.size() <= kShownCharacters) {
    return printable;
  }
  return text::replace_invalid_bytes(std::string_view(printable).substr(0, kShownCharacters)) +
         fmt::format("... ({} bytes)", text.size());
}

template <typename Values, typename Print>
std::string array_text(const Values& values, bool full, Print print) {
  const std::size_t shown = full ? values.size() : std::min(values.size(), kShownElements);
  std::string text = fmt::format("[{}] ", values.size());
  for (std::size_t i = 0; i < shown; ++i) {
    text += (i == 0 ? "" : ", ") + print(values[i]);
  }
  return text + (shown < values.size() ? ", ..." : "");
}

struct ValueText {
  bool full;

  std::string operator()(std::int64_t value) const { return fmt::format("{}", value); }

  std::string operator()(std::uint64_t value) const { return fmt::format("{}", value); }

  std::string operator()(double value) const {
    return fmt::format("{}", static_cast<float>(value));
  }

  std::string operator()(bool value) const { return value ? "true" : "false"; }

  std::string operator()(const std::string& value) const { return shortened(value, full); }

  std::string operator()(const std::vector<std::int64_t>& values) const {
    return array_text(values, full, [](std::int64_t value) { return fmt::format("{}", value); });
  }

  std::string operator()(const std::vector<float>& values) const {
    return array_text(values, full, [](float value) { return fmt::format("{}", value); });
  }

  std::string operator()(const tensor::TextList& values) const {
    return array_text(values, full,
                      [](std::string_view value) { return "\"" + to_printable(value) + "\""; });
  }
};

void print_metadata(const tensor::ModelFile& file, bool full) {
  const Style style = Style::of_stdout();
  for (const auto& [key, value] : file.metadata().all()) {
    write_out("  {}{}{} = {}\n", style.bold, to_printable(key), style.reset,
              std::visit(ValueText{full}, value));
  }
}

void print_tensors(const tensor::ModelFile& file) {
  for (const tensor::TensorView& tensor : file.tensors()) {
    write_out("  {:<40} {:<7} {:>20} {:>10}\n", to_printable(tensor.name),
              tensor::traits(tensor.type).name, shape_text(tensor),
              human_bytes(static_cast<double>(tensor.data.size())));
  }
}

void print_memory(const MemoryNeeds& needs, std::string_view kv_type) {
  const auto line = [](std::string_view what, std::int64_t bytes) {
    write_out("  {:<40} {:>10}\n", what, human_bytes(static_cast<double>(bytes)));
  };
  line("weights", needs.weight_bytes);
  line(fmt::format("key/value cache ({}), each position", kv_type), needs.kv_bytes_per_position);
  line(fmt::format("key/value cache, context {} (default)", needs.default_context),
       needs.kv_bytes_at_default_context);
  line(fmt::format("key/value cache, context {} (trained)", needs.trained_context),
       needs.trained_context * needs.kv_bytes_per_position);
  line("available now", needs.available_bytes);
}

void print_for_people(const ShowOptions& options,
                      const tensor::ModelFile& file,
                      const Result<model::ModelSpec>& spec,
                      const Result<MemoryNeeds>& needs) {
  const Style style = Style::of_stdout();
  const bool everything = !options.metadata && !options.tensors;
  write_out("{}{}{}, {}\n", style.bold, to_printable(file.path().string()), style.reset,
            human_bytes(static_cast<double>(file.file_bytes())));
  if (spec) {
    write_out("{}, {} layers, width {}, {} heads of {}, vocabulary {}, context {}\n",
              spec->architecture, spec->layers.size(), spec->width, spec->heads, spec->head_dim,
              spec->vocab, spec->context);
  } else {
    write_out("cannot be run: {}\n", to_printable(spec.error().message));
  }
  if (everything || options.metadata) {
    write_out("\n{}metadata{}\n", style.bold, style.reset);
    print_metadata(file, options.full);
  }
  if (options.tensors) {
    write_out("\n{}tensors{}\n", style.bold, style.reset);
    print_tensors(file);
  } else if (everything) {
    write_out("\n{}tensors{} (--tensors lists them)\n", style.bold, style.reset);
    for (const auto& [type, count] : count_types(file)) {
      write_out("  {:<7} {:>5} tensors {:>10}\n", type, count.tensors,
                human_bytes(static_cast<double>(count.bytes)));
    }
  }
  if (everything && needs) {
    write_out("\n{}memory{}\n", style.bold, style.reset);
    print_memory(*needs, options.kv_type);
  } else if (everything && spec) {
    write_out("\n{}memory{}\n  {}\n", style.bold, style.reset, to_printable(needs.error().message));
  }
}

// ---- for programs

struct ValueJson {
  JsonWriter& json;

  template <typename T>
  void operator()(const T& value) const {
    json.value(value);
  }

  template <typename T>
  void operator()(const std::vector<T>& values) const {
    json.begin_array();
    for (const T& value : values) {
      json.value(value);
    }
    json.end_array();
  }

  void operator()(const tensor::TextList& values) const {
    json.begin_array();
    for (std::size_t i = 0; i < values.size(); ++i) {
      json.value(values[i]);
    }
    json.end_array();
  }
};

void write_tensors_json(JsonWriter& json, const tensor::ModelFile& file) {
  json.key("tensors");
  json.begin_array();
  for (const tensor::TensorView& tensor : file.tensors()) {
    json.begin_object();
    json.field("name", tensor.name);
    json.field("type", tensor::traits(tensor.type).name);
    json.key("shape");
    ValueJson{json}(tensor.shape);
    json.field("bytes", std::ssize(tensor.data));
    json.end_object();
  }
  json.end_array();
}

void print_json(const ShowOptions& options,
                const tensor::ModelFile& file,
                const Result<model::ModelSpec>& spec,
                const Result<MemoryNeeds>& needs) {
  JsonWriter json;
  json.begin_object();
  json.field("path", file.path().string());
  json.field("file_bytes", file.file_bytes());
  if (!spec) {
    json.field("cannot_run", spec.error().message);
  }
  json.key("metadata");
  json.begin_object();
  for (const auto& [key, value] : file.metadata().all()) {
    json.key(key);
    std::visit(ValueJson{json}, value);
  }
  json.end_object();
  write_tensors_json(json, file);
  if (needs) {
    json.key("memory");
    json.begin_object();
    json.field("weight_bytes", needs->weight_bytes);
    json.field("kv_type", options.kv_type);
    json.field("kv_bytes_per_position", needs->kv_bytes_per_position);
    json.field("available_bytes", needs->available_bytes);
    json.field("trained_context", needs->trained_context);
    json.field("default_context", needs->default_context);
    json.field("kv_bytes_at_default_context", needs->kv_bytes_at_default_context);
    json.end_object();
  }
  json.end_object();
  json.print_line();
}

Result<void> show(const ShowOptions& options) {
  const kernels::KvType kv_type = TRY(parse_kv_type(options.kv_type));
  const auto file = TRY(open_model_file(options.model));
  const Result<model::ModelSpec> spec = model::read_spec(*file);
  const Result<MemoryNeeds> needs =
      spec ? plan(*file, *spec, kv_type) : tl::unexpected<Error>(spec.error());
  if (options.json) {
    print_json(options, *file, spec, needs);
  } else {
    print_for_people(options, *file, spec, needs);
  }
  return {};
}

}  // namespace

Action define_show(Command& command) {
  auto options = std::make_shared<ShowOptions>();
  command.argument("MODEL", options->model, kModelHelp, true);
  command.flag("--metadata", options->metadata, "Only the metadata");
  command.flag("--tensors", options->tensors, "Only the tensors, each on a line");
  command.option("--kv-type", options->kv_type, kKvTypeHelp);
  command.flag("--full", options->full, "Long texts and arrays whole");
  command.flag("--json", options->json, "Print JSON, everything whole");
  command.notes(R"(
The weights are not loaded. A file that cannot be run (an unknown architecture, a vocabulary only) is shown
all the same.

Examples:
  edgewise show smollm2
  edgewise show model.gguf --tensors
  edgewise show model.gguf --json | jq .memory
)");
  return [options] { return show(*options); };
}

}  // namespace edgewise::app
