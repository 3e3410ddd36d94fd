// The OpenAI-compatible server as a command: keys, addresses, signals. What it serves is in
// src/api.
#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <future>
#include <memory>
#include <set>
#include <thread>

#include "api/generator_backend.h"
#include "api/server.h"
#include "base/log.h"
#include "commands.h"
#include "input.h"
#include "interrupt.h"
#include "model_argument.h"
#include "nodes/dispatcher.h"
#include "platform/cpu.h"
#include "platform/worker_pool.h"
#include "serve_nodes.h"
#include "served_model.h"
#include "store/store.h"
#include "terminal.h"
#include "tracing.h"

namespace edgewise::app {
namespace {

struct ServeOptions {
  ModelOptions models;
  std::string host = "127.0.0.1";
  std::int64_t port = 8080;
  std::int64_t threads = 0;
  std::int64_t parallel = engine::EngineOptions{}.max_sequences;
  std::int64_t stall_ms = 0;
  std::string scheduler = "deadline";
  std::int64_t cache_mib = 0;
  std::int64_t kv_disk_mib = 0;
  std::string kv_type = "f16";
  std::vector<std::string> api_keys;
  std::string api_key_file;
  std::vector<std::string> cors_origins;
  std::string tls_certificate;
  std::string tls_key;
  std::int64_t max_body_mib = 16;
  std::int64_t drain_seconds = 30;
  std::int64_t downlink_kbps = 0;
  std::string otlp_endpoint;
  NodeArguments nodes;
  bool no_speculation = false;
  bool shortlist = false;
  bool oracle = false;
  bool verbose = false;
};

// What the engines of all models share.
struct Machine {
  std::shared_ptr<platform::WorkerPool> pool;
  std::shared_ptr<platform::Turn> turn;
  std::shared_ptr<admission::Link> link;  // null: not limited
};

double bytes_per_s(std::int64_t kbps) {
  return static_cast<double>(kbps) * 1e3 / 8.0;
}

Machine create_machine(const ServeOptions& options) {
  return {.pool = std::make_shared<platform::WorkerPool>(
              options.threads > 0 ? static_cast<int>(options.threads) : platform::usable_cpus()),
          .turn = std::make_shared<platform::Turn>(),
          .link = options.downlink_kbps > 0
                      ? std::make_shared<admission::Link>(net::LinkPacer::kReserved *
                                                          bytes_per_s(options.downlink_kbps))
                      : nullptr};
}

// As a browser sends it: compared letter by letter, anything else never fits.
Result<void> check_origin(const std::string& origin) {
  const std::size_t scheme_end = origin.find("://");
  if (origin != "*" && origin != "null" &&
      (scheme_end == std::string::npos || scheme_end + 3 == origin.size() ||
       origin.find_first_of("/? ", scheme_end + 3) != std::string::npos)) {
    return fail(ErrorCode::kInvalidArgument,
                "--cors-origin is *, or an origin like https://app.example:8443 without a path, "
                "not \"{}\"",
                origin);
  }
  return {};
}

Result<void> check(const ServeOptions& options) {
  TRY_VOID(check_range("--port", options.port, 0, 65535));
  TRY_VOID(check_range("--threads", options.threads, 0, 1024));
  TRY_VOID(check_range("--parallel", options.parallel, 1, 1024));
  TRY_VOID(check_range("--stall-ms", options.stall_ms, 0, 60'000));
  TRY_VOID(check_range("--cache-mib", options.cache_mib, 0, std::int64_t{1} << 30));
  TRY_VOID(check_range("--kv-disk-mib", options.kv_disk_mib, 0, std::int64_t{1} << 30));
  TRY(parse_kv_type(options.kv_type));
  if (options.scheduler != "deadline" && options.scheduler != "fcfs") {
    return fail(ErrorCode::kInvalidArgument, "--scheduler is deadline or fcfs, not \"{}\"",
                options.scheduler);
  }
  TRY_VOID(check_range("--max-body", options.max_body_mib, 1, 1024));
  TRY_VOID(check_range("--drain-seconds", options.drain_seconds, 0, 86'400));
  TRY_VOID(check_range("--downlink-kbps", options.downlink_kbps, 0, 1'000'000'000));
  if (options.tls_certificate.empty() != options.tls_key.empty()) {
    return fail(ErrorCode::kInvalidArgument, "--tls-cert and --tls-key go together");
  }
  for (const std::string& origin : options.cors_origins) {
    TRY_VOID(check_origin(origin));
  }
  if (options.no_speculation && !options.models.drafts.empty()) {
    return fail(ErrorCode::kInvalidArgument, "--draft has no use with --no-speculation");
  }
  if (!options.nodes.urls.empty() && options.downlink_kbps > 0) {
    return fail(ErrorCode::kInvalidArgument,
                "--downlink-kbps does not go with --node: what other servers answer is not planned "
                "for the link");
  }
  return {};
}

Result<std::vector<api::ApiKey>> collect_keys(const ServeOptions& options) {
  std::vector<api::ApiKey> keys;
  const auto add = [&](std::vector<api::ApiKey> more) {
    keys.insert(keys.end(), more.begin(), more.end());
  };
  for (const std::string& key : options.api_keys) {
    if (key.empty()) {
      return fail(ErrorCode::kInvalidArgument, "--api-key is empty");
    }
    keys.push_back(TRY(api::parse_api_key(key)));
  }
  if (!options.api_key_file.empty()) {
    const std::string text = TRY(read_text(options.api_key_file));
    const std::size_t before = keys.size();
    auto in_file = api::parse_api_keys(text, '\n');
    if (!in_file) {
      return wrap(std::move(in_file).error(), options.api_key_file);
    }
    add(*std::move(in_file));
    if (keys.size() == before) {  // serving without keys is not what was meant
      return fail(ErrorCode::kInvalidArgument, "{} holds no key; write one on each line",
                  options.api_key_file);
    }
  }
  if (const char* from_environment = std::getenv("EDGEWISE_API_KEYS")) {
    auto in_environment = api::parse_api_keys(from_environment, ',');
    if (!in_environment) {
      return wrap(std::move(in_environment).error(), "EDGEWISE_API_KEYS");
    }
    add(*std::move(in_environment));
  }
  std::set<std::string_view> seen;
  for (const api::ApiKey& key : keys) {
    if (!seen.insert(key.key).second) {  // with whose settings?
      return fail(ErrorCode::kInvalidArgument,
                  "an API key is given twice; give each once, with its settings behind it");
    }
  }
  return keys;
}

Result<std::unique_ptr<chat::Generator>> load(const ServeOptions& options,
                                              const ServedModel& served,
                                              const Machine& machine,
                                              Interrupt& interrupt) {
  ProgressLine progress("loading " + served.name);
  chat::LoadedModelOptions loading;
  loading.pool = machine.pool;
  loading.oracle = options.oracle;
  loading.packed_folder = TRY(packed_folder_of(served.path));
  loading.shortlist = options.shortlist;
  if (!served.draft.empty()) {
    loading.draft = served.draft;
    loading.draft_packed_folder = TRY(packed_folder_of(served.draft));
  }
  loading.engine.context = served.context;
  loading.engine.max_sequences = options.parallel;
  loading.engine.speculate = !options.no_speculation;
  loading.engine.stall_seconds = static_cast<double>(options.stall_ms) / 1e3;
  loading.engine.kv_budget_bytes = served.kv_budget_bytes;
  loading.engine.kv_type = TRY(parse_kv_type(options.kv_type));
  loading.engine.turn = machine.turn;
  loading.engine.link = machine.link;
  loading.engine.forecasts = !served.group.empty() || !options.nodes.urls.empty();
  if (options.kv_disk_mib > 0) {
    loading.engine.disk.folder = TRY(store::Store::open(TRY(store::default_root()))).kv_folder();
    loading.engine.disk.budget_bytes = options.kv_disk_mib << 20U;
  }
  loading.engine.scheduling = options.scheduler == "fcfs"
                                  ? engine::Scheduling::kFirstComeFirstServed
                                  : engine::Scheduling::kDeadline;
  loading.on_progress = [&](double fraction) {
    progress.show_fraction(fraction);
    if (interrupt.take()) {
      progress.clear();
      interrupt.end_process();
    }
  };
  if (!served.chat_template_file.empty()) {
    loading.chat_template = TRY(read_text(served.chat_template_file));
  }
  return chat::Generator::load(served.path, loading);
}

// Engines are chosen by measured costs, so there have to be some before the first request.
Result<void> measure(chat::Generator& generator) {
  constexpr std::int64_t kMostPrompt = 96;
  constexpr std::int64_t kSteps = 24;
  const std::int64_t length =
      std::clamp<std::int64_t>(generator.engine().context() - kSteps, 1, kMostPrompt);
  const std::int64_t vocab = generator.engine().spec().vocab;
  for (std::int64_t round = 0; round < 2; ++round) {
    std::vector<TokenId> prompt;
    for (std::int64_t i = 0; i < length; ++i) {
      prompt.push_back(static_cast<TokenId>((i * 37 + round * 7 + 11) % vocab));
    }
    const auto ended = std::make_shared<std::promise<chat::Outcome>>();
    chat::GenerationOptions options;
    options.max_tokens = kSteps;
    options.ignore_eos = true;
    options.speculate = false;
    options.label = "measuring";
    TRY(generator.start_completion(
        std::move(prompt), options,
        {.on_delta = [](const chat::Delta&) { return true; },
         .on_done = [ended](const chat::Outcome& outcome) { ended->set_value(outcome); }}));
    const chat::Outcome outcome = ended->get_future().get();
    if (outcome.error) {
      return tl::unexpected<Error>(*outcome.error);
    }
  }
  return {};
}

// One after the other: what is being loaded uses the workers that serve later.
Result<std::vector<std::unique_ptr<chat::Generator>>> load_all(
    const ServeOptions& options,
    const std::vector<ServedModel>& models,
    const Machine& machine,
    bool others_choose,
    Interrupt& interrupt) {
  std::vector<std::unique_ptr<chat::Generator>> generators;
  for (const ServedModel& model : models) {
    auto generator = load(options, model, machine, interrupt);
    if (!generator && models.size() > 1) {
      return wrap(std::move(generator).error(), model.argument);
    }
    generators.push_back(TRY(std::move(generator)));
    const bool is_chosen = others_choose || !model.group.empty() || !options.nodes.urls.empty();
    if (is_chosen && !generators.back()->is_embedding_model()) {
      TRY_VOID(measure(*generators.back()));
    }
  }
  return generators;
}

Result<std::unique_ptr<api::Server>> listen(
    const ServeOptions& options,
    const Machine& machine,
    const std::vector<ServedModel>& models,
    const std::vector<std::unique_ptr<chat::Generator>>& generators,
    std::vector<api::ApiKey> keys,
    std::vector<nodes::NodeOptions> nodes,
    std::shared_ptr<trace::Exporter> exporter) {
  api::ServerOptions serving;
  serving.trace_exporter = std::move(exporter);
  serving.http.host = options.host;
  serving.http.port = static_cast<std::uint16_t>(options.port);
  serving.http.tls_certificate_file = options.tls_certificate;
  serving.http.tls_key_file = options.tls_key;
  serving.http.limits.max_body_bytes = static_cast<std::size_t>(options.max_body_mib) << 20U;
  serving.http.cors.origins = options.cors_origins;
  serving.http.downlink_bytes_per_s = bytes_per_s(options.downlink_kbps);
  serving.link = machine.link;
  std::vector<std::shared_ptr<api::Backend>> backends;
  for (std::size_t i = 0; i < models.size(); ++i) {
    backends.push_back(api::make_generator_backend(*generators[i], {.alias = models[i].name,
                                                                    .model_path = models[i].path,
                                                                    .accuracy = models[i].accuracy,
                                                                    .group = models[i].group}));
  }
  serving.api_keys = std::move(keys);
  if (!nodes.empty()) {
    raise_descriptor_limit();
    serving.placement = std::make_shared<nodes::Dispatcher>(backends, std::move(nodes));
  }
  return api::Server::create(std::move(backends), std::move(serving));
}

std::string what_is_missing(const chat::Generator& generator) {
  return generator.has_chat_template() || generator.is_embedding_model()
             ? ""
             : " (no chat template: only /v1/completions)";
}

// "a is ready at URL", "a, b are ready at URL".
void say_ready(const std::vector<ServedModel>& models,
               const std::vector<std::unique_ptr<chat::Generator>>& generators,
               const std::string& url) {
  std::string names;
  for (std::size_t i = 0; i < models.size(); ++i) {
    names += (i == 0 ? "" : ", ") + models[i].name;
    names += models.size() > 1 ? what_is_missing(*generators[i]) : "";
  }
  write_out("{} {} ready at {}{}\n", names, models.size() > 1 ? "are" : "is", url,
            models.size() > 1 ? "" : what_is_missing(*generators.front()));
  std::fflush(stdout);
}

// Until everything is answered, the limit has passed, or a second signal comes.
void drain(api::Server& server, Interrupt& interrupt, std::int64_t limit_seconds) {
  std::atomic<bool> drained = false;
  std::jthread waiting([&] {
    server.drain(std::chrono::seconds(limit_seconds));
    drained = true;
  });
  while (!drained) {
    if (interrupt.wait(std::chrono::milliseconds(50))) {
      break;
    }
  }
  server.stop();  // ends drain() too
}

Result<void> serve(const ServeOptions& options) {
  TRY_VOID(check(options));
  if (options.verbose) {
    set_log_level(LogLevel::kInfo);
  }
  std::signal(SIGPIPE, SIG_IGN);  // a client that goes away is an error of its connection
  std::vector<ServedModel> models = TRY(read_model_options(options.models));
  if (const std::int64_t free_mib = platform::available_memory_bytes() >> 20U;
      options.cache_mib > free_mib) {
    log(LogLevel::kWarning,
        "--cache-mib is {}, but only {} MiB of memory are free: the system may end this program "
        "when the cache fills",
        options.cache_mib, free_mib);
  }
  TRY_VOID(divide_cache(models, TRY(parse_kv_type(options.kv_type)), options.cache_mib << 20U));
  Interrupt interrupt({SIGINT, SIGTERM, SIGHUP});
  const auto exporter = TRY(create_exporter(options.otlp_endpoint));  // outlives who hands it spans
  const Machine machine = create_machine(options);
  std::vector<api::ApiKey> keys = TRY(collect_keys(options));
  std::vector<nodes::NodeOptions> nodes = TRY(read_nodes(options.nodes, !keys.empty()));
  const bool others_choose =
      std::ranges::any_of(keys, [](const api::ApiKey& key) { return key.policy.front; });
  const auto generators = TRY(load_all(options, models, machine, others_choose, interrupt));
  const auto server = TRY(
      listen(options, machine, models, generators, std::move(keys), std::move(nodes), exporter));
  say_ready(models, generators, server->url());
  while (!interrupt.wait(std::chrono::hours(1))) {
  }
  write_err("stopping: waiting for running answers (again to stop at once)\n");
  drain(*server, interrupt, options.drain_seconds);
  return {};
}

// How it is reached, and by whom.
void define_http_options(Command& command, ServeOptions& options) {
  command.option("-p,--port", options.port, "TCP port, 0: any free one (default: 8080)");
  command.option("--host", options.host,
                 "Address to listen on (default: 127.0.0.1, this machine only)");
  command.option(
      "--api-key", options.api_keys,
      "Ask clients for this key (repeatable; others on this machine can see it: prefer the next)");
  command.option("--api-key-file", options.api_key_file,
                 "Ask clients for one of the keys in this file, one on each line, with its limits "
                 "and defaults behind it (docs/api.md)");
  command.option("--cors,--cors-origin", options.cors_origins,
                 "Let web pages of this origin use the server (repeatable; * is all)");
  command.option("--tls-cert", options.tls_certificate,
                 "Serve HTTPS with this certificate (PEM, with its chain)");
  command.option("--tls-key", options.tls_key, "The certificate's key (PEM)");
  command.option("--downlink-kbps", options.downlink_kbps,
                 "What the link to the clients carries, in 1,000 bits a second: who cannot be told "
                 "his answer in time is "
                 "refused, and all replies together keep to it (default: 0, no limit)");
  command.option(
      "--node", options.nodes.urls,
      "Another server with models of these names, http://HOST:PORT (repeatable): each "
      "request is answered where there is time for it (docs/serving.md, Several servers)");
  command.option("--node-key-file", options.nodes.key_file,
                 "The API key that this server has at its nodes (default: EDGEWISE_NODE_KEY)");
  command.option("--node-ca", options.nodes.authorities_file,
                 "Certificates (PEM) by which nodes are trusted (default: the system's)");
  command.option("--max-body", options.max_body_mib, "Largest request in MiB (default: 16)");
  command.option("--drain-seconds", options.drain_seconds,
                 "Longest wait for running answers when stopping (default: 30)");
  command.option("--otlp-endpoint", options.otlp_endpoint,
                 "Send each request's spans to this OpenTelemetry collector, http://HOST:4318 "
                 "(default: OTEL_EXPORTER_OTLP_ENDPOINT, else nowhere)");
}

// Of one model each.
void define_model_options(Command& command, ServeOptions& options) {
  command.option(
      "--alias", options.models.aliases,
      "The model's name for clients (default: the name given as MODEL). This and the "
      "options marked * are given once for each MODEL, in their order, - for the default");
  command.option(
      "-c,--context", options.models.contexts,
      "* Tokens of prompt and answer together (default: from the model and free memory)");
  command.option("--chat-template", options.models.chat_templates,
                 "* Use the Jinja template in this file instead of the model's");
  command.option(
      "--accuracy", options.models.accuracies,
      "* Measured accuracy of this model file, 0 to 1, which min_accuracy of requests is "
      "held against");
  command.option(
      "--group", options.models.groups,
      "* A name that quantizations of one model have in common: who asks for it is answered "
      "by the one that costs least of those that are accurate enough and in time");
  command.option("--draft", options.models.drafts,
                 "* A smaller model of the same vocabulary that guesses tokens where that pays; "
                 "answers are the same");
}

// Of all models.
void define_engine_options(Command& command, ServeOptions& options) {
  command.option("-t,--threads", options.threads,
                 "Threads that compute (default: what affinity and cgroup allow)");
  command.option("--parallel", options.parallel,
                 "Most requests running at once; more wait (default: 32)");
  command.option("--stall-ms", options.stall_ms,
                 "Longest gap between an answer's tokens while prompts come in (default: 0, 1.6 "
                 "times the gap without)");
  command.option("--scheduler", options.scheduler,
                 "deadline: who can be served in time, by priority, fair to every key; fcfs: first "
                 "come, first served (default: deadline)");
  command.option(
      "--cache-mib", options.cache_mib,
      "Most memory for keys and values of all models in MiB (default: 0, a quarter of what "
      "is free)");
  command.option("--kv-type", options.kv_type, kKvTypeHelp);
  command.option(
      "--kv-disk-mib", options.kv_disk_mib,
      "Most disk in MiB for keys and values of often used beginnings, which then survive "
      "a restart; what was asked can be told from them (default: 0, none)");
  command.flag("--no-speculation", options.no_speculation,
               "Compute no guessed tokens along with drawn ones; answers are the same");
  command.flag("--shortlist", options.shortlist, kShortlistHelp);
  command.flag("--oracle", options.oracle, "Run the slow reference model in doubles");
  command.flag("-v,--verbose", options.verbose, "Log what happens on standard error");
}

}  // namespace

Action define_serve(Command& command) {
  auto options = std::make_shared<ServeOptions>();
  command.argument("MODEL", options->models.models,
                   "Files, folders, or stored models' names: one or more, served side by side");
  define_http_options(command, *options);
  define_model_options(command, *options);
  define_engine_options(command, *options);
  command.notes(R"(
Routes: /v1/chat/completions, /v1/completions, /v1/embeddings, /v1/models, /health, /ready, /metrics.
One line says when the server is ready. SIGTERM, Ctrl-C or a closed terminal (SIGHUP, unless under nohup)
lets running answers finish; a second one stops at once. A prompt that does not fit the context is an error,
never cut. Keys come from --api-key, --api-key-file and EDGEWISE_API_KEYS together; without any, none is
asked for.

Examples:
  edgewise serve smollm2 --port 8080
  EDGEWISE_API_KEYS=secret edgewise serve model.gguf --host 0.0.0.0 --tls-cert cert.pem --tls-key key.pem
  edgewise serve smollm2 minilm                chat and embeddings in one server; requests name the model
  edgewise serve q4.gguf q8.gguf --group chat --group chat --accuracy 0.93 --accuracy 0.99
  edgewise serve small.gguf large.gguf --alias fast --alias good --context 4096 --context -
)");
  return [options] { return serve(*options); };
}

}  // namespace edgewise::app
