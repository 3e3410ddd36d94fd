#include <memory>

#include "commands.h"
#include "json_writer.h"
#include "store/catalogue.h"
#include "store/store.h"
#include "terminal.h"

namespace edgewise::app {
namespace {

struct ListOptions {
  bool catalogue = false;
  bool json = false;
};

void list_catalogue(bool as_json) {
  if (!as_json) {
    const Style style = Style::of_stdout();
    for (const store::CatalogueModel& model : store::catalogue()) {
      write_out("{}{:<16}{} {:>8}  {}\n", style.bold, model.name, style.reset,
                human_bytes(static_cast<double>(model.bytes())), model.summary);
    }
    return;
  }
  JsonWriter json;
  json.begin_array();
  for (const store::CatalogueModel& model : store::catalogue()) {
    json.begin_object();
    json.field("name", model.name);
    json.field("bytes", model.bytes());
    json.field("summary", model.summary);
    json.end_object();
  }
  json.end_array();
  json.print_line();
}

Result<void> list_stored(bool as_json) {
  const store::Store models = TRY(store::Store::open(TRY(store::default_root())));
  const std::vector<store::StoredModel> stored = TRY(models.list());
  if (as_json) {
    JsonWriter json;
    json.begin_array();
    for (const store::StoredModel& model : stored) {
      json.begin_object();
      json.field("name", model.name);
      json.field("bytes", model.bytes());
      json.field("source", model.source);
      json.field("path", models.path_of(model).string());
      json.end_object();
    }
    json.end_array();
    json.print_line();
    return {};
  }
  if (stored.empty()) {
    write_out(
        "nothing is stored in {}; `edgewise list --catalogue` shows what `edgewise pull` can "
        "bring\n",
        models.root().string());
  }
  const Style style = Style::of_stdout();
  for (const store::StoredModel& model : stored) {
    write_out("{}{:<24}{} {:>8}  from {}\n", style.bold, model.name, style.reset,
              human_bytes(static_cast<double>(model.bytes())), model.source);
  }
  return {};
}

}  // namespace

Action define_list(Command& command) {
  auto options = std::make_shared<ListOptions>();
  command.flag("--catalogue", options->catalogue,
               "Show what the catalogue offers instead of what is stored");
  command.flag("--json", options->json, "Print JSON");
  command.notes(R"(
Examples:
  edgewise list
  edgewise list --catalogue
)");
  return [options]() -> Result<void> {
    if (options->catalogue) {
      list_catalogue(options->json);
      return {};
    }
    return list_stored(options->json);
  };
}

}  // namespace edgewise::app
