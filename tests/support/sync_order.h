// SPDX-License-Identifier: Apache-2.0
//
// For tests that leave out each sync of a piece of work in turn and want to see harm: which sync it
// was, and all the moments at which the power may go. One thread.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/faulty_files.h"

namespace bygone::test {

// Calls `look` before each call that changes what a power cut would leave. To be put in front of
// PowerCutFiles.
class ChangingFiles final : public WatchedFiles {
 public:
  using WatchedFiles::WatchedFiles;
  std::function<void()> look;

  // Takes out of `after`, which a cut of `root` left, all that was removed, or what was last: what
  // nobody synced may have reached the disk all the same.
  void apply_removals(const std::string& root, const std::string& after) const {
    for (const std::string& path : removed_) apply_removal(path, root, after);
  }
  void apply_last_removal(const std::string& root, const std::string& after) const {
    if (!removed_.empty()) apply_removal(removed_.back(), root, after);
  }

 protected:
  Result<void> before(Call call, const std::string& path) override {
    const bool changes = call == Call::sync_data || call == Call::sync_directory ||
                         call == Call::rename || call == Call::remove ||
                         call == Call::make_directory;
    if (changes && look) look();
    if (call == Call::remove) removed_.push_back(path);
    return {};
  }

 private:
  static void apply_removal(const std::string& path, const std::string& root,
                            const std::string& after) {
    if (!path.starts_with(root + "/") || std::filesystem::exists(path)) return;
    std::filesystem::remove(after + path.substr(root.size()));
  }

  std::vector<std::string> removed_;
};

// A lie about the n-th sync alone (1 is the first). Those that follow on each other under one name
// which ends in a star count as one: the buckets of several packs.
class LeftOutSync {
 public:
  using NameOf = std::function<std::string(Call call, const std::string& path)>;
  explicit LeftOutSync(std::size_t n, NameOf name_of = whole_name)
      : state_(std::make_shared<State>()) {
    state_->n = n;
    state_->name_of = std::move(name_of);
  }

  static std::string whole_name(Call call, const std::string& path) {
    return std::string(call == Call::sync_data ? "data of " : "folder ") + path;
  }

  [[nodiscard]] PowerCutFiles::Lies lies() const {
    return [state = state_](Call call, const std::string& path) {
      std::string name = state->name_of(call, path);
      if (name != state->last || !name.ends_with('*')) ++state->seen;
      state->last = std::move(name);
      if (state->seen == state->n) state->told = state->last;
      return state->seen == state->n;
    };
  }
  // False for n = 0: nothing is left out.
  [[nodiscard]] bool is_one() const { return state_->n > 0; }
  [[nodiscard]] bool is_told() const { return !state_->told.empty(); }
  [[nodiscard]] const std::string& what() const { return state_->told; }

 private:
  struct State {
    std::size_t n = 0, seen = 0;
    NameOf name_of;
    std::string last, told;
  };
  std::shared_ptr<State> state_;
};

}  // namespace bygone::test
