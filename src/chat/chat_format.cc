#include "chat/chat_format.h"

#include <algorithm>
#include <utility>

#include "chat/prompt_length.h"

namespace edgewise::chat {
namespace {

bool has_tools(const ChatInput& input) {
  return !input.tools_json.empty() && input.tool_choice != "none";
}

std::string new_call_id(ToolFormat format, std::uint64_t random, std::uint64_t more) {
  static constexpr std::string_view kAlphabet =
      "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  const bool mistral =
      format == ToolFormat::kMistral;  // whose templates insist on 9 letters and digits
  std::string id = mistral ? "" : "call_";
  for (int i = 0; i < (mistral ? 9 : 20); ++i) {
    std::uint64_t& source = i < 10 ? random : more;
    id.push_back(kAlphabet[source % kAlphabet.size()]);
    source /= kAlphabet.size();
  }
  return id;
}

// Who may be called: all tools, or the one that tool_choice names.
Result<std::vector<Tool>> chosen_tools(const std::vector<Tool>& tools, const std::string& choice) {
  if (choice == "required") {
    return tools;
  }
  for (const Tool& tool : tools) {
    if (tool.name == choice) {
      return std::vector<Tool>{tool};
    }
  }
  return fail(ErrorCode::kInvalidArgument,
              "tool_choice names the function \"{}\", which is not among the tools", choice);
}

// "answer" as a rule for what response_format asks.
Result<std::string> answer_rule(const sampling::GrammarSpec& spec) {
  switch (spec.kind) {
    case sampling::GrammarSpec::Kind::kJsonSchema:
      return "answer: %json " + spec.text + "\n";
    case sampling::GrammarSpec::Kind::kJsonObject:
      return std::string("answer: %json {\"type\": \"object\"}\n");
    default:
      return fail(ErrorCode::kUnsupported,
                  "a regex or grammar can not be combined with tools; leave out the tools or set "
                  "tool_choice to \"none\"");
  }
}

}  // namespace

ChatFormat::ChatFormat(const text::Tokenizer& tokenizer) : tokenizer_(tokenizer) {
  const auto text_of = [&](TokenId token) {
    return token < 0 ? std::string() : std::string(tokenizer.token_text(token));
  };
  bos_ = text_of(tokenizer.bos());
  eos_ = text_of(tokenizer.eos());
}

Result<ChatFormat::Template> ChatFormat::compile(std::string_view source) const {
  auto compiled = text::ChatTemplate::compile(source);
  if (!compiled) {
    return wrap(std::move(compiled).error(), "the chat template");
  }
  const TemplateAbilities abilities = probe_template(*compiled, bos_, eos_);
  return Template{std::move(*compiled), abilities, tool_format_of(source),
                  reasoning_tags_of(source)};
}

Result<std::unique_ptr<const ChatFormat>> ChatFormat::create(const tensor::Metadata& metadata,
                                                             const text::Tokenizer& tokenizer,
                                                             const std::string& override_template) {
  std::unique_ptr<ChatFormat> format(new ChatFormat(tokenizer));
  if (!override_template.empty()) {
    format->main_ = TRY(format->compile(override_template));
    return format;
  }
  if (const auto source = TRY(metadata.string("tokenizer.chat_template")); source.has_value()) {
    format->main_ = format->compile(*source);
  }
  if (const auto source = TRY(metadata.string("tokenizer.chat_template.tool_use"));
      source.has_value()) {
    if (auto compiled = format->compile(*source)) {
      format->with_tools_ = std::move(*compiled);
    }
  }
  return format;
}

Result<const ChatFormat::Template*> ChatFormat::choose(bool with_tools) const {
  if (with_tools && with_tools_.has_value()) {
    return &*with_tools_;
  }
  if (!main_.has_value()) {
    return fail(ErrorCode::kUnsupported,
                "this model has no chat template; give it one with --chat-template, or ask for a "
                "completion of plain text");
  }
  if (!main_->has_value()) {
    return tl::unexpected<Error>(main_->error());
  }
  return &**main_;
}

Result<std::string> ChatFormat::render_with(const Template& chosen,
                                            const ChatInput& input,
                                            bool show_tools) const {
  const std::string context =
      TRY(template_context(input, chosen.abilities, chosen.tool_format, {bos_, eos_}, show_tools));
  auto rendered = chosen.compiled.render(context);
  if (!rendered) {
    return wrap(std::move(rendered).error(), "the model's chat template refuses this conversation");
  }
  return rendered;
}

Result<std::string> ChatFormat::render(const ChatInput& input) const {
  const Template* chosen = TRY(choose(has_tools(input)));
  return render_with(*chosen, input, has_tools(input));
}

Result<PreparedChat> ChatFormat::prepare(const ChatInput& input,
                                         const GenerationOptions& options,
                                         std::int64_t context,
                                         const std::function<std::uint64_t()>& random) const {
  const std::vector<Tool> tools =
      has_tools(input) ? TRY(parse_tools(input.tools_json)) : std::vector<Tool>();
  const bool forced = input.tool_choice != "auto" && input.tool_choice != "none";
  if (forced && tools.empty()) {
    return fail(ErrorCode::kInvalidArgument, "tool_choice asks for a call, but there are no tools");
  }
  const Template* chosen = TRY(choose(!tools.empty()));
  std::string prompt = TRY(render_with(*chosen, input, !tools.empty()));

  PreparedChat prepared;
  prepared.grammar = options.sampling.grammar;
  AnswerSetup& answer = prepared.answer;
  std::string opener;
  if (!tools.empty()) {
    const ToolFormat format = chosen->tool_format;
    answer.tools = ToolCallParser::Setup{
        format, tools, [random, format] { return new_call_id(format, random(), random()); }};
    answer.one_call_only = !input.parallel_tool_calls;
    const ToolMarkers markers = markers_of(format);
    for (const auto* texts : {&markers.open, &markers.close, &markers.inner}) {
      answer.shown_tokens.insert(answer.shown_tokens.end(), texts->begin(), texts->end());
    }
    if (forced) {
      if (prepared.grammar.has_value()) {
        return fail(ErrorCode::kInvalidArgument,
                    "tool_choice asks for a call and response_format for an answer of another "
                    "form; drop one of them");
      }
      CallGrammar calls = call_grammar(format, TRY(chosen_tools(tools, input.tool_choice)),
                                       input.parallel_tool_calls);
      opener = calls.opener;
      prepared.grammar = {sampling::GrammarSpec::Kind::kLark, "start: calls\n" + calls.rules};
    } else if (prepared.grammar.has_value()) {
      CallGrammar calls = call_grammar(format, tools, input.parallel_tool_calls);
      const std::string begin = calls.opener.empty() ? "" : quote_json(calls.opener) + " ";
      const std::string rule = TRY(answer_rule(*prepared.grammar));
      prepared.grammar = {sampling::GrammarSpec::Kind::kLark,
                          "start: answer | " + begin + "calls\n" + rule + calls.rules};
    }
  }
  if (chosen->reasoning.has_value()) {
    answer.reasoning = chosen->reasoning;
    answer.reasoning_opened = opens_reasoning(prompt, *chosen->reasoning);
    answer.shown_tokens.push_back(chosen->reasoning->open);
    answer.shown_tokens.push_back(chosen->reasoning->close);
    if (answer.reasoning_opened && prepared.grammar.has_value()) {
      // A grammar rules from the first token, so the thinking that the prompt began ends before it.
      prompt += chosen->reasoning->close + "\n\n";
      answer.reasoning_opened = false;
    }
  }
  answer.opener = opener;
  TRY_VOID(check_prompt_length(tokenizer_, prompt, context));
  prepared.prompt = encode(prompt + opener);
  return prepared;
}

// Templates write their own BOS or leave it to the tokenizer; either way there is exactly one.
std::vector<TokenId> ChatFormat::encode(const std::string& prompt) const {
  std::vector<TokenId> tokens =
      tokenizer_.encode(prompt, {.add_special = false, .parse_special = true});
  const TokenId bos = tokenizer_.bos();
  if (tokenizer_.adds_bos() && bos >= 0 && (tokens.empty() || tokens.front() != bos)) {
    tokens.insert(tokens.begin(), bos);
  }
  return tokens;
}

}  // namespace edgewise::chat
