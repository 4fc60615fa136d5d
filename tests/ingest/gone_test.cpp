// SPDX-License-Identifier: Apache-2.0
//
// By which rules the snapshots of containers are thinned that are there no more.
#include "ingest/daemon/gone.h"

#include "tests/ingest/backup_fixture.h"
#include "tests/support/expect.h"
#include "tests/support/listed_engine.h"

namespace bygone::ingest {
namespace {

class Gone : public BackupTest {
 protected:
  Gone() {
    listed_.identity.id = "ENGINE";
    listed_.identity.name = "host";
  }

  // Two snapshots of a container with these labels; the newest one.
  store::Snapshot backed_up(const std::string& name, const std::string& labels,
                            const std::string& engine = "ENGINE", std::size_t times = 2) {
    Source source = test::value_of(folder_source(name, source_dir()));
    source.kind = store::SourceKind::container;
    source.host_id = engine;
    source.host = host_;
    source.volumes[0].has_writers = false;
    source.container_json =
        R"({"Id":"c","Name":"/)" + name +
        R"(","Image":"sha256:01","State":{"Status":"exited"},"HostConfig":{},)" +
        R"("Config":{"Image":"i","Labels":{)" + labels + "}}}";
    for (std::size_t i = 1; i < times; ++i) EXPECT_TRUE(run(source, {}).ok());
    return test::value_of(run(source, {})).snapshot;
  }
  std::vector<UpkeepWork::Rule> rules(
      const std::vector<store::Snapshot>& newest,
      const std::string& text = "containers: {filed: {keep-daily: 77}}") {
    std::vector<Problem> problems;
    const Config config = test::value_of(parse_config(text, "f", "UTC", problems));
    return test::value_of(rules_of_gone(*repository_, newest, listed_, config));
  }
  void is_there(const std::string& name, const docker::Labels& labels = {}) {
    docker::Container container;
    container.id = container.name = name;
    container.labels = labels;
    listed_.all.push_back(container);
  }

  test::ListedEngine listed_;
  std::string host_ = "host";
};

TEST_F(Gone, GoesByTheLabelsOfTheNewestSnapshot) {
  const auto labelled = backed_up("db", R"("bygone.keep-last":"5","bygone.keep-hourly":"0")");
  const auto filed = backed_up("filed", "");
  const auto found = rules({labelled, filed});
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].source, labelled.source);
  EXPECT_EQ(found[0].keep.last, 5U);
  EXPECT_EQ(found[0].keep.hourly, 0U);
  EXPECT_EQ(found[0].keep.daily, 14U) << "as in the standard tier";
  EXPECT_EQ(found[1].keep.daily, 77U) << "as the file says";
}

TEST_F(Gone, LeavesAloneWhatIsThereOrElsewhere) {
  is_there("db");
  is_there("x", {{"bygone.name", "job"}});
  is_there("off", {{"bygone.enable", "false"}});
  EXPECT_TRUE(
      rules({backed_up("db", ""), backed_up("job", ""), backed_up("x", ""), backed_up("off", ""),
             backed_up("far", "", "OTHER ENGINE"), backed_up("once", "", "ENGINE", 1)})
          .empty());
}

TEST_F(Gone, LeavesAloneWhatWouldNotBeBackedUp) {
  const auto plain = backed_up("db", "");
  EXPECT_EQ(rules({plain}).size(), 1U);
  EXPECT_TRUE(rules({plain}, "enable: labelled").empty());
  EXPECT_TRUE(rules({plain}, "containers: {db: {enable: false}}").empty());
  EXPECT_TRUE(rules({backed_up("off", R"("bygone.enable":"false")")}).empty());
  EXPECT_TRUE(rules({backed_up("old", R"("bygone.tier":"archive")")}).empty())
      << "the tier is not in the file any more, and was another one than standard";
}

TEST_F(Gone, LeavesAloneWhatMayBeOfAnotherEngine) {
  const auto plain = backed_up("db", "");
  host_ = "a clone of this host";
  EXPECT_TRUE(rules({backed_up("other", "")}).empty());
  listed_.identity.id.clear();
  EXPECT_TRUE(rules({plain}).empty());
}

TEST_F(Gone, ForgetsNothingOfWhatItCannotRead) {
  store::Snapshot bare = backed_up("db", "");
  bare.extra.reset();
  EXPECT_TRUE(rules({bare}).empty());
  test::BareEngine away;
  EXPECT_FALSE(rules_of_gone(*repository_, {bare}, away, {}).ok());
}

}  // namespace
}  // namespace bygone::ingest
