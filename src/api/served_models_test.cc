// Several models in one server, and groups of quantizations, of which the server chooses.
#include "api/server_fixture.h"

namespace edgewise::api {
namespace {

namespace json = boost::json;
using testing::HasSubstr;

TEST_F(ServerTest, ListsItsModel) {
  start();
  const json::value list = call("GET", "/v1/models").json();
  EXPECT_EQ(
      json::serialize(list),
      R"({"object":"list","data":[{"id":"toy","object":"model","created":1700000000,"owned_by":"edgewise"}]})");
  EXPECT_EQ(call("GET", "/v1/models/toy.gguf").json().at("id"), "toy");
  const HttpReply unknown = call("GET", "/v1/models/gpt%2F4");
  EXPECT_EQ(unknown.status, 404);
  EXPECT_EQ(unknown.error().at("code"), "model_not_found");
  EXPECT_THAT(std::string(unknown.error().at("message").as_string()), HasSubstr("gpt/4"));
}

TEST_F(ServerTest, AsksTheModelThatIsNamed) {
  FakeBackend& other = add_model("other");
  other.card_.vocab = 1000;
  other.script_.resize(1);
  other.script_[0].content = "Yes";
  start();
  EXPECT_EQ(call("GET", "/v1/models").json().at("data").as_array().size(), 2U);
  EXPECT_EQ(call("GET", "/v1/models/other").json().at("id"), "other");

  const HttpReply first = chat();
  EXPECT_EQ(first.json().at("model"), "toy");
  const HttpReply second = chat_with("other", R"("logit_bias":{"900":1})");
  EXPECT_EQ(second.json().at("model"), "other");
  EXPECT_EQ(second.json().at("choices").at(0).at("message").at("content"), "Yes");
  EXPECT_EQ(chat(R"("logit_bias":{"900":1})").status, 400);  // each with its own vocabulary
  EXPECT_EQ(backend_.chats_.size(), 1U);
  EXPECT_EQ(other.chats_.size(), 1U);

  const HttpReply text =
      call("POST", "/v1/completions", R"({"model":"other","prompt":"x","stream":true})");
  EXPECT_THAT(events_of(text.body)[0], HasSubstr("\"model\":\"other\""));

  const HttpReply unknown = chat_with("third");
  EXPECT_EQ(unknown.status, 404);
  EXPECT_EQ(unknown.error().at("code"), "model_not_found");
  EXPECT_THAT(std::string(unknown.error().at("message").as_string()),
              HasSubstr("\"toy\", \"other\""));
  EXPECT_LT(chat_with(std::string(100'000, 'x')).body.size(), 1000U);
  EXPECT_EQ(chat_with("toy.gguf").status, 404);  // both files are called so
  EXPECT_EQ(call("POST", "/v1/chat/completions", R"({"messages":[]})").error().at("param"),
            "model");
}

TEST_F(ServerTest, AnEmbeddingModelBesideOneThatChats) {
  FakeBackend& other = add_model("vectors");
  other.card_.generates = false;
  other.card_.embeds = true;
  other.card_.has_chat_template = false;
  start();
  const HttpReply vectors = call("POST", "/v1/embeddings",
                                 R"({"model":"vectors","input":"ab","encoding_format":"float"})");
  EXPECT_EQ(vectors.json().at("model"), "vectors");
  EXPECT_EQ(chat().status, 200);
  EXPECT_EQ(call("POST", "/v1/embeddings", R"({"model":"toy","input":"ab"})").status, 400);
  EXPECT_EQ(chat_with("vectors").status, 400);
  const std::string metrics = call("GET", "/metrics").body;
  EXPECT_THAT(metrics, HasSubstr("edgewise_tokens_total{kind=\"prompt\",model=\"vectors\"} 2"));
  EXPECT_THAT(metrics, HasSubstr("edgewise_tokens_total{kind=\"prompt\",model=\"toy\"} 7"));
  EXPECT_THAT(metrics, HasSubstr("vllm:num_requests_running{model_name=\"vectors\"} 0"));
  EXPECT_THAT(metrics, HasSubstr("edgewise_info{model=\"vectors\"} 1"));
}

TEST_F(ServerTest, AClientThatGoesAwayCancelsInItsOwnModel) {
  FakeBackend& other = add_model("other");
  other.waits_ = true;
  start();
  {
    TestClient client(server_->port());
    client.send(
        request_text("POST", "/v1/completions", R"({"model":"other","prompt":"x","stream":true})"));
    EXPECT_TRUE(eventually([&] { return other.running_ == 1; }));
  }
  EXPECT_TRUE(eventually([&] { return other.running_ == 0; }));
  EXPECT_EQ(other.cancelled().size(), 1U);
  EXPECT_TRUE(backend_.cancelled().empty());
}

TEST_F(ServerTest, TwoModelsOfOneNameAreAMistake) {
  add_model("toy");
  std::vector<std::shared_ptr<Backend>> backends = {owned_, others_[0]};
  const auto server = Server::create(std::move(backends), {});
  ASSERT_FALSE(server);
  EXPECT_THAT(server.error().message, HasSubstr("--alias"));
}

class GroupTest : public ServerTest {
 protected:
  GroupTest() : large_(add_model("large")) {
    backend_.card_.group = large_.card_.group = "group";
    backend_.card_.accuracy = 0.93;
    large_.card_.accuracy = 0.99;
    backend_.forecast_ = {.finish_s = 1.0, .late_s = -1.0, .machine_s = 0.5};
    large_.forecast_ = {.finish_s = 2.0, .late_s = -1.0, .machine_s = 0.9};
  }

  std::string who_answers(std::string_view more = "", std::string_view headers = "") {
    const HttpReply reply = chat_with("group", more, headers);
    EXPECT_EQ(reply.status, 200) << reply.body;
    return reply.status == 200 ? std::string(reply.json().at("model").as_string()) : reply.body;
  }

  FakeBackend& large_;
};

TEST_F(GroupTest, TheCheapestThatIsAccurateEnough) {
  start();
  EXPECT_EQ(who_answers(), "toy");
  EXPECT_EQ(who_answers(R"("min_accuracy":0.93)"), "toy");
  EXPECT_EQ(who_answers(R"("min_accuracy":0.95)"), "large");
  EXPECT_EQ(who_answers("", "X-Edgewise-Min-Accuracy: 0.95\r\n"), "large");
  EXPECT_EQ(who_answers(R"("stream":false,"n":2)"), "toy");
  const HttpReply nobody = chat_with("group", R"("min_accuracy":0.995)");
  EXPECT_EQ(nobody.status, 400);
  EXPECT_EQ(nobody.error().at("code"), "accuracy_unavailable");
  EXPECT_THAT(std::string(nobody.error().at("message").as_string()), HasSubstr("0.99"));
  large_.forecast_.machine_s = 0.1;  // others run there already
  EXPECT_EQ(who_answers(), "large");
  EXPECT_EQ(chat_with("toy").json().at("model"), "toy");  // who is named answers
}

TEST_F(GroupTest, InTimeGoesBeforeCheap) {
  start();
  backend_.forecast_.late_s = 0.5;
  EXPECT_EQ(who_answers(R"("deadline_ms":5000)"), "large");
  large_.forecast_.late_s = 0.4;  // nobody in time: the least late, and its admission decides
  EXPECT_EQ(who_answers(R"("deadline_ms":5000)"), "large");
  large_.forecast_.late_s = 0.6;
  EXPECT_EQ(who_answers(R"("deadline_ms":5000)"), "toy");
  EXPECT_EQ(who_answers(R"("deadline_ms":5000,"min_accuracy":0.95)"), "large");
}

TEST_F(GroupTest, TheForecastIsOfThisRequest) {
  start();
  who_answers(R"("deadline_ms":5000,"max_tokens":9,"ignore_eos":true)");
  call("POST", "/v1/completions",
       R"({"model":"group","prompt":["ab","abcde"],"max_tokens":3,"first_token_deadline_ms":700})");
  ASSERT_EQ(backend_.asked_forecasts_.size(), 2U);
  const admission::Prospect& of_chat = backend_.asked_forecasts_[0];
  EXPECT_EQ(of_chat.prompt_tokens, 7);
  EXPECT_EQ(of_chat.max_tokens, 9);
  EXPECT_TRUE(of_chat.ignore_eos);
  EXPECT_TRUE(of_chat.deadline.has_value());
  const admission::Prospect& of_text = backend_.asked_forecasts_[1];
  EXPECT_EQ(of_text.prompt_tokens, 5);
  EXPECT_TRUE(of_text.first_token_deadline.has_value());
}

TEST_F(GroupTest, IsListedAndCounted) {
  start();
  const json::value list = call("GET", "/v1/models").json();
  ASSERT_EQ(list.at("data").as_array().size(), 3U);
  EXPECT_EQ(list.at("data").at(2).at("id"), "group");
  EXPECT_EQ(call("GET", "/v1/models/group").json().at("id"), "group");
  EXPECT_EQ(who_answers(R"("min_accuracy":0.95)"), "large");
  EXPECT_THAT(call("GET", "/metrics").body,
              HasSubstr("edgewise_tokens_total{kind=\"completion\",model=\"large\"} 4"));
}

TEST_F(GroupTest, HasMembersOfOneKindAndANameOfItsOwn) {
  const auto complaint = [&] {
    std::vector<std::shared_ptr<Backend>> backends = {owned_, others_[0]};
    const auto server = Server::create(std::move(backends), {});
    return server ? std::string() : server.error().message;
  };
  EXPECT_EQ(complaint(), "");
  large_.card_.vocab += 1;
  EXPECT_THAT(complaint(), HasSubstr("no quantizations of one model"));
  large_.card_.vocab -= 1;
  large_.card_.group = backend_.card_.group = "toy";
  EXPECT_THAT(complaint(), HasSubstr("name of a model"));
  large_.card_.group = backend_.card_.group = "vectors";
  backend_.card_.generates = false;
  EXPECT_THAT(complaint(), HasSubstr("embeddings"));
}

}  // namespace
}  // namespace edgewise::api
