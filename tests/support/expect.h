// SPDX-License-Identifier: Apache-2.0
//
// Results in GoogleTest: value_of() fails the test with the error's message and ends the program's
// test by exception; EXPECT_OK and EXPECT_CODE are for the rest.
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
std::string message_of(const Result<T>& result) {
  return result.ok() ? "no error" : result.error().message;
}

}  // namespace bygone::test

#define EXPECT_OK(...)                                                            \
  do {                                                                            \
    const auto& bygone_result = (__VA_ARGS__);                                    \
    EXPECT_TRUE(bygone_result.ok()) << ::bygone::test::message_of(bygone_result); \
  } while (false)
#define ASSERT_OK(...)                                                            \
  do {                                                                            \
    const auto& bygone_result = (__VA_ARGS__);                                    \
    ASSERT_TRUE(bygone_result.ok()) << ::bygone::test::message_of(bygone_result); \
  } while (false)
#define EXPECT_CODE(wanted, ...)                                                        \
  do {                                                                                  \
    const auto& bygone_result = (__VA_ARGS__);                                          \
    EXPECT_FALSE(bygone_result.ok()) << #__VA_ARGS__;                                   \
    if (!bygone_result.ok()) {                                                          \
      EXPECT_EQ(static_cast<int>(bygone_result.error().code), static_cast<int>(wanted)) \
          << bygone_result.error().message;                                             \
    }                                                                                   \
  } while (false)
