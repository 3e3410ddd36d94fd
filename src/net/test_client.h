// For tests: a plain blocking socket, which says exactly the bytes it is told to and hangs up in any way
// it is told to, and what is done with what it receives.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

namespace edgewise::net {

class TestClient {
 public:
  explicit TestClient(std::uint16_t port, int receive_buffer = 0)
      : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    if (receive_buffer > 0) {
      ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    }
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      throw std::runtime_error("connect failed");
    }
  }

  TestClient(const TestClient&) = delete;
  TestClient& operator=(const TestClient&) = delete;

  ~TestClient() { hang_up(); }

  void hang_up() {
    if (fd_ >= 0) {
      ::close(fd_);
    }
    fd_ = -1;
  }

  void reset() {  // RST instead of FIN
    const linger abrupt{1, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &abrupt, sizeof abrupt);
    hang_up();
  }

  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) {
        return false;
      }
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }

  // What arrives until the server closes, `until` was seen, or the time is over.
  std::string receive(std::string_view until = "",
                      std::chrono::milliseconds limit = std::chrono::seconds(10)) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    closed_ = false;
    for (;;) {
      if (!until.empty()) {
        const std::size_t at = pending_.find(until);
        if (at != std::string::npos) {
          std::string result = pending_.substr(0, at + until.size());
          pending_.erase(0, at + until.size());
          return result;
        }
      }
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
          deadline - std::chrono::steady_clock::now());
      pollfd poll{fd_, POLLIN, 0};
      if (left.count() <= 0 || ::poll(&poll, 1, static_cast<int>(left.count())) <= 0) {
        return std::exchange(pending_, {});
      }
      char buffer[16384];
      const ssize_t n = ::recv(fd_, buffer, sizeof buffer, 0);
      if (n <= 0) {
        closed_ = true;
        return std::exchange(pending_, {});
      }
      pending_.append(buffer, static_cast<std::size_t>(n));
    }
  }

  bool was_closed() const { return closed_; }  // by the server, during the last receive()

 private:
  int fd_;
  std::string pending_;
  bool closed_ = false;
};

// What a body with `Transfer-Encoding: chunked` says.
inline std::string without_chunks(std::string_view body) {
  std::string text;
  while (!body.empty()) {
    const std::size_t line = body.find("\r\n");
    if (line == std::string_view::npos) {
      throw std::runtime_error("a chunk has no length");
    }
    const std::size_t size = std::stoul(std::string(body.substr(0, line)), nullptr, 16);
    text += body.substr(line + 2, size);
    body.remove_prefix(std::min(body.size(), line + 2 + size + 2));
  }
  return text;
}

// Waits for something that another thread brings about. False: it did not, within `limit`.
template <typename Predicate>
bool eventually(Predicate predicate, std::chrono::milliseconds limit = std::chrono::seconds(10)) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (!predicate()) {
    if (std::chrono::steady_clock::now() > deadline) {
      return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

}  // namespace edgewise::net
