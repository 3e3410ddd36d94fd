#include <fmt/format.h>

#include <memory>

#include "commands.h"
#include "input.h"
#include "json_writer.h"
#include "model_argument.h"
#include "terminal.h"
#include "text/tokenizer.h"
#include "utf8.h"

namespace edgewise::app {
namespace {

struct TokenizeOptions {
  std::string model;
  std::string text;
  std::string file;
  bool ids = false;
  bool json = false;
  bool no_special = false;
  bool no_parse_special = false;
  bool decode = false;
};

void print_as_json(const text::Tokenizer& tokenizer, std::span<const TokenId> tokens) {
  JsonWriter json;
  json.begin_object();
  json.field("count", std::ssize(tokens));
  json.key("tokens");
  json.begin_array();
  for (const TokenId token : tokens) {
    std::string bytes;
    tokenizer.append_bytes(token, true, bytes);
    json.begin_object();
    json.field("id", token);
    json.field("text", bytes);
    json.field("stored", tokenizer.token_text(token));
    json.end_object();
  }
  json.end_array();
  json.end_object();
  json.print_line();
}

void print_for_people(const text::Tokenizer& tokenizer, std::span<const TokenId> tokens) {
  for (const TokenId token : tokens) {
    std::string bytes;
    tokenizer.append_bytes(token, true, bytes);
    write_out("{:8}  \"{}\"\n", token, to_printable(bytes));
  }
}

void print_ids(std::span<const TokenId> tokens) {
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    write_out("{}{}", i == 0 ? "" : " ", tokens[i]);
  }
  write_out("\n");
}

Result<void> decode(const TokenizeOptions& options,
                    const text::Tokenizer& tokenizer,
                    const std::string& input) {
  const std::vector<TokenId> tokens = TRY(parse_token_ids(input, tokenizer.vocab_size()));
  const std::string text = tokenizer.decode(tokens, !options.no_special);
  if (options.json) {
    JsonWriter json;
    json.begin_object();
    json.field("count", std::ssize(tokens));
    json.field("text", text);
    json.end_object();
    json.print_line();
  } else {
    write_out("{}\n", text);
  }
  return {};
}

Result<void> tokenize(const TokenizeOptions& options, bool has_text) {
  if (has_text && !options.file.empty()) {
    return fail(ErrorCode::kInvalidArgument, "give TEXT or --file, not both");
  }
  const auto file = TRY(open_model_file(options.model));
  const auto tokenizer = TRY(text::Tokenizer::create(file->metadata()));
  const std::string input =
      has_text ? options.text : TRY(read_text(options.file.empty() ? "-" : options.file));
  if (options.decode) {
    return decode(options, *tokenizer, input);
  }
  const std::vector<TokenId> tokens = tokenizer->encode(
      input, {.add_special = !options.no_special, .parse_special = !options.no_parse_special});
  if (options.json) {
    print_as_json(*tokenizer, tokens);
  } else if (options.ids) {
    print_ids(tokens);
  } else {
    print_for_people(*tokenizer, tokens);
  }
  return {};
}

}  // namespace

Action define_tokenize(Command& command) {
  auto options = std::make_shared<TokenizeOptions>();
  command.argument("MODEL", options->model,
                   "A file (a vocabulary-only GGUF will do), a folder or a stored model's name",
                   true);
  command.argument("TEXT", options->text, "The text; without it, standard input is read", false);
  command.option("-f,--file", options->file, "Read the text from this file");
  command.flag("--ids", options->ids, "Print the ids on one line");
  command.flag("--json", options->json, "Print JSON");
  command.flag("--no-special", options->no_special,
               "Add no BOS or EOS; with --decode, leave control tokens out");
  command.flag("--no-parse-special", options->no_parse_special,
               "Text that spells a control token stays text");
  command.flag("--decode", options->decode, "The input is token ids; print the text");
  command.notes(R"(
Examples:
  edgewise tokenize smollm2 "Hello, world"
  edgewise tokenize ggml-vocab-llama-spm.gguf --ids < text.txt
  edgewise tokenize smollm2 --decode "19556 28 905"
)");
  return [options, &command] { return tokenize(*options, command.was_given("TEXT")); };
}

}  // namespace edgewise::app
