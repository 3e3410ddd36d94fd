// edgewise: one program, one subcommand a file.
#include <array>

#include "commands.h"

namespace edgewise::app {
namespace {

constexpr std::array<CommandSpec, 12> kCommands = {{
    {"run", "Answer a prompt, or hold a conversation", define_run},
    {"serve", "Serve a model to OpenAI clients over HTTP", define_serve},
    {"pull", "Bring a model into the store", define_pull},
    {"list", "List stored models, or what the catalogue offers", define_list},
    {"rm", "Remove a stored model", define_rm},
    {"show", "Show a model's metadata, tensors and memory needs", define_show},
    {"tokenize", "Turn text into token ids, or ids into text", define_tokenize},
    {"bench", "Measure a model's speed against this machine's limits", define_bench},
    {"perplexity", "Measure how well a model predicts a text", define_perplexity},
    {"profile", "Measure what steps cost here, for plan and simulate", define_profile},
    {"plan", "Decide which node serves which request", define_plan},
    {"simulate", "Compare schedulers on a virtual clock, check their claims", define_simulate},
}};

}  // namespace
}  // namespace edgewise::app

int main(int argc, char** argv) {
  return edgewise::app::run_command_line(argc, argv, edgewise::app::kCommands);
}
