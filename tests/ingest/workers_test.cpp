// SPDX-License-Identifier: Apache-2.0
//
// What the daemon makes of a container that goes while it is backed up.
#include "ingest/daemon/workers.h"

#include "tests/ingest/backup_fixture.h"
#include "tests/support/expect.h"
#include "tests/support/listed_engine.h"

namespace bygone::ingest {
namespace {

class Vanishing : public BackupTest {
 protected:
  Vanishing() : listed_(std::make_shared<test::ListedEngine>()) {
    listed_->identity = {.id = "ENGINE", .name = "host", .root_dir = root_ + "/docker"};
    put('1');
    std::vector<Problem> problems;
    config_ =
        std::make_shared<const Config>(test::value_of(parse_config("", "f", "UTC", problems)));
    known_ = test::value_of(plan(*listed_, {.all = true, .names = {}}, no_names, *config_));
  }

  static std::map<std::string, std::string> no_names(store::SourceKind, const std::string&,
                                                     const std::string&) {
    return {};
  }
  std::string data_of(char number) const {
    return root_ + "/docker/volumes/" + std::string(64, number) + "/_data";
  }
  // `docker run --name x -v /data`, which has ended: the container of this number, in the place of
  // the one before.
  void put(char number) {
    docker::Volume volume;
    volume.name = std::string(64, number);
    volume.driver = "local";
    volume.mountpoint = data_of(number);
    stdfs::create_directories(volume.mountpoint);
    docker::Container container;
    container.id = std::string(64, number);
    container.name = "x";
    container.json = "{}";
    container.state.status = docker::Status::exited;
    container.mounts = {{docker::MountType::volume, "volume", volume.name, volume.mountpoint,
                         "/data", "local", true}};
    listed_->listed_volumes = {volume};
    listed_->all = {container};
  }
  // `act` happens when the container was looked at, and its data not yet.
  SourceOutcome back_up_while(const std::function<void()>& act, const std::string& group) {
    History history(*repository_);
    BackupSetup setup{.repository = *repository_,
                      .history = history,
                      .cancel = cancel_,
                      .state_folder = folder_ / "state",
                      .off_limits = {}};
    listed_->inspected.clear();
    bool has_happened = false;
    setup.clock = [&] {
      if (!listed_->inspected.empty() && !std::exchange(has_happened, true)) act();
      return system_now();
    };
    SessionKeeper keeper(setup);
    const Work work{.run = {.group = group, .keys = {key_of(known_.at(0).source)}},
                    .sources = known_,
                    .engine = listed_,
                    .config = config_,
                    .limiter = std::make_shared<Limiter>(config_->limit_read)};
    auto outcomes = back_up(setup, work, keeper);
    EXPECT_TRUE(has_happened);
    return std::move(outcomes.at(0));
  }

  const std::string root_ = stdfs::canonical(folder_.path());
  const std::shared_ptr<test::ListedEngine> listed_;
  std::shared_ptr<const Config> config_;
  std::vector<Planned> known_;
};

TEST_F(Vanishing, IsGoneWhenAnotherHasItsName) {
  for (const char* group : {"", "shop"}) {
    put('1');
    const auto outcome = back_up_while(
        [&] {
          stdfs::remove_all(data_of('1'));
          put('2');
        },
        group);
    EXPECT_CODE(Code::not_found, outcome.report);
    EXPECT_TRUE(outcome.is_gone) << group;
  }
}

TEST_F(Vanishing, IsAFailureWhenAPartOfItIsMissing) {
  for (const char* group : {"", "shop"}) {
    put('1');
    const auto lose = [&] { stdfs::remove_all(data_of('1')); };
    const auto outcome = back_up_while(lose, group);
    EXPECT_CODE(Code::not_found, outcome.report);
    EXPECT_FALSE(outcome.is_gone) << group;
  }
}

// What is compared is what was tried, not what was seen an hour before.
TEST_F(Vanishing, IsAFailureOfTheOneThatTookItsPlaceBefore) {
  put('2');
  const auto outcome = back_up_while([&] { stdfs::remove_all(data_of('2')); }, "");
  EXPECT_CODE(Code::not_found, outcome.report);
  EXPECT_FALSE(outcome.is_gone);
}

TEST_F(Vanishing, IsGoneWhenNothingHasItsName) {
  const auto outcome = back_up_while(
      [&] {
        stdfs::remove_all(data_of('1'));
        listed_->all.clear();
      },
      "");
  EXPECT_CODE(Code::not_found, outcome.report);
  EXPECT_TRUE(outcome.is_gone);
}

// A container and a volume that is not its own.
TEST(Inventory, AGroupHasEachNameOnce) {
  const auto planned = [](store::SourceKind kind, const std::string& name,
                          const std::string& group) {
    Planned one;
    one.source.kind = kind;
    one.source.name = name;
    one.policy.group = group;
    return one;
  };
  std::vector<Planned> all = {planned(store::SourceKind::container, "data", "shop"),
                              planned(store::SourceKind::container, "web", "shop"),
                              planned(store::SourceKind::volume, "data", "shop"),
                              planned(store::SourceKind::volume, "web", "blog"),
                              planned(store::SourceKind::container, "data", ""),
                              planned(store::SourceKind::volume, "data", "")};
  part_namesakes(all);
  std::vector<std::string> groups;
  groups.reserve(all.size());
  for (const Planned& one : all) groups.push_back(one.policy.group);
  EXPECT_EQ(groups, (std::vector<std::string>{"shop", "shop", "", "blog", "", ""}));
}

}  // namespace
}  // namespace bygone::ingest
