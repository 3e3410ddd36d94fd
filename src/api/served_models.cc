#include "api/served_models.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"

namespace edgewise::api {
namespace {

// As far as a request is read by it.
bool are_of_one_kind(const ModelCard& a, const ModelCard& b) {
  return a.vocab == b.vocab && a.context == b.context &&
         a.has_chat_template == b.has_chat_template &&
         a.template_uses_effort == b.template_uses_effort &&
         a.template_uses_thinking == b.template_uses_thinking;
}

}  // namespace

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
  TRY_VOID(name_groups());
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

Result<void> ServedModels::name_groups() {
  for (const auto& model : all_) {
    const ModelCard& card = model->card();
    if (card.group.empty()) {
      continue;
    }
    const bool is_new = std::ranges::find(groups_, card.group) == groups_.end();
    auto& members = by_name_[card.group];
    if (is_new && !members.empty()) {
      return fail(ErrorCode::kInvalidArgument,
                  "the group \"{}\" has the name of a model; give it another", card.group);
    }
    if (!card.generates) {
      return fail(ErrorCode::kInvalidArgument,
                  "\"{}\" makes embeddings: only models that generate text can be in a group",
                  card.id);
    }
    if (!members.empty() && !are_of_one_kind(members.front()->card(), card)) {
      return fail(ErrorCode::kInvalidArgument,
                  "\"{}\" and \"{}\" are no quantizations of one model: their vocabularies, chat "
                  "templates or contexts differ, so they cannot be in one group",
                  members.front()->card().id, card.id);
    }
    members.push_back(model);
    if (is_new) {
      groups_.push_back(card.group);
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
  for (const std::string& group : groups_) {
    here += fmt::format(", \"{}\"", group);
  }
  return {.status = 404,
          .message = fmt::format(
              "The model \"{:.200}\" does not exist here; this server serves {}.", name, here),
          .param = "model",
          .code = "model_not_found"};
}

}  // namespace edgewise::api
