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
  bool packed = false;
  bool kv = false;
  bool json = false;
};

Result<void> remove(const RmOptions& options) {
  const int given = (options.name.empty() ? 0 : 1) + (options.partial ? 1 : 0) +
                    (options.packed ? 1 : 0) + (options.kv ? 1 : 0);
  if (given != 1) {
    return fail(ErrorCode::kInvalidArgument,
                "give one of a stored model's NAME, --partial, --packed and --kv");
  }
  const store::Store models = TRY(store::Store::open(TRY(store::default_root())));
  const std::string what = options.partial  ? "partial downloads"
                           : options.packed ? "packed weights"
                           : options.kv     ? "keys and values"
                                            : options.name;
  const std::int64_t freed = TRY(options.partial  ? models.remove_partial()
                                 : options.packed ? models.remove_packed()
                                 : options.kv     ? models.remove_kv()
                                                  : models.remove(options.name));
  if (options.json) {
    JsonWriter json;
    json.begin_object();
    json.field("name", what);
    json.field("freed_bytes", freed);
    json.end_object();
    json.print_line();
  } else {
    write_out("removed {}, {} freed\n", what, human_bytes(static_cast<double>(freed)));
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
  command.flag("--packed", options->packed,
               "Remove the packed weights of all models (the next start makes them again)");
  command.flag("--kv", options->kv,
               "Remove the keys and values of prompts that servers keep with --kv-disk-mib");
  command.flag("--json", options->json, "Print JSON");
  command.notes(R"(
Files that another stored model shares are kept. A model that is running keeps running. The first start of
a model leaves its weights in the order that the kernels read them, as large as the file, so that later
starts are faster; they go with the model. EDGEWISE_PACKED=off leaves none.

Examples:
  edgewise rm smollm2
  edgewise rm --partial
  edgewise rm --packed
  edgewise rm --kv
)");
  return [options] { return remove(*options); };
}

}  // namespace edgewise::app
