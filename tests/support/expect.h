// SPDX-License-Identifier: Apache-2.0
//
// Results in GoogleTest: value_of() ends the test by exception with the error's message; EXPECT_OK
// and EXPECT_CODE are for the rest. Any thread.
#pragma once

#include <stdexcept>

#include <gtest/gtest.h>

#include "store/base/result.h"

namespace bygone::test {

template <class T>
T value_of(Result<T> result) {
  if (!result.ok()) throw std::runtime_error("unexpected error: " + result.error().message);
  if constexpr (!std::is_void_v<T>) return std::move(result).value();
}

template <class T>
testing::AssertionResult is_ok(const Result<T>& result) {
  if (result.ok()) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "error: " << result.error().message;
}

template <class T>
testing::AssertionResult fails_with(Code code, const Result<T>& result) {
  if (result.ok()) return testing::AssertionFailure() << "no error";
  if (result.error().code == code) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "another error, " << static_cast<int>(result.error().code)
                                     << ": " << result.error().message;
}

}  // namespace bygone::test

#define EXPECT_OK(...) EXPECT_TRUE(::bygone::test::is_ok(__VA_ARGS__))
#define ASSERT_OK(...) ASSERT_TRUE(::bygone::test::is_ok(__VA_ARGS__))
#define EXPECT_CODE(code, ...) EXPECT_TRUE(::bygone::test::fails_with(code, __VA_ARGS__))
