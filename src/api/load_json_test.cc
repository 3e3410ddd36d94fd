#include "api/load_json.h"

#include <gtest/gtest.h>

namespace edgewise::api {
namespace {

using schedule::kNever;

ServerLoad some_load() {
  admission::Load load;
  load.context = 4096;
  load.usual_answer = 77;
  load.least_answer = 5;
  load.block_tokens = 64;
  load.plain = {.launch_s = 0.001,
                .weights_s = 0.002,
                .row_s = 0.003,
                .position_s = 1e-6,
                .prompt_token_s = 2e-4,
                .prompt_pair_s = 3e-8,
                .chunk_tokens = 256};
  load.snapshot.cost = load.plain;
  load.snapshot.cost.row_s = 0.006;
  load.snapshot.capacity.memory_bytes = 120;
  load.snapshot.capacity.count = 30;
  load.snapshot.prompt_share = 0.375;
  admission::RunningView running;
  running.sequence = {.context_tokens = 100,
                      .remaining_prompt_tokens = 40,
                      .remaining_output_tokens = 20,
                      .deadline_s = 1.5};
  running.due_s = -0.25;
  load.snapshot.running = {running, {}};
  admission::Contender waiting;
  waiting.candidate.prompt_tokens = 50;
  waiting.candidate.cached_tokens = 30;
  waiting.candidate.output_tokens = 9;
  waiting.candidate.memory_bytes = 2;
  waiting.candidate.first_token_s = 0.5;
  load.snapshot.waiting = {waiting};
  return {
      .models = {{.id = "a \"b\"", .group = "g", .accuracy = 0.93, .load = load}, {.id = "empty"}},
      .may_name_tenants = true};
}

TEST(LoadJson, SaysAgainWhatItWasTold) {
  const auto read = parse_load(load_json(some_load()));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(load_json(*read), load_json(some_load()));
  EXPECT_TRUE(read->may_name_tenants);
  EXPECT_FALSE(read->is_draining);
  ASSERT_EQ(read->models.size(), 2U);
  EXPECT_EQ(read->models[0].id, "a \"b\"");
  EXPECT_EQ(read->models[0].group, "g");
  EXPECT_EQ(read->models[0].accuracy, 0.93);
  EXPECT_FALSE(read->models[1].load);
  const admission::Load& load = *read->models[0].load;
  EXPECT_EQ(load.plain.row_s, 0.003);
  EXPECT_EQ(load.snapshot.cost.row_s, 0.006);
  EXPECT_EQ(load.plain.chunk_tokens, 256);
  EXPECT_EQ(load.usual_answer, 77);
  EXPECT_EQ(load.least_answer, 5);
  EXPECT_EQ(load.snapshot.prompt_share, 0.375);
  EXPECT_EQ(load.snapshot.capacity.count, 30);
  EXPECT_EQ(load.snapshot.capacity.memory_bytes, 120.0);
  ASSERT_EQ(load.snapshot.running.size(), 2U);
  EXPECT_EQ(load.snapshot.running[0].sequence.remaining_prompt_tokens, 40);
  EXPECT_EQ(load.snapshot.running[0].sequence.deadline_s, 1.5);
  EXPECT_EQ(load.snapshot.running[0].due_s, -0.25);
  EXPECT_EQ(load.snapshot.running[1].sequence.deadline_s, kNever);
  EXPECT_EQ(load.snapshot.running[1].due_s, kNever);
  ASSERT_EQ(load.snapshot.waiting.size(), 1U);
  EXPECT_EQ(load.snapshot.waiting[0].candidate.first_token_s, 0.5);
  EXPECT_EQ(load.snapshot.waiting[0].candidate.cached_tokens, 30);
}

std::string with(std::string text, std::string_view from, std::string_view to) {
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

TEST(LoadJson, MemoryWithoutLimitStaysSo) {
  ServerLoad load = some_load();
  load.models[0].load->snapshot.capacity.memory_bytes = kNever;
  EXPECT_EQ(parse_load(load_json(load))->models[0].load->snapshot.capacity.memory_bytes, kNever);
}

TEST(LoadJson, WhatCannotBeIsRefused) {
  const std::string good = load_json(some_load());
  const auto message = [&](std::string_view from, std::string_view to) {
    const auto read = parse_load(with(good, from, to));
    return read ? std::string("accepted") : read.error().message;
  };
  EXPECT_NE(message("\"row_s\":0.003", "\"row_s\":-0.003"), "accepted");
  EXPECT_NE(message("\"row_s\":0.003", "\"row_s\":1e300"), "accepted");
  EXPECT_NE(message("\"row_s\":0.003", "\"row_s\":\"0.003\""), "accepted");
  EXPECT_NE(message("\"plain_cost\"", "\"cost_plain\""), "accepted");
  EXPECT_NE(message("\"prompt_share\":0.375", "\"prompt_share\":0"), "accepted");
  EXPECT_NE(message("\"chunk_tokens\":256", "\"chunk_tokens\":0"), "accepted");
  EXPECT_NE(message("\"context_tokens\":100", "\"context_tokens\":99999999999"), "accepted");
  EXPECT_NE(message("\"output_tokens\":9", "\"output_tokens\":0"), "accepted");
  EXPECT_NE(message("\"running\":[", "\"running\":[3,"), "accepted");
  EXPECT_NE(message("\"id\":\"empty\"", "\"id\":\"a \\\"b\\\"\""), "accepted");
  EXPECT_NE(message("\"plain_cost\":{\"launch_s\":0.001,\"weights_s\":0.002,\"row_s\":0.003",
                    "\"plain_cost\":{\"launch_s\":0,\"weights_s\":0,\"row_s\":0"),
            "accepted");
  EXPECT_NE(message("\"id\":\"empty\"", "\"name\":\"empty\""), "accepted");
  EXPECT_FALSE(parse_load(""));
  EXPECT_FALSE(parse_load("[]"));
  EXPECT_FALSE(parse_load(good.substr(0, good.size() / 2)));
  std::string many = "{\"models\":[";
  for (int i = 0; i < 65; ++i) {
    many += i == 0 ? "{\"id\":\"a\"}" : ",{\"id\":\"a\"}";
  }
  EXPECT_FALSE(parse_load(many + "]}"));
}

TEST(LoadJson, ALoadFromAnotherVersionMayHaveMore) {
  EXPECT_TRUE(
      parse_load(with(load_json(some_load()), "\"usual_answer\"", "\"news\":1,\"usual_answer\"")));
}

}  // namespace
}  // namespace edgewise::api
