// The subcommands. Each declares its options and gives back what to do once they are parsed.
#pragma once

#include "command_line.h"

namespace edgewise::app {

Action define_run(Command& command);
Action define_serve(Command& command);
Action define_bench(Command& command);
Action define_perplexity(Command& command);
Action define_profile(Command& command);
Action define_plan(Command& command);
Action define_simulate(Command& command);
Action define_tokenize(Command& command);
Action define_show(Command& command);
Action define_pull(Command& command);
Action define_list(Command& command);
Action define_rm(Command& command);

}  // namespace edgewise::app
