#include "net/link_pacer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <memory>
#include <random>

namespace edgewise::net {
namespace {

using Time = LinkPacer::Time;
using Flow = LinkPacer::Flow;

Time at(double seconds) {
  return Time() + std::chrono::hours(1) +
         std::chrono::round<Time::duration>(std::chrono::duration<double>(seconds));
}

// Connections over a pacer on a clock of the test's own.
class Simulation {
 public:
  struct Client {
    Flow flow;
    std::int64_t pending = 0;  // payload that waits
    double wire = 0.0;         // sent, as it counts on the link
    double last_turn_s = 0.0;  // or when it began to wait
    double longest_wait_s = 0.0;
    double done_s = 0.0;  // when `pending` last became 0
  };

  struct Sent {
    double when_s;
    double bytes;
  };

  explicit Simulation(double rate) : rate_(rate), pacer_(rate, at(0.0)) {}

  Client& add(LinkTerms terms = {}) {
    Client& client = *clients_.emplace_back(std::make_unique<Client>());
    pacer_.begin_reply(client.flow);
    pacer_.set_terms(client.flow, std::move(terms));
    return client;
  }

  void offer(Client& client, std::int64_t bytes) {
    if (client.pending == 0) {
      client.last_turn_s = now_;
    }
    client.pending += bytes;
    pacer_.wait(client.flow, client.pending, at(now_));
  }

  // Lets everything be sent that may be until then.
  void run_until(double seconds) {
    for (;;) {
      const auto ready = pacer_.ready_at(at(now_));
      const double when =
          ready ? std::chrono::duration<double>(*ready - at(0.0)).count() : seconds + 1.0;
      if (when > seconds) {
        break;
      }
      now_ = std::max(now_, when);
      serve();
    }
    now_ = std::max(now_, seconds);
  }

  void serve() {
    while (Flow* flow = pacer_.next(at(now_))) {
      Client& client = **std::find_if(clients_.begin(), clients_.end(),
                                      [&](const auto& c) { return &c->flow == flow; });
      const std::int64_t payload = std::min(client.pending, pacer_.piece());
      pacer_.sent(*flow, payload, client.pending - payload, false, at(now_));
      const auto bytes = static_cast<double>(wire_bytes(payload, false));
      log_.push_back({now_, bytes});
      client.wire += bytes;
      client.pending -= payload;
      client.longest_wait_s = std::max(client.longest_wait_s, now_ - client.last_turn_s);
      client.last_turn_s = now_;
      client.done_s = client.pending > 0 ? client.done_s : now_;
    }
  }

  bool someone_waits() const {
    return std::any_of(clients_.begin(), clients_.end(),
                       [](const auto& client) { return client->pending > 0; });
  }

  double rate_;
  double now_ = 0.0;
  LinkPacer pacer_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::vector<Sent> log_;
};

struct Random {
  explicit Random(unsigned seed) : engine(seed) {}

  double real(double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(engine);
  }

  std::int64_t integer(std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(engine);
  }

  std::mt19937 engine;
};

TEST(WireBytes, CountPacketsAndRecords) {
  EXPECT_EQ(wire_bytes(0, false), 0);
  EXPECT_EQ(wire_bytes(1, false), 53);
  EXPECT_EQ(wire_bytes(1448, false), 1500);
  EXPECT_EQ(wire_bytes(1449, false), 1449 + 2 * 52);
  EXPECT_EQ(wire_bytes(1, true), 1 + 29 + 52);
}

// The bucket, over any window, and that nothing is left unused while somebody waits.
TEST(LinkPacer, KeepsTheRateAndWastesNothingUnderRandomArrivals) {
  for (unsigned seed = 0; seed < 60; ++seed) {
    Random random(seed);
    Simulation link(std::exp(random.real(std::log(4e3), std::log(2e6))));
    const std::int64_t count = random.integer(1, 20);
    for (std::int64_t i = 0; i < count; ++i) {
      LinkTerms terms{.group = std::to_string(random.integer(0, 3)),
                      .weight = std::exp2(static_cast<double>(random.integer(-3, 3)))};
      if (random.integer(0, 2) == 0) {
        terms.deadline = at(random.real(0.1, 10.0));
      }
      link.add(std::move(terms));
    }
    double busy_since = -1.0;
    double sent_before = 0.0;
    const auto sent = [&] {
      double bytes = 0.0;
      for (const auto& [when, count_sent] : link.log_) {
        bytes += count_sent;
      }
      return bytes;
    };
    while (link.now_ < 10.0) {
      auto& client = *link.clients_[static_cast<std::size_t>(random.integer(0, count - 1))];
      link.offer(client, random.integer(1, 2 * link.pacer_.piece()));
      if (busy_since < 0.0) {
        busy_since = link.now_;
        sent_before = sent();
      }
      link.run_until(link.now_ + random.real(0.0, 0.1) * static_cast<double>(random.integer(0, 2)));
      if (link.someone_waits()) {
        const double could = link.rate_ * (link.now_ - busy_since);
        ASSERT_GE(sent() - sent_before, could - link.pacer_.depth() - 1.0) << seed;
      } else {
        busy_since = -1.0;
      }
    }
    // Over all windows that begin and end with something sent: a running least of (bytes before - rate * time).
    double bytes = 0.0;
    double least = 0.0;
    for (const auto& [when, count_sent] : link.log_) {
      least = std::min(least, bytes - link.rate_ * when);
      bytes += count_sent;
      ASSERT_LE(bytes - link.rate_ * when - least, link.pacer_.depth() + 1.0) << seed;
    }
    ASSERT_GT(bytes, 0.0);
  }
}

// Weighted max-min shares by filling water: whoever wants less than the level has all it wants.
std::vector<double> max_min(std::vector<double> wants,
                            const std::vector<double>& weights,
                            double all) {
  std::vector<double> got(wants.size(), 0.0);
  std::vector<bool> is_full(wants.size(), false);
  for (;;) {
    double weight = 0.0;
    for (std::size_t i = 0; i < wants.size(); ++i) {
      weight += is_full[i] ? 0.0 : weights[i];
    }
    bool changed = false;
    for (std::size_t i = 0; i < wants.size(); ++i) {
      if (!is_full[i] && wants[i] <= all * weights[i] / weight) {
        got[i] = wants[i];
        all -= wants[i];
        is_full[i] = changed = true;
        break;
      }
    }
    if (!changed) {
      for (std::size_t i = 0; i < wants.size(); ++i) {
        got[i] = is_full[i] ? got[i] : all * weights[i] / weight;
      }
      return got;
    }
  }
}

TEST(LinkPacer, SharesAreWeightedMaxMin) {
  constexpr double kSeconds = 40.0;
  for (unsigned seed = 0; seed < 20; ++seed) {
    Random random(seed);
    Simulation link(50'000.0);
    const std::int64_t count = random.integer(2, 8);
    std::vector<double> weights;
    std::vector<double> wants;  // wire bytes a second
    std::vector<std::int64_t> pieces;
    for (std::int64_t i = 0; i < count; ++i) {
      weights.push_back(std::exp2(static_cast<double>(random.integer(-1, 2))));
      link.add({.weight = weights.back()});
      pieces.push_back(random.integer(50, 1400));
      wants.push_back(static_cast<double>(wire_bytes(pieces.back(), false)) / 0.05);
    }
    for (int tick = 0; tick < static_cast<int>(kSeconds / 0.05); ++tick) {
      for (std::size_t i = 0; i < pieces.size(); ++i) {
        link.offer(*link.clients_[i], pieces[i]);
      }
      link.run_until(0.05 * (tick + 1));
    }
    const std::vector<double> fair = max_min(wants, weights, link.rate_);
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      // Merged pieces have fewer headers, so who wants little may need less than he was thought to.
      const double got = link.clients_[i]->wire / kSeconds;
      EXPECT_NEAR(got, fair[i], 0.06 * fair[i] + 400.0) << "seed " << seed << ", client " << i;
    }
  }
}

TEST(LinkPacer, AKeyGetsItsShareHoweverManyConnectionsItHas) {
  Simulation link(50'000.0);
  auto& one = link.add({.group = "a"});
  for (int i = 0; i < 9; ++i) {
    link.add({.group = "b"});
  }
  auto& two = link.add({.group = "c", .group_share = 2.0});
  for (const auto& client : link.clients_) {
    link.offer(*client, 10'000'000);
  }
  link.run_until(40.0);
  const double all = link.rate_ * 40.0;
  EXPECT_NEAR(one.wire, all / 4.0, 0.02 * all);
  EXPECT_NEAR(two.wire, all / 2.0, 0.02 * all);
}

// Who needs what admission may promise gets it, whatever the others do; and they get the rest.
TEST(LinkPacer, NeededSharesAreKept) {
  int tight = 0;
  for (unsigned seed = 0; seed < 60; ++seed) {
    Random random(100 + seed);
    Simulation link(random.real(10'000.0, 100'000.0));
    double promised = 0.0;
    std::vector<std::pair<Simulation::Client*, double>> urgent;
    for (;;) {
      const double deadline = random.real(2.0, 20.0);
      const std::int64_t bytes = random.integer(1'000, 60'000);
      // In the pacer's terms: of nine tenths of the time, and some milliseconds less.
      const double share = static_cast<double>(wire_bytes(bytes, false)) * 1.1 /
                           (0.9 * deadline - 0.05) / link.rate_;
      if (promised + share > LinkPacer::kReserved || urgent.size() > 30) {
        break;
      }
      promised += share;
      auto& client =
          link.add({.deadline = at(deadline), .expected_bytes = static_cast<double>(bytes)});
      urgent.emplace_back(&client, deadline);
      link.offer(client, bytes);
    }
    for (std::int64_t i = random.integer(1, 30); i > 0; --i) {
      link.offer(link.add({.weight = 8.0}), 100'000'000);
    }
    tight += promised > 0.5 ? 1 : 0;
    link.run_until(25.0);
    for (const auto& [client, deadline] : urgent) {
      EXPECT_EQ(client->pending, 0) << seed;
      EXPECT_LE(client->done_s, deadline) << seed;
    }
  }
  EXPECT_GT(tight, 20);
}

TEST(LinkPacer, BeginningsGoFirst) {
  Simulation link(32'000.0);
  for (int i = 0; i < 30; ++i) {
    link.offer(link.add(), 1'000'000);
  }
  link.run_until(20.0);
  auto& late = link.add();
  link.offer(late, 600);
  link.run_until(20.2);
  EXPECT_EQ(late.pending, 0);
  EXPECT_LE(late.longest_wait_s, 0.1);  // two pieces; thirty would take 1.4 s
}

// However many come anew, and whatever they are promised, everyone who waits is served.
TEST(LinkPacer, NobodyStarves) {
  for (unsigned seed = 0; seed < 10; ++seed) {
    Random random(seed);
    Simulation link(32'000.0);
    constexpr int kPatient = 5;
    for (int i = 0; i < kPatient; ++i) {
      link.offer(link.add(), 1'000'000'000);
    }
    while (link.now_ < 60.0) {
      LinkTerms terms;
      if (random.integer(0, 1) == 0) {  // far more than the link can do
        terms.deadline = at(link.now_ + random.real(0.1, 5.0));
        terms.expected_bytes = 100'000.0;
      }
      link.offer(link.add(std::move(terms)), random.integer(100, 20'000));
      link.run_until(link.now_ + random.real(0.0, 0.3));
    }
    for (int i = 0; i < kPatient; ++i) {
      const auto& client = *link.clients_[static_cast<std::size_t>(i)];
      EXPECT_GT(client.wire, 3'000.0) << seed;
      EXPECT_LE(std::max(client.longest_wait_s, link.now_ - client.last_turn_s), 45.0) << seed;
    }
  }
}

TEST(LinkPacer, WhatLeavesGivesItsTurnBack) {
  Simulation link(10'000.0);
  auto& gone = link.add();
  auto& stays = link.add();
  link.offer(gone, 5'000);
  link.offer(stays, 100);
  Flow* turn = link.pacer_.next(at(0.0));
  ASSERT_EQ(turn, &gone.flow);
  link.pacer_.leave(*turn);
  gone.pending = 0;
  link.pacer_.leave(*turn);  // again: nothing
  EXPECT_FALSE(gone.flow.has_turn());
  link.serve();
  EXPECT_EQ(link.log_.size(), 1U);  // the one that stays
  EXPECT_EQ(stays.pending, 0);
  EXPECT_EQ(link.pacer_.waiting_bytes(), 0.0);
  EXPECT_FALSE(link.pacer_.ready_at(at(1.0)));
}

TEST(LinkPacer, SaysWhatWaitingRepliesNeed) {
  Simulation link(10'000.0);
  auto& urgent = link.add({.deadline = at(10.0)});
  link.offer(link.add(), 50'000);
  link.offer(urgent, 8'950);  // of 0.9 * 10 s - 50 ms
  EXPECT_NEAR(link.pacer_.needed_bytes_per_s(at(0.0)), 1'000.0, 1.0);
  EXPECT_EQ(link.pacer_.needed_bytes_per_s(at(11.0)), 0.0);
  EXPECT_EQ(link.pacer_.waiting_bytes(), 58'950.0);
}

}  // namespace
}  // namespace edgewise::net
