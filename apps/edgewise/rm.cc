#include <memory>

#include "commands.h"
#include "json_writer.h"
#include "store/store.h"
#include "terminal.h"

namespace edgewise::app {
namespace {

struct RmOptions {
  std::string name;
  bool partial = false;
  bool json = false;
};

Result<void> remove(const RmOptions& options) {
  if (options.name.empty() != options.partial) {
    return fail(ErrorCode::kInvalidArgument, "give a stored model's NAME, or --partial");
  }
  const store::Store models = TRY(store::Store::open(TRY(store::default_root())));
  const std::int64_t freed =
      TRY(options.partial ? models.remove_partial() : models.remove(options.name));
  if (options.json) {
    JsonWriter json;
    json.begin_object();
    json.field("name", options.partial ? "partial downloads" : options.name);
    json.field("freed_bytes", freed);
    json.end_object();
    json.print_line();
  } else {
    write_out("removed {}, {} freed\n", options.partial ? "partial downloads" : options.name,
              human_bytes(static_cast<double>(freed)));
  }
  return {};
}

}  // namespace

Action define_rm(Command& command) {
  auto options = std::make_shared<RmOptions>();
  command.argument("NAME", options->name, "A stored model's name, as `edgewise list` shows it",
                   false);
  command.flag("--partial", options->partial,
               "Remove downloads that did not end (a pull that is running keeps its own)");
  command.flag("--json", options->json, "Print JSON");
  command.notes(R"(
Files that another stored model shares are kept. A model that is running keeps running.

Examples:
  edgewise rm smollm2
  edgewise rm --partial
)");
  return [options] { return remove(*options); };
}

}  // namespace edgewise::app
