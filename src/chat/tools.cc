#include "chat/tools.h"

#include <boost/json.hpp>

namespace edgewise::chat {
namespace {

namespace json = boost::json;

Result<Tool> parse_tool(const json::value& value, std::size_t index) {
  const json::object* object = value.if_object();
  const json::value* function = object == nullptr ? nullptr : object->if_contains("function");
  const json::object* fields = function == nullptr ? nullptr : function->if_object();
  const json::value* name = fields == nullptr ? nullptr : fields->if_contains("name");
  if (name == nullptr || !name->is_string() || name->get_string().empty()) {
    return fail(ErrorCode::kInvalidArgument, "tools[{}] must be a function with a name", index);
  }
  Tool tool;
  tool.name = std::string(name->get_string());
  tool.parameters_schema = R"({"type":"object"})";
  const json::value* parameters = fields->if_contains("parameters");
  if (parameters == nullptr || parameters->is_null()) {
    return tool;
  }
  if (!parameters->is_object()) {
    return fail(ErrorCode::kInvalidArgument,
                "tools[{}].function.parameters must be a JSON schema object", index);
  }
  if (!parameters->get_object().empty()) {
    tool.parameters_schema = json::serialize(*parameters);
  }
  const json::value* properties = parameters->get_object().if_contains("properties");
  if (properties != nullptr && properties->is_object()) {
    for (const auto& [key, schema] : properties->get_object()) {
      const json::value* type =
          schema.is_object() ? schema.get_object().if_contains("type") : nullptr;
      if (type != nullptr && type->is_string()) {
        tool.parameter_types[std::string(key)] = std::string(type->get_string());
      }
    }
  }
  return tool;
}

}  // namespace

Result<std::vector<Tool>> parse_tools(std::string_view tools_json) {
  std::vector<Tool> tools;
  if (tools_json.empty()) {
    return tools;
  }
  json::parse_options options;
  options.max_depth = 256;
  boost::system::error_code error;
  const json::value value = json::parse({tools_json.data(), tools_json.size()}, error, {}, options);
  if (error || !value.is_array()) {
    return fail(ErrorCode::kInvalidArgument, "tools must be a JSON array of functions");
  }
  for (const json::value& item : value.get_array()) {
    tools.push_back(TRY(parse_tool(item, tools.size())));
  }
  return tools;
}

}  // namespace edgewise::chat
