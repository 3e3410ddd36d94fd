// What `serve` is told of each of its models. Options that belong to a model are given once for each,
// in the order of the models; "-" leaves one at its default.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "kernels/kv_type.h"

namespace edgewise::app {

struct ModelOptions {
  std::vector<std::string> models;
  std::vector<std::string> aliases, accuracies, groups, contexts, chat_templates, drafts;
};

struct ServedModel {
  std::string argument;  // as it was typed
  std::filesystem::path path;
  std::string name;  // for clients: the alias, else what was typed where that is a name, else the
                     // file's
  std::optional<double> accuracy;
  std::string group;                 // api::ModelCard::group
  std::int64_t context = 0;          // 0: choose
  std::string chat_template_file;    // empty: the model's own
  std::filesystem::path draft;       // file of its draft model; empty: none
  std::int64_t kv_budget_bytes = 0;  // 0: choose; with the draft model's
};

// Fails when a model is not there, a value is wrong, or there are more or fewer than models.
Result<std::vector<ServedModel>> read_model_options(const ModelOptions& options);

// Divides `budget_bytes` (0: what one model alone would take) between the models. Fails when one of
// several is no model: before the first is loaded. One alone chooses for itself.
Result<void> divide_cache(std::vector<ServedModel>& models,
                          kernels::KvType kv_type,
                          std::int64_t budget_bytes);

}  // namespace edgewise::app
