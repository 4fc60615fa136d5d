// SPDX-License-Identifier: Apache-2.0
//
// What the tests of freezing and thawing share: an engine with two containers, a state folder of
// their own, and the journal of a process that was killed.
#pragma once

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "ingest/freeze.h"
#include "tests/support/fake_engine.h"

namespace bygone::ingest {

using docker::FakeEngine;
using docker::Status;

inline const Error kUnableToFreeze{Code::io, 0, "OCI runtime pause failed: unable to freeze"};
inline const Error kGone{Code::unavailable, 0, "the engine does not answer"};
inline constexpr const char* kStarted = "2024-01-01T00:00:00Z";

inline Writer writer(const std::string& id) {
  return {.id = id, .name = id + "-name", .started_at = kStarted};
}

using Strings = std::vector<std::string>;

class Freeze : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "freeze-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
    state_ = root_ + "/deep/state";
    engine_.add("db");
    engine_.add("web");
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  std::unique_ptr<Freezer> freezer() {
    return std::make_unique<Freezer>(engine_, state_, [this] { return now_ += kSecond; });
  }

  std::vector<std::string> journals() {
    auto paths = intent_journals(freeze_folder(state_));
    EXPECT_TRUE(paths.ok());
    return paths.ok() ? *paths : std::vector<std::string>{};
  }

  // Ids in the only journal.
  std::vector<std::string> listed() {
    const auto paths = journals();
    EXPECT_EQ(paths.size(), 1U);
    if (paths.size() != 1) return {};
    const auto text = read_file(system_files(), paths[0], 1 << 20);
    const auto record = decode_freeze_record(as_text(*text));
    EXPECT_TRUE(record.ok()) << as_text(*text);
    std::vector<std::string> ids;
    for (const auto& container : record->containers) ids.push_back(container.id);
    return ids;
  }

  // The journal of a process that was killed: its lock is gone, its file is not.
  void leave_journal(const std::vector<std::string>& ids, const std::string& engine = "") {
    FreezeRecord record{
        .engine = engine.empty() ? engine_.address() : engine, .time = 1, .containers = {}};
    for (const auto& id : ids) record.containers.push_back({id, id + "-name", kStarted});
    ASSERT_TRUE(FreezeJournal::create(state_, record).ok());
  }

  std::string root_;
  std::string state_;
  FakeEngine engine_;
  std::atomic<Nanoseconds> now_{1000 * kSecond};
};

}  // namespace bygone::ingest
