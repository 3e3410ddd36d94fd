// One answer, or a conversation.
#include <cstdio>
#include <memory>

#include "answer.h"
#include "chat_session.h"
#include "commands.h"
#include "input.h"
#include "interrupt.h"
#include "model_argument.h"
#include "sampling_options.h"
#include "terminal.h"

namespace edgewise::app {
namespace {

struct RunOptions {
  std::string model;
  std::string prompt;
  std::string system;
  std::string chat_template_file;
  SamplingOptions sampling;
  std::int64_t max_tokens = -1;
  std::int64_t context = 0;
  std::int64_t threads = 0;
  std::string kv_type = "f16";
  std::string draft;
  bool raw = false;
  bool no_speculation = false;
  bool shortlist = false;
  bool oracle = false;
  bool stats = false;
  bool json = false;
};

Result<std::unique_ptr<chat::Generator>> load(const RunOptions& options, Interrupt& interrupt) {
  ProgressLine progress("loading");
  chat::LoadedModelOptions loading;
  loading.threads = static_cast<int>(options.threads);
  loading.oracle = options.oracle;
  loading.engine.context = options.context;
  loading.engine.max_sequences = 1;
  loading.engine.kv_type = TRY(parse_kv_type(options.kv_type));
  loading.engine.speculate = !options.no_speculation;
  loading.on_progress = [&](double fraction) {
    progress.show_fraction(fraction);
    if (interrupt.take()) {
      progress.clear();
      interrupt.end_process();
    }
  };
  if (!options.chat_template_file.empty()) {
    loading.chat_template = TRY(read_text(options.chat_template_file));
  }
  const std::filesystem::path path = TRY(resolve_model(options.model));
  loading.packed_folder = TRY(packed_folder_of(path));
  loading.shortlist = options.shortlist;
  if (!options.draft.empty()) {
    loading.draft = TRY(resolve_model(options.draft));
    loading.draft_packed_folder = TRY(packed_folder_of(loading.draft));
  }
  return chat::Generator::load(path, loading);
}

Result<void> check(const RunOptions& options) {
  TRY_VOID(check_range("--threads", options.threads, 0, 1024));
  TRY_VOID(check_range("--context", options.context, 0, std::int64_t{1} << 30));
  TRY(parse_kv_type(options.kv_type));
  if (!options.draft.empty() && options.no_speculation) {
    return fail(ErrorCode::kInvalidArgument, "--draft has no use with --no-speculation");
  }
  if (options.max_tokens != -1) {
    TRY_VOID(check_range("--max-tokens", options.max_tokens, 1, std::int64_t{1} << 30));
  }
  if (options.raw && (!options.system.empty() || !options.chat_template_file.empty())) {
    return fail(ErrorCode::kInvalidArgument,
                "--raw uses no template, so --system and --chat-template have no meaning with it");
  }
  return {};
}

// Whether prompts go through the model's template; says so when there is none.
Result<bool> use_template(const RunOptions& options, const chat::Generator& generator) {
  if (options.raw) {
    return false;
  }
  if (!generator.has_chat_template()) {
    if (!options.system.empty()) {
      return fail(
          ErrorCode::kUnsupported,
          "{} has no chat template, so --system has no place; give one with --chat-template",
          generator.model_name());
    }
    write_err("note: {} has no chat template; it continues the text instead of answering it\n",
              generator.model_name());
    return false;
  }
  return true;
}

Result<void> answer_once(const RunOptions& options,
                         const std::string& prompt,
                         bool templated,
                         chat::Generator& generator,
                         Interrupt& interrupt,
                         const chat::GenerationOptions& generation) {
  if (prompt.empty()) {
    return fail(ErrorCode::kInvalidArgument, "the prompt is empty");
  }
  const Start start = [&](chat::Sink sink) {
    if (!templated) {
      return generator.start_completion(generator.tokenizer().encode(prompt), generation,
                                        std::move(sink));
    }
    Conversation conversation;
    conversation.set_system(options.system);
    conversation.add("user", prompt);
    chat::ChatInput input;
    input.messages_json = conversation.to_json();
    return generator.start_chat(input, generation, std::move(sink));
  };
  const Answer answer = TRY(stream_answer(
      generator, interrupt, {.enabled = !options.json, .reasoning = stdout_is_terminal()}, start));
  if (options.json) {
    print_answer_json(answer, generation.sampling.seed);
  } else {
    write_out("\n");
    std::fflush(stdout);
  }
  if (options.stats) {
    write_err("{}\n", stats_line(answer, generation.sampling.seed));
  }
  if (answer.finish == chat::Finish::kCancelled && std::ferror(stdout) == 0) {
    return fail(ErrorCode::kCancelled, "");
  }
  return {};
}

Result<void> run(const RunOptions& options, bool has_prompt) {
  TRY_VOID(check(options));
  const bool interactive = !has_prompt && stdin_is_terminal();
  if (interactive && options.json) {
    return fail(ErrorCode::kInvalidArgument, "--json needs a PROMPT, or one on standard input");
  }
  const std::string prompt = interactive                           ? ""
                             : has_prompt && options.prompt != "-" ? options.prompt
                                                                   : TRY(read_text("-"));
  Interrupt interrupt;
  const auto generator = TRY(load(options, interrupt));
  if (generator->is_embedding_model()) {
    return fail(ErrorCode::kUnsupported,
                "{} makes embeddings, not text; `edgewise serve` offers them at /v1/embeddings",
                generator->model_name());
  }
  chat::GenerationOptions generation;
  generation.sampling = TRY(resolve_sampling(options.sampling, generator->metadata()));
  generation.max_tokens = options.max_tokens;
  const bool templated = TRY(use_template(options, *generator));
  if (!interactive) {
    return answer_once(options, prompt, templated, *generator, interrupt, generation);
  }
  return hold_conversation(*generator, interrupt,
                           {.generation = generation,
                            .system = options.system,
                            .templated = templated,
                            .stats = options.stats});
}

}  // namespace

Action define_run(Command& command) {
  auto options = std::make_shared<RunOptions>();
  command.argument("MODEL", options->model, kModelHelp, true);
  command.argument("PROMPT", options->prompt,
                   "What to answer; without it standard input is read, or a conversation begins",
                   false);
  command.option("-s,--system", options->system, "The system message");
  command.option("-n,--max-tokens", options->max_tokens,
                 "Most tokens of an answer (default: until the context is full)");
  options->sampling.declare(command);
  command.option("-c,--context", options->context,
                 "Tokens of prompt and answer together (default: from the model and free memory)");
  command.option("-t,--threads", options->threads,
                 "Threads (default: what affinity and cgroup allow)");
  command.option("--kv-type", options->kv_type, kKvTypeHelp);
  command.option("--chat-template", options->chat_template_file,
                 "Use the Jinja template in this file instead of the model's");
  command.flag("--raw", options->raw, "No template: continue the prompt as it is");
  command.option("--draft", options->draft,
                 "A smaller model of the same vocabulary that guesses tokens where that pays; the "
                 "answer is the same");
  command.flag("--no-speculation", options->no_speculation,
               "Compute one token at a time; the answer is the same");
  command.flag("--shortlist", options->shortlist, kShortlistHelp);
  command.flag("--oracle", options->oracle, "Run the slow reference model in doubles");
  command.flag("--stats", options->stats, "Times, speeds and memory, on standard error");
  command.flag("--json", options->json, "Print the answer and its figures as JSON");
  command.notes(R"(
In a conversation /help lists the commands; """ begins and ends an input of several lines; Ctrl-C stops an
answer. When the context is full an answer ends, and a longer prompt is an error: nothing is cut silently.

Examples:
  edgewise run smollm2 "Why is the sky blue?"
  edgewise run smollm2 --stats
  git diff | edgewise run qwen1.5b --system "Write a commit message for this diff."
  edgewise run qwen1.5b "A person, as JSON" --json-schema person.json --temperature 0
)");
  return [options, &command] { return run(*options, command.was_given("PROMPT")); };
}

}  // namespace edgewise::app
