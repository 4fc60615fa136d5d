// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <filesystem>

#include <gtest/gtest.h>

#include "tests/store/fold_fixture.h"
#include "tests/support/faulty_files.h"
#include "tests/support/torture.h"

namespace bygone::store {
namespace {

using test::Call;
using test::FaultyFiles;
using test::PowerCutFiles;

// Every call of folding fails, the process dies there, and the power goes there: all that is gone
// stays accounted for, what is there keeps what is said of it, and the next folding ends the work.
class FoldCrash : public FoldTest {
 protected:
  static constexpr std::size_t kListed = 2;
  static constexpr std::size_t kLeft = 3;  // the list, a pin, what explains the gap before number 8

  void SetUp() override {
    all_ = back_up_many(8);
    remove({all_[0], all_[1], all_[2]});
    fold(kListed);
    say(*pin_note(notes(), all_[3].id, Pinning::pin));
    say(*pin_note(notes(), all_[3].id, Pinning::unpin));
    say(*tag_note(notes(), all_[4], Tagging::add, "t"));
    say(*pin_note(notes(), all_[7].id, Pinning::pin));
    trash({all_[3], all_[4]});
    remove({all_[3], all_[4], all_[5], all_[6]});
    repository_.reset();
    filesystem::remove(path_ + "/reserve");  // 8 MiB to copy each time
    filesystem::remove_all(path_ + "/index");
    filesystem::create_directory(path_ + "/index");
  }

  // What is wrong, empty when nothing is.
  std::string fault_of(const std::string& path) {
    repository_ = test::reopen(path, folder_ / "index2");
    std::string fault;
    for (const bool again : {false, true}) {
      if (again) {
        const auto folded = fold_notes(*repository_, now_ + kSecond, kListed);
        if (!folded) fault = folded.error().message;
      }
      const Notes notes = value_of(read_notes(*repository_));
      if (!notes.unreadable().empty()) fault = notes.unreadable().front();
      for (std::size_t i = 0; i < 7; ++i) {
        if (!accounts_for(all_[i])) fault = "nothing tells that one was removed on purpose";
      }
      if (!is_pinned(notes, all_[7].id)) fault = "a pin is lost";
      for (const std::string& line : damage()) fault = line;
      if (fault.empty() && again && notes.size() + notes.superseded().size() != kLeft) {
        fault = "notes are left over";
      }
    }
    repository_.reset();
    filesystem::remove_all(folder_ / "index2");
    return fault;
  }

  struct Attack {
    std::string fault;
    bool fired = false;
  };
  // The n-th call fails. Then the power goes: no new name that nobody synced is left, and of what
  // was removed nothing, synced or not: the worst of both; or all names are, or some of all.
  Attack attack(std::size_t n, FaultyFiles::Then then, const PowerCutFiles::Lies& lies = {}) {
    const std::string root = folder_ / "disk";
    filesystem::create_directory(root);
    filesystem::copy(path_, root + "/repo", filesystem::copy_options::recursive);
    PowerCutFiles disk(system_files(), root);
    if (lies) disk.lie_about(lies);
    FaultyFiles files(disk);
    repository_ = value_of(Repository::open(root + "/repo", test::key_file(),
                                            {.index_dir = folder_ / "index", .files = &files}));
    files.fail_at(n, n % 2 == 0 ? EIO : ENOSPC, then);
    const auto done = fold_notes(*repository_, now_, kListed);
    repository_.reset();
    Attack result{.fault = "", .fired = files.fired()};
    if (!done && !files.fired()) result.fault = done.error().message;
    const auto look = [&](const std::string& path) {
      if (result.fault.empty()) result.fault = fault_of(path);
    };
    for (const auto unsynced : {PowerCutFiles::Unsynced::names, PowerCutFiles::Unsynced::some}) {
      disk.cut(folder_ / "after", unsynced);
      look(folder_ / "after/repo");
      filesystem::remove_all(folder_ / "after");
    }
    disk.cut(folder_ / "after", PowerCutFiles::Unsynced::nothing);
    for (const auto& each : filesystem::directory_iterator(folder_ / "after/repo/notes")) {
      const auto live = root + "/repo/notes/" + each.path().filename().string();
      if (!filesystem::exists(live)) filesystem::remove(each.path());
    }
    look(folder_ / "after/repo");
    look(root + "/repo");
    for (const char* name : {"disk", "after", "index"}) filesystem::remove_all(folder_ / name);
    return result;
  }

  std::vector<Snapshot> all_;
};

TEST_F(FoldCrash, LosesNothingAtAnyCall) {
  for (const auto then : {FaultyFiles::Then::recover, FaultyFiles::Then::stay_dead}) {
    for (std::size_t n = 1;; n += test::kCallStride) {
      SCOPED_TRACE(n);
      const Attack result = attack(n, then);
      ASSERT_EQ(result.fault, "");
      if (result.fired) continue;
      EXPECT_GT(n, 40u);
      break;
    }
  }
}

TEST_F(FoldCrash, NeedsTheSyncsOfTheList) {
  const auto whole = [this](const PowerCutFiles::Lies& lies) {
    return attack(SIZE_MAX, FaultyFiles::Then::recover, lies).fault;
  };
  EXPECT_EQ(whole({}), "");
  EXPECT_NE(whole([](Call call, const std::string& path) {
              return call == Call::sync_directory && path.ends_with("/notes");
            }),
            "");
  EXPECT_NE(whole([](Call call, const std::string&) { return call == Call::sync_data; }), "");
}

}  // namespace
}  // namespace bygone::store
