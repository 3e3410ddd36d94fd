#include "api/served_models.h"

#include <fmt/format.h>

#include "base/check.h"

namespace edgewise::api {

Result<std::unique_ptr<const ServedModels>> ServedModels::create(
    std::vector<std::shared_ptr<Backend>> models) {
  CHECK(!models.empty(), "a server of no model");
  std::unique_ptr<ServedModels> served(new ServedModels(std::move(models)));
  TRY_VOID(served->name_all());
  return served;
}

Result<void> ServedModels::name_all() {
  for (const auto& model : all_) {
    const std::string& id = model->card().id;
    if (!by_name_.emplace(id, std::vector{model}).second) {
      return fail(ErrorCode::kInvalidArgument,
                  "two models would be called \"{}\"; give each a name of its own with --alias",
                  id);
    }
  }
  std::map<std::string, std::vector<std::shared_ptr<Backend>>> others;
  for (const auto& model : all_) {
    for (const std::string& name : model->card().other_ids) {
      auto& called_so = others[name];
      if (called_so.empty() || called_so.back() != model) {
        called_so.push_back(model);
      }
    }
  }
  for (auto& [name, called_so] : others) {
    if (called_so.size() == 1) {
      by_name_.emplace(name, std::move(called_so));
    }
  }
  return {};
}

ServedModels::Members ServedModels::find(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? Members() : Members(found->second);
}

tl::expected<ServedModels::Members, ApiError> ServedModels::find(const JsonValue& request) const {
  const JsonValue* model = request.find("model");
  const std::string* name = model != nullptr ? model->as_string() : nullptr;
  if (name == nullptr) {
    return Members(all_).first(1);
  }
  const Members members = find(*name);
  if (members.empty()) {
    return tl::unexpected(no_such_model(*name));
  }
  return members;
}

ApiError ServedModels::no_such_model(std::string_view name) const {
  std::string here;
  for (const auto& model : all_) {
    here += fmt::format("{}\"{}\"", here.empty() ? "" : ", ", model->card().id);
  }
  return {.status = 404,
          .message = fmt::format("The model \"{}\" does not exist here; this server serves {}.",
                                 name.substr(0, 200), here),
          .param = "model",
          .code = "model_not_found"};
}

}  // namespace edgewise::api
