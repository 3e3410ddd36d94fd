// Divides a link's bandwidth among the connections that have something to send. No clock, no sockets, no threads:
// every call says what time it is. link_gate.h puts it between the server's connections and their sockets.
//
// A token bucket holds the sum to the link's rate: over any time T at most rate * T + depth() bytes are sent, headers of
// the levels below included as far as they are known (wire_bytes). Whose turn it is, first to last:
//  1. who begins a reply: the first token of a stream, a short reply. A tenth of the link at most;
//  2. who has a deadline and is behind the rate that meets it (virtual clock, L. Zhang, 1990), the earliest deadline first.
//     kReserved of the link at most, so that the others always have something;
//  3. everyone, by weighted fair turns: start-time fair queueing (Goyal, Vin and Cheng, 1996) over the virtual time of WF2Q+
//     (Bennett and Zhang, 1996), twice: groups (API keys) by their shares, then the group's connections by their weights.
// What the first two take counts as taken in the third. Nothing is left unused while somebody waits.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace edgewise::net {

// What `payload` bytes of one write take on the link: packets' IP and TCP headers (52 bytes for each 1,448, with
// timestamps, IPv4), with TLS a record's. Lower levels, acknowledgements and what is sent again are not in it.
std::int64_t wire_bytes(std::int64_t payload, bool is_tls);

// What a reply asks of the link.
struct LinkTerms {
  std::string group = {};    // whose share it takes
  double group_share = 1.0;  // beside the other groups'
  double weight = 1.0;       // beside the others of its group
  std::optional<std::chrono::steady_clock::time_point> deadline = std::nullopt;  // of its last byte
  double expected_bytes = 0.0;  // of the whole reply, as far as can be told before it is there
};

class LinkPacer {
  // Holds what came in at `rate` and was not taken, at most `depth`.
  struct Bucket {
    double rate = 0.0;
    double depth = 0.0;
    double level = 0.0;

    void fill(double seconds);
  };

  // Of connections that share by their weights. Tags are virtual times at which the next bytes are the fair share.
  struct Group {
    double tag = 0.0;
    double share = 1.0;
    int members = 0;            // connections that wait or have a turn
    double weight = 0.0;        // of them
    double virtual_time = 0.0;  // of their turns
  };

 public:
  using Time = std::chrono::steady_clock::time_point;

  // Of the link, for replies with deadlines; what admission may promise.
  static constexpr double kReserved = 0.8;

  // One connection, which sends one reply after the other.
  class Flow {
   public:
    bool has_turn() const { return state_ == State::kTurn; }

    const LinkTerms& terms() const { return terms_; }

   private:
    friend class LinkPacer;
    enum class State { kIdle, kWaiting, kTurn };

    State state_ = State::kIdle;
    LinkTerms terms_;
    double waiting_bytes_ = 0.0;
    double sent_bytes_ = 0.0;  // of this reply
    Group* group_ = nullptr;   // while it waits or has a turn
    double tag_ = 0.0;
    Time due_;                     // when its next bytes should go for its deadline
    std::uint64_t place_ = 0;      // in order of having begun to wait
    Bucket* allowance_ = nullptr;  // that its turn was taken from, beside the link's
  };

  LinkPacer(double bytes_per_s, Time now);

  // Most payload bytes that may be sent in one turn.
  std::int64_t piece() const { return piece_; }

  double depth() const { return depth_; }

  // The flow's next reply, before anything of it is sent, or new terms for the one it is sending.
  void begin_reply(Flow& flow);
  void set_terms(Flow& flow, LinkTerms terms);

  // It has something to send, `bytes` as far as known. Again: there is more now.
  void wait(Flow& flow, std::int64_t bytes, Time now);
  // It has nothing to send after all; a turn goes back.
  void leave(Flow& flow);

  // Whose turn it is, who may then send up to piece() bytes; null: nobody waits, or nobody may before ready_at().
  Flow* next(Time now);
  // When next() will have somebody; nothing: nobody waits.
  std::optional<Time> ready_at(Time now);
  // Ends the turn: `payload` bytes were written, and `rest` more wait for the next one.
  void sent(Flow& flow, std::int64_t payload, std::int64_t rest, bool is_tls, Time now);

  // Bytes that wait, of all connections.
  double waiting_bytes() const;
  // Bytes a second that waiting replies need to meet their deadlines, what is not there yet left out.
  double needed_bytes_per_s(Time now) const;

 private:
  void fill(Time now);
  void line_up(Flow& flow, std::int64_t bytes, Time now);
  void enter(Flow& flow);
  void go(Flow& flow);  // neither waits nor has a turn
  void give_back(Flow& flow, double bytes);
  Flow* choose(Time now);
  Flow* who_begins() const;
  Flow* who_is_behind(Time now) const;
  Flow* fair_turn() const;
  void count_fairly(Flow& flow, double bytes);
  double needed_rate(const Flow& flow, double bytes, Time now) const;

  Bucket link_;
  Bucket beginnings_;
  Bucket reserved_;
  std::int64_t piece_;
  double cost_;  // of a piece, at most
  double depth_;
  Time filled_;
  double virtual_time_ = 0.0;  // of the groups' turns
  double latest_ = 0.0;        // of all groups, their members' virtual time
  std::uint64_t next_place_ = 0;
  std::vector<Flow*> waiting_;
  std::map<std::string, Group> groups_;
};

}  // namespace edgewise::net
