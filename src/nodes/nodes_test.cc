// Servers over fake models that give each other requests, over real sockets.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/server_fixture.h"
#include "nodes/dispatcher.h"

namespace edgewise::nodes {
namespace {

using api::events_of;
using api::FakeBackend;
using api::HttpReply;
using net::eventually;
using net::TestClient;
using std::chrono::milliseconds;
using testing::HasSubstr;
using testing::Not;

// A step of 10 ms and 1 ms more for each further row; 1 ms for each token of a prompt.
admission::Load idle() {
  admission::Load load;
  load.plain = {.launch_s = 0.009, .row_s = 0.001, .prompt_token_s = 0.001};
  load.snapshot.cost = load.plain;
  load.snapshot.capacity.count = 32;
  load.snapshot.capacity.memory_bytes = 1000;
  load.context = 100;
  return load;
}

// Nobody more may wait in it.
admission::Load with_queue(admission::Load load) {
  load.snapshot.running.emplace_back();
  for (int i = 0; i < 8; ++i) {
    load.snapshot.waiting.emplace_back().candidate.prompt_tokens = 1;
    ++load.snapshot.capacity.count;
  }
  return load;
}

admission::Load full() {
  admission::Load load = with_queue(idle());
  load.snapshot.capacity.count = 8;
  return load;
}

// Others would be sooner.
admission::Load with_time_later() {
  admission::Load load = idle();
  load.plain.row_s = load.snapshot.cost.row_s = 0.1;
  return load;
}

// The other server, whose answers say "node".
class Other {
 public:
  explicit Other(const api::ServerOptions& options = {})
      : backend(std::make_shared<FakeBackend>()) {
    backend->set_load(idle());
    backend->script_.front().content = "node";
    restart(options);
  }

  // With the card that the backend has now.
  void restart(const api::ServerOptions& options = {}) {
    server.reset();
    server = api::Server::create({backend}, options).value();
  }

  ~Other() {
    server.reset();
    backend->finish();
  }

  Other(const Other&) = delete;
  Other& operator=(const Other&) = delete;

  std::shared_ptr<FakeBackend> backend;
  std::unique_ptr<api::Server> server;
};

class NodesTest : public api::ServerTest {
 protected:
  // The fixture's server, which knows the others.
  void start_front(std::vector<NodeOptions> nodes, api::ServerOptions options = {}) {
    dispatcher_ = std::make_shared<Dispatcher>(std::vector<std::shared_ptr<api::Backend>>{owned_},
                                               std::move(nodes));
    options.placement = dispatcher_;
    start(std::move(options));
  }

  void start_front(const Other& other) {
    start_front({{.url = other.server->url()}});
    await_up(1);
  }

  void await_up(int count) {
    ASSERT_TRUE(eventually([&] {
      const api::PlacementStats stats = dispatcher_->stats();
      return std::count_if(stats.nodes.begin(), stats.nodes.end(),
                           [](const auto& node) { return node.is_up; }) == count;
    }));
  }

  std::string content(const HttpReply& reply) {
    EXPECT_EQ(reply.status, 200) << reply.body;
    return reply.status != 200
               ? ""
               : std::string(
                     reply.json().at("choices").at(0).at("message").at("content").as_string());
  }

  api::PlacementStats::Node node_stats() { return dispatcher_->stats().nodes.at(0); }

  std::shared_ptr<Dispatcher> dispatcher_;
};

TEST_F(NodesTest, AnswersWhereThereIsRoom) {
  Other other;
  backend_.set_load(full());
  start_front(other);
  EXPECT_EQ(content(chat()), "node, world!");
  EXPECT_EQ(node_stats().forwarded_total, 1);
  backend_.set_load(idle());
  other.backend->set_load(full());
  EXPECT_TRUE(eventually([&] { return content(chat()) == "Hello, world!"; }));
  EXPECT_GE(dispatcher_->stats().here_total, 1);
  const HttpReply text = call("POST", "/v1/completions", R"({"model":"toy","prompt":"ab"})");
  EXPECT_EQ(text.json().at("choices").at(0).at("text"), "Hello, world!");
}

TEST_F(NodesTest, TheReplyIsTheOtherServersOwn) {
  Other other;
  backend_.set_load(full());
  start_front(other);
  const HttpReply whole = chat(R"("max_tokens":5,"logprobs":false)");
  EXPECT_EQ(whole.json().at("usage").at("completion_tokens"), 4);
  EXPECT_EQ(whole.json().at("model"), "toy");
  const HttpReply stream = chat(R"("stream":true,"stream_options":{"include_usage":true})");
  const std::vector<std::string> events = events_of(stream.body);
  EXPECT_EQ(events.back(), "[DONE]");
  EXPECT_THAT(events.front(), HasSubstr("assistant"));
  EXPECT_THAT(events.at(events.size() - 2), HasSubstr("\"usage\""));
  const HttpReply text =
      call("POST", "/v1/completions", R"({"model":"toy.gguf","prompt":"ab","stream":true})");
  EXPECT_THAT(events_of(text.body).front(), HasSubstr("node"));
}

TEST_F(NodesTest, WaitsUntilOneOfThemHasRoom) {
  Other other;
  backend_.set_load(full());
  other.backend->set_load(full());
  start_front(other);
  TestClient client(server_->port());
  client.send(request_text("POST", "/v1/chat/completions",
                           R"({"model":"toy","messages":[{"role":"user","content":"hi"}]})"));
  EXPECT_TRUE(eventually([&] { return dispatcher_->stats().waiting == 1; }));
  EXPECT_EQ(client.receive("", milliseconds(300)), "");
  other.backend->set_load(idle());
  EXPECT_THAT(client.receive(), HasSubstr("node, world!"));
  EXPECT_TRUE(eventually([&] { return dispatcher_->stats().waiting == 0; }));
}

TEST_F(NodesTest, AFewWaitInAnEngineThatHasNoPlace) {
  Other other;
  admission::Load busy = idle();
  busy.snapshot.running.emplace_back();
  busy.snapshot.capacity.count = 0;
  backend_.set_load(full());
  other.backend->set_load(busy);
  start_front(other);
  EXPECT_EQ(content(chat()), "node, world!");
}

TEST_F(NodesTest, WhoHangsUpWhileWaitingIsForgotten) {
  Other other;
  backend_.set_load(full());
  other.backend->set_load(full());
  start_front(other);
  {
    TestClient client(server_->port());
    client.send(request_text("POST", "/v1/chat/completions",
                             R"({"model":"toy","messages":[{"role":"user","content":"hi"}]})"));
    EXPECT_TRUE(eventually([&] { return dispatcher_->stats().waiting == 1; }));
  }
  EXPECT_TRUE(eventually([&] { return dispatcher_->stats().waiting == 0; }));
  EXPECT_EQ(backend_.started_, 0);
  EXPECT_EQ(other.backend->started_, 0);
}

TEST_F(NodesTest, WhoHangsUpIsCancelledThere) {
  Other other;
  other.backend->waits_ = true;
  backend_.set_load(full());
  start_front(other);
  {
    TestClient client(server_->port());
    client.send(request_text(
        "POST", "/v1/chat/completions",
        R"({"model":"toy","stream":true,"messages":[{"role":"user","content":"hi"}]})"));
    EXPECT_THAT(client.receive("node"), HasSubstr("node"));
  }
  EXPECT_TRUE(eventually([&] { return other.backend->cancelled().size() == 1; }));
  EXPECT_TRUE(eventually([&] { return node_stats().running == 0; }));
  EXPECT_EQ(node_stats().lost_total, 0);
}

TEST_F(NodesTest, WhatWasSettledHereHoldsThere) {
  Other other;
  backend_.set_load(full());
  api::ServerOptions options;
  options.api_keys = {{.key = "one"}};
  options.api_keys[0].policy.defaults.priority = 3;
  options.api_keys[0].policy.defaults.max_tokens = 2;
  api::ServerOptions node_options;
  node_options.api_keys = {{.key = "front-key", .policy = {.front = true}}};
  Other strict(node_options);
  start_front({{.url = strict.server->url(), .key = "front-key", .must_name_tenants = true}},
              std::move(options));
  await_up(1);
  const HttpReply reply = chat(R"("deadline_ms":60000,"temperature":0.25)",
                               "Authorization: Bearer one\r\nX-Edgewise-Min-Tokens: 1\r\n");
  EXPECT_EQ(content(reply), "node, world!");
  const chat::GenerationOptions& there = strict.backend->options_.at(0);
  EXPECT_EQ(there.priority, 3);
  EXPECT_EQ(there.max_tokens, 2);
  EXPECT_EQ(there.min_tokens, 1);
  EXPECT_NEAR(there.sampling.temperature, 0.25, 1e-6);
  ASSERT_TRUE(there.deadline.has_value());
  const auto left = *there.deadline - std::chrono::steady_clock::now();
  EXPECT_GT(left, std::chrono::seconds(30));
  EXPECT_LT(left, std::chrono::seconds(60));
}

TEST_F(NodesTest, OwnersOfKeysDoNotShareThereEither) {
  api::ServerOptions node_options;
  node_options.api_keys = {{.key = "front-key", .policy = {.front = true}}};
  Other other(node_options);
  backend_.set_load(full());
  api::ServerOptions options;
  options.api_keys = {{.key = "one"}, {.key = "two"}};
  start_front({{.url = other.server->url(), .key = "front-key", .must_name_tenants = true}},
              std::move(options));
  await_up(1);
  for (const char* key : {"one", "two", "one"}) {
    EXPECT_EQ(content(chat("", fmt::format("Authorization: Bearer {}\r\n", key))), "node, world!");
  }
  const auto& asked = other.backend->options_;
  EXPECT_NE(asked.at(0).tenant, asked.at(1).tenant);
  EXPECT_EQ(asked.at(0).tenant, asked.at(2).tenant);
  EXPECT_THAT(asked.at(0).tenant, Not(HasSubstr("one")));
}

TEST_F(NodesTest, AServerThatWouldMixOwnersOfKeysGetsNothing) {
  api::ServerOptions node_options;
  node_options.api_keys = {{.key = "front-key"}};  // without front=true
  Other other(node_options);
  api::ServerOptions options;
  options.api_keys = {{.key = "one"}};
  backend_.set_load(idle());
  start_front({{.url = other.server->url(), .key = "front-key", .must_name_tenants = true}},
              std::move(options));
  EXPECT_EQ(content(chat("", "Authorization: Bearer one\r\n")), "Hello, world!");
  EXPECT_FALSE(node_stats().is_up);
  EXPECT_EQ(other.backend->started_, 0);
}

TEST_F(NodesTest, QuantizationsOfAGroupMayBeOnOtherServers) {
  Other other;
  other.backend->card_.id = "large";
  backend_.card_.group = other.backend->card_.group = "group";
  backend_.card_.accuracy = 0.93;
  other.backend->card_.accuracy = 0.99;
  other.restart();
  backend_.set_load(idle());
  other.backend->set_load(full());
  start_front(other);
  const auto who = [&](std::string_view model, std::string_view more = "") {
    const HttpReply reply = chat_with(model, more);
    EXPECT_EQ(reply.status, 200) << reply.body;
    return reply.status == 200 ? std::string(reply.json().at("model").as_string()) : reply.body;
  };
  EXPECT_EQ(who("group"), "toy");
  other.backend->set_load(idle());
  EXPECT_EQ(who("group", R"("min_accuracy":0.95)"), "large");
  EXPECT_EQ(who("toy"), "toy");
  EXPECT_EQ(chat_with("toy", R"("min_accuracy":0.95)").status, 400);
  EXPECT_EQ(chat_with("group", R"("min_accuracy":0.995)").status, 400);
  backend_.set_load(full());
  EXPECT_TRUE(eventually([&] { return who("group") == "large"; }));
}

TEST_F(NodesTest, WhomOnlyAServerThatHasGoneCouldAnswerIsRefused) {
  auto other = std::make_unique<Other>();
  other->backend->card_.id = "large";
  backend_.card_.group = other->backend->card_.group = "group";
  backend_.card_.accuracy = 0.93;
  other->backend->card_.accuracy = 0.99;
  other->restart();
  backend_.set_load(idle());
  other->backend->set_load(full());
  start_front(*other);
  TestClient client(server_->port());
  client.send(request_text(
      "POST", "/v1/chat/completions",
      R"({"model":"group","min_accuracy":0.95,"messages":[{"role":"user","content":"hi"}]})"));
  EXPECT_TRUE(eventually([&] { return dispatcher_->stats().waiting == 1; }));
  other.reset();
  EXPECT_THAT(client.receive("", std::chrono::seconds(60)), HasSubstr("503"));
  EXPECT_EQ(backend_.started_, 0);
}

TEST_F(NodesTest, OnlyAServersKeyNamesOwners) {
  api::ServerOptions options;
  options.api_keys = {{.key = "client"}, {.key = "front-key", .policy = {.front = true}}};
  start(std::move(options));
  const std::string tenant = "X-Edgewise-Tenant: someone\r\n";
  const HttpReply refused = chat("", "Authorization: Bearer client\r\n" + tenant);
  EXPECT_EQ(refused.status, 400);
  EXPECT_EQ(refused.error().at("code"), "unknown_header");
  EXPECT_EQ(chat("", "Authorization: Bearer client\r\nX-Edgewise-Forwarded: 1\r\n").status, 400);
  EXPECT_EQ(chat("", "Authorization: Bearer front-key\r\n" + tenant).status, 200);
  EXPECT_EQ(chat("", fmt::format("Authorization: Bearer front-key\r\nX-Edgewise-Tenant: {}\r\n",
                                 std::string(200, 'a')))
                .status,
            400);
  EXPECT_EQ(call("GET", "/edgewise/load").status, 401);
  EXPECT_EQ(call("GET", "/edgewise/load", "", "Authorization: Bearer client\r\n").status, 403);
  EXPECT_EQ(call("GET", "/edgewise/load", "", "Authorization: Bearer front-key\r\n").status, 200);
}

TEST_F(NodesTest, WhenItRefusesAnotherAnswers) {
  Other other;
  other.backend->refusal_ = Error{ErrorCode::kUnavailable, "the queue is full"};
  backend_.set_load(with_time_later());
  start_front(other);
  EXPECT_EQ(content(chat()), "Hello, world!");
  EXPECT_EQ(node_stats().returned_total, 1);
}

TEST_F(NodesTest, ARefusalForGoodIsTold) {
  Other other;
  other.backend->refusal_ =
      Error{.code = ErrorCode::kDeadlineUnreachable, .message = "too late", .retry_after_s = 7.0};
  backend_.set_load(full());
  start_front(other);
  const HttpReply reply = chat(R"("deadline_ms":60000)");
  EXPECT_EQ(reply.status, 503);
  EXPECT_EQ(reply.error().at("code"), "deadline_unreachable");
  EXPECT_THAT(reply.head, HasSubstr("Retry-After: 7"));
}

TEST_F(NodesTest, LostInTheMiddleTheClientIsTold) {
  auto other = std::make_unique<Other>();
  other->backend->waits_ = true;
  backend_.set_load(full());
  start_front(*other);
  TestClient client(server_->port());
  client.send(
      request_text("POST", "/v1/chat/completions",
                   R"({"model":"toy","stream":true,"messages":[{"role":"user","content":"hi"}]})"));
  std::string told = client.receive("node");
  other.reset();
  told += client.receive();
  EXPECT_THAT(told, HasSubstr("node_lost"));
  EXPECT_TRUE(eventually([&] { return node_stats().lost_total == 1; }));
}

TEST_F(NodesTest, LostBeforeTheFirstTokenAnotherAnswers) {
  auto other = std::make_unique<Other>();
  other->backend->waits_ = other->backend->waits_first_ = true;
  backend_.set_load(with_time_later());
  start_front(*other);
  TestClient client(server_->port());
  client.send(request_text("POST", "/v1/chat/completions",
                           R"({"model":"toy","messages":[{"role":"user","content":"hi"}]})"));
  EXPECT_TRUE(eventually([&] { return other->backend->started_ == 1; }));
  other.reset();
  EXPECT_THAT(client.receive(), HasSubstr("Hello, world!"));
  EXPECT_EQ(node_stats().returned_total, 1);
}

TEST_F(NodesTest, WithThreeServersLostTheRequestIsGivenUp) {
  std::vector<std::unique_ptr<Other>> others;
  std::vector<NodeOptions> nodes;
  for (int i = 0; i < 4; ++i) {
    others.push_back(std::make_unique<Other>());
    others.back()->backend->waits_ = others.back()->backend->waits_first_ = true;
    nodes.push_back({.url = others.back()->server->url()});
  }
  backend_.set_load(full());
  start_front(std::move(nodes));
  await_up(4);
  TestClient client(server_->port());
  client.send(request_text("POST", "/v1/chat/completions",
                           R"({"model":"toy","messages":[{"role":"user","content":"hi"}]})"));
  for (int lost = 0; lost < 3; ++lost) {
    auto holder = others.end();
    ASSERT_TRUE(eventually([&] {
      holder = std::ranges::find_if(
          others, [](const auto& other) { return other->backend->started_ == 1; });
      return holder != others.end();
    })) << lost;
    others.erase(holder);
  }
  const std::string reply = client.receive("", std::chrono::seconds(60));
  EXPECT_THAT(reply, HasSubstr("502"));
  EXPECT_THAT(reply, HasSubstr("node_lost"));
  EXPECT_EQ(others.front()->backend->started_, 0);
  EXPECT_EQ(backend_.started_, 0);
}

TEST_F(NodesTest, AServerThatIsNotThereIsDoneWithout) {
  backend_.set_load(idle());
  start_front({{.url = "http://127.0.0.1:9"}});
  EXPECT_EQ(content(chat()), "Hello, world!");
}

TEST_F(NodesTest, AServerThatDrainsGetsNothingNew) {
  Other other;
  other.backend->waits_ = true;
  backend_.set_load(with_time_later());
  start_front(other);
  TestClient client(server_->port());
  client.send(
      request_text("POST", "/v1/chat/completions",
                   R"({"model":"toy","stream":true,"messages":[{"role":"user","content":"hi"}]})"));
  EXPECT_THAT(client.receive("node"), HasSubstr("node"));
  std::thread draining([&] { other.server->drain(std::chrono::seconds(20)); });
  await_up(0);
  EXPECT_EQ(content(chat()), "Hello, world!");
  std::this_thread::sleep_for(
      std::chrono::seconds(6));  // longer than one that says nothing is waited for
  other.backend->release();
  EXPECT_THAT(client.receive(), HasSubstr("[DONE]"));
  draining.join();
}

TEST_F(NodesTest, ManyAtOnceAreAllAnswered) {
  Other first;
  Other second;
  for (FakeBackend* backend : {&backend_, first.backend.get(), second.backend.get()}) {
    backend->pause_ = std::chrono::microseconds(500);
    backend->set_load(idle());
  }
  start_front({{.url = first.server->url()}, {.url = second.server->url()}});
  await_up(2);
  std::vector<std::thread> clients;
  std::atomic<int> answered = 0;
  for (int i = 0; i < 24; ++i) {
    clients.emplace_back([&, i] {
      const HttpReply reply = chat(i % 2 == 0 ? R"("stream":true)" : R"("deadline_ms":30000)");
      answered += reply.status == 200 && reply.body.find("world") != std::string::npos ? 1 : 0;
    });
  }
  for (std::thread& client : clients) {
    client.join();
  }
  EXPECT_EQ(answered, 24);
  EXPECT_EQ(backend_.started_ + first.backend->started_ + second.backend->started_, 24);
  EXPECT_GT(first.backend->started_ + second.backend->started_, 0);
  const std::string metrics = call("GET", "/metrics").body;
  EXPECT_THAT(metrics, HasSubstr(fmt::format("edgewise_node_forwarded_total{{node=\"{}\"}} {}",
                                             first.server->url(), first.backend->started_.load())));
}

TEST_F(NodesTest, AConversationGoesBackToWhereItBegan) {
  Other other;
  admission::Load roomy = idle();
  roomy.context = backend_.card_.context = 1000;
  backend_.chat_prompt_ = std::vector<TokenId>(500);
  other.backend->set_load(roomy);
  backend_.set_load(full());
  start_front(other);
  EXPECT_EQ(content(chat()), "node, world!");
  admission::Load faster = roomy;  // which the first time it would have gone to
  faster.plain.prompt_token_s = faster.snapshot.cost.prompt_token_s = 0.0009;
  backend_.set_load(faster);
  EXPECT_EQ(content(chat()), "node, world!");
  backend_.chat_prompt_.front() = 1;  // another one
  EXPECT_EQ(content(chat()), "Hello, world!");
}

TEST_F(NodesTest, WhatAnotherServerGaveGoesNoFurther) {
  Other other;
  backend_.set_load(full());
  start_front(other);
  EXPECT_EQ(content(chat("", "X-Edgewise-Forwarded: 1\r\n")), "Hello, world!");
  EXPECT_EQ(node_stats().forwarded_total, 0);
}

TEST_F(NodesTest, PromptsThatAreTooLongAreRefusedHere) {
  Other other;
  backend_.set_load(full());
  start_front(other);
  const HttpReply reply = call("POST", "/v1/completions",
                               R"({"model":"toy","prompt":")" + std::string(100, 'x') + "\"}");
  EXPECT_EQ(reply.status, 400);
  EXPECT_EQ(reply.error().at("code"), "context_length_exceeded");
  EXPECT_EQ(node_stats().forwarded_total, 0);
}

TEST_F(NodesTest, ManyAnswersNeedAsManyPlaces) {
  Other other;
  admission::Load busy = with_queue(idle());
  busy.snapshot.capacity.count = 8 + 3;
  backend_.set_load(full());
  other.backend->set_load(busy);
  start_front(other);
  TestClient client(server_->port());
  client.send(request_text("POST", "/v1/chat/completions",
                           R"({"model":"toy","n":4,"messages":[{"role":"user","content":"hi"}]})"));
  EXPECT_TRUE(eventually([&] { return dispatcher_->stats().waiting == 1; }));
  EXPECT_EQ(client.receive("", milliseconds(200)), "");
  busy.snapshot.capacity.count = 8 + 4;
  other.backend->set_load(busy);
  EXPECT_THAT(client.receive(), HasSubstr("node, world!"));
}

TEST_F(NodesTest, WhatIsAnsweredThereIsChargedHere) {
  Other other;
  backend_.set_load(full());
  api::ServerOptions options;
  options.api_keys = {{.key = "one"}};
  options.api_keys[0].policy.tokens_per_minute = 20;
  options.api_keys[0].policy.concurrent = 1;
  api::ServerOptions node_options;
  node_options.api_keys = {{.key = "front-key"}};
  node_options.api_keys[0].policy.front = true;
  Other strict(node_options);
  start_front({{.url = strict.server->url(), .key = "front-key"}}, std::move(options));
  await_up(1);
  const std::string key = "Authorization: Bearer one\r\n";
  EXPECT_EQ(content(chat("", key)), "node, world!");     // 7 + 4 tokens, 2 of them cached
  EXPECT_EQ(chat(R"("stream":true)", key).status, 200);  // 7 and 5 events or more
  EXPECT_EQ(chat("", key).error().at("code"), "tokens_per_minute_exceeded");
}

}  // namespace
}  // namespace edgewise::nodes
