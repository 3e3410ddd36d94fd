#include "base/result.h"

#include <gtest/gtest.h>

namespace edgewise {
namespace {

Result<int> half(int n) {
  if (n % 2 != 0) {
    return fail(ErrorCode::kInvalidArgument, "{} is odd", n);
  }
  return n / 2;
}

Result<int> quarter(int n) {
  return TRY(half(TRY(half(n))));
}

TEST(Result, TryPassesTheValueOn) {
  EXPECT_EQ(quarter(12).value(), 3);
}

TEST(Result, TryReturnsTheFirstError) {
  const Result<int> result = quarter(6);
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().message, "3 is odd");
}

TEST(Result, WrapSaysWhatWasBeingDone) {
  const Result<int> result = wrap(half(3).error(), "splitting the bill");
  EXPECT_EQ(result.error().message, "splitting the bill: 3 is odd");
}

}  // namespace
}  // namespace edgewise
