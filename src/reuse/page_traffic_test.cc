#include "reuse/page_traffic.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <thread>

namespace edgewise::reuse {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kPageBytes = 8192;

// The engine asks for room, copies the page, and offers it; the disk may refuse another one in between.
TEST(PageTraffic, TakesAPageForWhichThereWasRoomBeforeTheDiskFailed) {
  std::string root = (fs::temp_directory_path() / "edgewise-traffic-XXXXXX").string();
  ASSERT_NE(::mkdtemp(root.data()), nullptr);
  const fs::path folder = fs::path(root) / "kv";
  auto store = cache::PageStore::open(folder, kPageBytes, 100 * kPageBytes).value();
  fs::remove_all(root);
  PageTraffic traffic(std::move(store), {}, [] {});
  const auto page = [] {
    return PageTraffic::Offer{.key = {}, .depth = 0, .bytes = std::vector<std::byte>(kPageBytes)};
  };
  ASSERT_TRUE(traffic.has_room());
  traffic.offer(page());
  const auto patience = PageTraffic::Clock::now() + std::chrono::seconds(60);
  while (traffic.has_room() && PageTraffic::Clock::now() < patience) {
    std::this_thread::yield();
  }
  ASSERT_FALSE(traffic.has_room()) << "writing does not pause";
  traffic.offer(page());
  EXPECT_EQ(traffic.stats().written_total, 0);
}

}  // namespace
}  // namespace edgewise::reuse
