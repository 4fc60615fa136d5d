// SPDX-License-Identifier: Apache-2.0
//
// What applies to a source, from labels, the environment, the file and built-in values.
#include "ingest/judge.h"

#include <gtest/gtest.h>

#include "tests/ingest/discover_fixture.h"

namespace bygone::ingest {
namespace {

using test::value_of;
using Texts = std::vector<std::string>;

class Judge : public DiscoverFixture {
 protected:
  void configure(const std::string& text) {
    std::vector<Problem> problems;
    config_ = value_of(parse_config(text, "f", "UTC", problems));
    for (const Problem& problem : problems) ADD_FAILURE() << problem.where << ": " << problem.what;
  }
  void SetUp() override {
    DiscoverFixture::SetUp();
    configure("");
  }
  Judged judge_labels(const docker::Labels& labels,
                      store::SourceKind kind = store::SourceKind::container) const {
    Source source;
    source.kind = kind;
    source.name = "db";
    source.labels = labels;
    return judge(config_, source);
  }
  // The only problem.
  std::string problem(const docker::Labels& labels,
                      store::SourceKind kind = store::SourceKind::container) const {
    const Judged judged = judge_labels(labels, kind);
    EXPECT_EQ(judged.problems.size(), 1U);
    return judged.problems.empty() ? "" : judged.problems[0].where + ": " + judged.problems[0].what;
  }
  std::vector<Planned> plan_all(bool disabled_too = false) {
    return value_of(plan(engine_, {.all = true, .names = {}, .disabled_too = disabled_too},
                         no_parents_, config_));
  }
  static Texts origins(const Planned& planned) {
    Texts texts;
    for (const VolumeSource& volume : planned.source.volumes) texts.push_back(volume.origin);
    return texts;
  }

  Config config_;
  const ParentNames no_parents_ = [](store::SourceKind, const std::string&, const std::string&) {
    return std::map<std::string, std::string>();
  };
};

TEST_F(Judge, TakesEveryLabel) {
  const Judged judged = judge_labels({{"bygone.enable", "yes"},
                                      {"bygone.name", "db"},
                                      {"bygone.tier", "critical"},
                                      {"bygone.schedule", "TZ=Europe/Berlin 0 3 * * *"},
                                      {"bygone.jitter", "90s"},
                                      {"bygone.keep-last", "1"},
                                      {"bygone.keep-hourly", "2"},
                                      {"bygone.keep-daily", "3"},
                                      {"bygone.keep-weekly", "4"},
                                      {"bygone.keep-monthly", "5"},
                                      {"bygone.keep-yearly", "6"},
                                      {"bygone.keep-within", "7d"},
                                      {"bygone.group", "shop"},
                                      {"bygone.volumes.include", "a*, b"},
                                      {"bygone.volumes.exclude", "/c"},
                                      {"bygone.exclude", "*.tmp\n{a,b}\n"},
                                      {"bygone.consistency", "stop"},
                                      {"bygone.layer", "on"},
                                      {"bygone.max-freeze", "250ms"},
                                      {"bygone.pre", "psql -c 'CHECKPOINT; SELECT 1'"},
                                      {"bygone.pre.user", "postgres"},
                                      {"bygone.pre.timeout", "5s"},
                                      {"bygone.pre.on-error", "continue"},
                                      {"bygone.post", "true"},
                                      {"bygone.dump", "auto"},
                                      {"bygone.dump.command", "slapcat -n 1"},
                                      {"bygone.dump.file", "ldap.ldif"},
                                      {"bygone.dump.user", "openldap"},
                                      {"bygone.hold", "never"},
                                      {"org.example", "bygone.x"}});
  for (const Problem& one : judged.problems) ADD_FAILURE() << one.where << ": " << one.what;
  const Policy& policy = judged.policy;
  EXPECT_EQ(policy.tier, "critical");
  ASSERT_TRUE(policy.schedule);
  EXPECT_EQ(policy.schedule->text(), "0 3 * * *");
  EXPECT_EQ(policy.schedule->zone(), "Europe/Berlin");
  EXPECT_EQ(policy.jitter, 90 * kSecond);
  EXPECT_EQ(policy.keep.last, 1U);
  EXPECT_EQ(policy.keep.hourly, 2U);
  EXPECT_EQ(policy.keep.daily, 3U);
  EXPECT_EQ(policy.keep.weekly, 4U);
  EXPECT_EQ(policy.keep.monthly, 5U);
  EXPECT_EQ(policy.keep.yearly, 6U);
  EXPECT_EQ(policy.keep.within, 7 * 86'400 * kSecond);
  EXPECT_EQ(policy.group, "shop");
  EXPECT_EQ(policy.include_volumes, (Texts{"a*", "b"}));
  EXPECT_EQ(policy.exclude_volumes, (Texts{"/c"}));
  EXPECT_EQ(policy.exclude, (Texts{"*.tmp", "{a,b}"}));
  EXPECT_EQ(policy.wish, Wish::stop);
  EXPECT_TRUE(policy.layer);
  EXPECT_EQ(policy.max_freeze, std::chrono::milliseconds(250));
  ASSERT_TRUE(policy.pre);
  EXPECT_EQ(policy.pre->command, (Texts{"psql", "-c", "CHECKPOINT; SELECT 1"}));
  EXPECT_EQ(policy.pre->user, "postgres");
  EXPECT_EQ(policy.pre->timeout, std::chrono::seconds(5));
  EXPECT_EQ(policy.pre->on_error, Hook::OnError::go_on);
  ASSERT_TRUE(policy.post);
  EXPECT_EQ(policy.post->on_error, Hook::OnError::fail);
  EXPECT_EQ(policy.dump.kind, DumpWish::Kind::command);
  EXPECT_EQ(policy.dump.command, (Texts{"slapcat", "-n", "1"}));
  EXPECT_EQ(policy.dump.file, "ldap.ldif");
  EXPECT_EQ(policy.dump.user, "openldap");
  EXPECT_EQ(policy.given.at("keep-daily").value, "3");
  EXPECT_EQ(policy.given.at("keep-daily").origin, "container db, label bygone.keep-daily");
}

TEST_F(Judge, EverySettingIsALabelOfAContainerOrVolume) {
  for (const Setting& setting : settings()) {
    const std::string label = std::string("bygone.") + setting.key;
    const Judged judged = judge_labels({{label, ""}});
    for (const Problem& one : judged.problems) {
      EXPECT_EQ(one.what.find("there is no such label"), std::string::npos) << label;
    }
  }
}

TEST_F(Judge, HasASensibleDefault) {
  const Policy policy = judge_labels({}).policy;
  EXPECT_TRUE(policy.enabled);
  EXPECT_EQ(policy.tier, "standard");
  ASSERT_TRUE(policy.schedule);
  EXPECT_EQ(policy.schedule->text(), "@hourly");
  EXPECT_FALSE(policy.keep.empty());
  EXPECT_EQ(policy.wish, Wish::automatic);
  EXPECT_EQ(policy.group, "");
  EXPECT_EQ(policy.given.at("schedule").origin, "built in (tier standard)");
  EXPECT_EQ(policy.given.at("max-freeze").origin, "built in");
}

TEST_F(Judge, NamesWrongLabelsAndGoesOn) {
  const std::pair<docker::Labels, const char*> cases[] = {
      {{{"bygone.shedule", "@daily"}},
       "container db, label bygone.shedule: there is no such label; did you mean bygone.schedule?"},
      {{{"bygone.keep-daily", "x"}},
       "container db, label bygone.keep-daily: 'x' is no number from 0 to 1000000"},
      {{{"bygone.tier", "critcal"}},
       "container db, label bygone.tier: there is no tier 'critcal'; did you mean critical?"},
      {{{"bygone.hold", "allways"}},
       "container db, label bygone.hold: 'allways' is none of auto, always, never; did you mean "
       "always?"},
      {{{"bygone.name", "a/b"}},
       "container db, label bygone.name: 'a/b' cannot be a source's name, Docker's is used; hint: "
       "letters"},
      {{{"bygone.", "x"}}, "container db, label bygone.: there is no such label"},
      {{{"bygone.drill", "daily"}}, "container db, label bygone.drill: there is no such label"},
      {{{"bygone.enable", "\x1b[2J"}}, "container db, label bygone.enable: '\\x1b[2J' is neither"},
      {{{"bygone.schedule", "61 * * * *"}}, "container db, label bygone.schedule: schedule '61"},
  };
  for (const auto& [labels, expected] : cases) {
    const std::string found = problem(labels);
    EXPECT_EQ(found.substr(0, std::string(expected).size()), expected);
    EXPECT_TRUE(judge_labels(labels).policy.enabled);
    EXPECT_EQ(judge_labels(labels).policy.tier, "standard");
    EXPECT_TRUE(judge_labels(labels).policy.schedule);
  }
  EXPECT_EQ(problem({{"bygone.layer", "on"}}, store::SourceKind::volume),
            "volume db, label bygone.layer: has no meaning on a volume");
  EXPECT_LT(problem({{"bygone.keep-last", std::string(1 << 20, 'x')}}).size(), 300U);
  EXPECT_LT(problem({{"bygone." + std::string(1 << 20, 'x'), "1"}}).size(), 300U);
}

TEST_F(Judge, LeavesLabelsOfOurOwnHoldersAlone) {
  EXPECT_TRUE(judge_labels({{"bygone.holder", "x"}, {"bygone.holder.name", "y"}}).problems.empty());
}

TEST_F(Judge, TheNearestPlaceWins) {
  configure(
      "defaults: {keep-daily: 1, keep-weekly: 1, keep-monthly: 1}\n"
      "containers: {db: {keep-daily: 2, keep-weekly: 2}}\n");
  config_.environment["keep-daily"] = {text_value("3"), "BYGONE_KEEP_DAILY"};
  const Policy policy = judge_labels({}).policy;
  EXPECT_EQ(policy.keep.daily, 3U);
  EXPECT_EQ(policy.keep.weekly, 2U);
  EXPECT_EQ(policy.keep.monthly, 1U);
  EXPECT_EQ(policy.given.at("keep-weekly").origin, "f:2");
  EXPECT_EQ(judge_labels({{"bygone.keep-daily", "4"}}).policy.keep.daily, 4U);
  EXPECT_EQ(judge_labels({{"bygone.keep-daily", "none"}}).policy.keep.daily, 3U) << "wrong value";
}

TEST_F(Judge, ATierCountsWhereItIsNamed) {
  configure(
      "defaults: {tier: relaxed, keep-daily: 1}\n"
      "tiers: {mine: {schedule: every 5m}, relaxed: {keep-weekly: 9}}\n"
      "containers: {db: {keep-daily: 2}}\n");
  const Policy by_default = judge_labels({}).policy;
  EXPECT_EQ(by_default.tier, "relaxed");
  EXPECT_EQ(by_default.keep.daily, 2U) << "written nearer than the tier's name";
  EXPECT_EQ(by_default.keep.weekly, 9U) << "redefined";
  EXPECT_EQ(by_default.keep.monthly, 3U) << "as built in";
  EXPECT_EQ(by_default.given.at("keep-weekly").origin, "f:2 (tier relaxed)");
  const Policy labelled = judge_labels({{"bygone.tier", "critical"}}).policy;
  EXPECT_EQ(labelled.keep.daily, 30U) << "the label is nearer than the file";
  const Policy both =
      judge_labels({{"bygone.tier", "critical"}, {"bygone.keep-daily", "5"}}).policy;
  EXPECT_EQ(both.keep.daily, 5U);
  const Policy own = judge_labels({{"bygone.tier", "mine"}}).policy;
  EXPECT_EQ(own.schedule->text(), "every 5m");
  EXPECT_EQ(own.keep.weekly, 8U) << "what it leaves open is as in the standard tier";
}

// From a folded text of a compose file, which ends with a line end.
TEST_F(Judge, BlanksAroundAValueDoNotCount) {
  configure("tiers: {mine: {schedule: every 5m}}\nvolumes: {asked: {enable: \" yes \"}}\n");
  const Policy policy =
      judge_labels({{"bygone.tier", "mine\n"}, {"bygone.keep-daily", " 4"}}).policy;
  EXPECT_EQ(policy.tier, "mine");
  EXPECT_EQ(policy.schedule->text(), "every 5m");
  EXPECT_EQ(policy.keep.daily, 4U);
  const docker::Volume asked = add_volume("asked");
  docker::Volume& labelled = add_volume("labelled");
  labelled.labels = {{"bygone.enable", "true\n"}};
  add("db").mounts = {volume_at(asked, "/asked"), volume_at(labelled, "/labelled")};
  for (const Planned& planned : plan_all()) {
    if (planned.source.name == "db") {
      EXPECT_EQ(origins(planned), (Texts{"asked", "labelled"}));
    }
  }
}

TEST_F(Judge, NoneTakesAwayWhatAFartherPlaceSaid) {
  configure("defaults: {pre: sync, schedule: \"@daily\", group: g}\n");
  const Policy policy =
      judge_labels({{"bygone.pre", "none"}, {"bygone.schedule", "none"}, {"bygone.group", "none"}})
          .policy;
  EXPECT_FALSE(policy.pre);
  EXPECT_FALSE(policy.schedule);
  EXPECT_EQ(policy.group, "");
}

// A command is a kind of dump, whatever its setting is called.
TEST_F(Judge, TheNearestPlaceSaysWhichDump) {
  configure("defaults: {dump.command: dump-all}\n");
  EXPECT_EQ(judge_labels({}).policy.dump.kind, DumpWish::Kind::command);
  EXPECT_EQ(judge_labels({{"bygone.dump", "none"}}).policy.dump.kind, DumpWish::Kind::none);
  EXPECT_EQ(judge_labels({{"bygone.dump", "postgres"}}).policy.dump.kind, DumpWish::Kind::postgres);
  const docker::Labels both = {{"bygone.dump", "auto"}, {"bygone.dump.command", "mine"}};
  EXPECT_EQ(judge_labels(both).policy.dump.command, std::vector<std::string>{"mine"});
}

TEST_F(Judge, AProjectIsAGroup) {
  Source source;
  source.kind = store::SourceKind::container;
  source.name = "shop-db-1";
  source.project = "shop";
  EXPECT_EQ(judge(config_, source).policy.group, "shop");
  EXPECT_EQ(judge(config_, source).policy.given.at("group").origin, "Compose project");
  source.labels = {{"bygone.group", "other"}};
  EXPECT_EQ(judge(config_, source).policy.group, "other");
}

TEST_F(Judge, OptsInByLabelSectionOrVolume) {
  configure("enable: labelled\ncontainers: {listed: {enable: true}}\n");
  add("plain");
  add("listed");
  add("labelled").labels = {{"bygone.enable", "true"}};
  const docker::Volume one = add_volume("one");
  docker::Volume& two = add_volume("two");
  two.labels = {{"bygone.enable", "true"}};
  add("half").mounts = {volume_at(one, "/one"), volume_at(two, "/two")};
  std::map<std::string, bool> enabled;
  for (const Planned& planned : plan_all()) {
    enabled[planned.source.name] = planned.policy.enabled;
    if (planned.source.name == "half") {
      EXPECT_EQ(origins(planned), (Texts{"two"}));
    }
    if (planned.source.name == "plain") {
      EXPECT_EQ(planned.policy.given.at("enable").origin, "f:1 (enable: labelled)");
    }
  }
  EXPECT_EQ(enabled, (std::map<std::string, bool>{
                         {"plain", false}, {"listed", true}, {"labelled", true}, {"half", true}}));
}

// A name is given twice by mistake: what belongs to the second must not come to the first.
TEST_F(Judge, KeepsApartWhoWantsOneName) {
  add("a").labels = {{"bygone.name", "x"}, {"bygone.schedule", "@daily"}};
  add("b").labels = {{"bygone.name", "x"}, {"bygone.exclude", "*"}};
  const std::vector<Planned> plans = plan_all();
  ASSERT_EQ(plans.size(), 2U);
  EXPECT_EQ(plans[0].source.name, "b");
  EXPECT_TRUE(plans[0].source.error);
  EXPECT_EQ(plans[0].policy.exclude, Texts{"*"});
  EXPECT_EQ(plans[1].source.name, "x");
  EXPECT_FALSE(plans[1].source.error);
  EXPECT_EQ(plans[1].policy.exclude, Texts{});
  ASSERT_TRUE(plans[1].policy.schedule);
  EXPECT_EQ(plans[1].policy.schedule->text(), "@daily");
}

TEST_F(Judge, LeavesVolumesOut) {
  configure("volumes: {junk: {enable: false}, data: {exclude: \"*.log\"}}\n");
  const docker::Volume data = add_volume("data");
  const docker::Volume cache = add_volume("cache");
  const docker::Volume junk = add_volume("junk");
  docker::Volume far = add_volume("far");
  far.driver = "nfs";  // would make the source fail
  engine_.listed_volumes.back().driver = "nfs";
  docker::Container& db = add("db");
  db.mounts = {volume_at(data, "/data"), volume_at(cache, "/cache"), volume_at(junk, "/junk"),
               volume_at(far, "/far")};
  db.labels = {{"bygone.volumes.exclude", "ca*,/far"}};
  docker::Container& other = add("other");
  other.mounts = {volume_at(cache, "/c")};
  for (const Planned& planned : plan_all()) {
    if (planned.source.name != "db") continue;
    EXPECT_TRUE(planned.problems.empty());
    EXPECT_FALSE(planned.source.error) << planned.source.error->message;
    EXPECT_EQ(origins(planned), (Texts{"data"}));
    EXPECT_EQ(planned.source.volumes[0].exclude, (Texts{"*.log"}));
    EXPECT_EQ(planned.source.skipped,
              (Texts{"/cache: left out by container db, label bygone.volumes.exclude",
                     "/far: left out by container db, label bygone.volumes.exclude",
                     "/junk: left out by f:1"}));
    EXPECT_EQ(writers_of(planned.source.writers), Names{"db"}) << "nobody is frozen for nothing";
  }
}

TEST_F(Judge, NamesPatternsThatMeetNoVolume) {
  const docker::Volume data = add_volume("pgdata");
  docker::Container& db = add("db");
  db.mounts = {volume_at(data, "/data")};
  db.labels = {{"bygone.volumes.include", "pgdat"}};
  const auto plans = plan_all();
  ASSERT_EQ(plans.size(), 1U);
  ASSERT_EQ(plans[0].problems.size(), 1U);
  EXPECT_EQ(plans[0].problems[0].where, "container db, label bygone.volumes.include");
  EXPECT_EQ(plans[0].problems[0].what,
            "'pgdat' of container db matches no volume; did you mean pgdata?");
}

TEST_F(Judge, NamesWhatHasNoEffectOnAMountedVolume) {
  configure("volumes:\n  data: {tier: relaxed, exclude: \"*.log\"}\n");
  docker::Volume& data = add_volume("data");
  data.labels = {{"bygone.keep-yearly", "10"}, {"bygone.enable", "true"}};
  docker::Volume& bare = add_volume("bare");
  bare.labels = {{"bygone.keep-yearly", "10"}};
  add("db").mounts = {volume_at(data, "/data")};
  docker::Container& off = add("off");
  off.mounts = {volume_at(data, "/data")};
  off.labels = {{"bygone.enable", "false"}};
  const auto plans = plan_all(true);
  ASSERT_EQ(plans.size(), 3U);
  const auto& problems = plans[0].problems;
  ASSERT_EQ(problems.size(), 2U);
  EXPECT_EQ(problems[0].where, "volume data, label bygone.keep-yearly");
  EXPECT_EQ(problems[0].what,
            "has no effect while container db mounts volume data; hint: say it of the container");
  EXPECT_EQ(problems[1].where, "f:2");
  EXPECT_EQ(problems[1].what.substr(0, 20), "tier: has no effect ");
  EXPECT_TRUE(plans[1].problems.empty()) << "it is not backed up";
  EXPECT_EQ(plans[2].policy.keep.yearly, 10U) << "a source of its own";
  EXPECT_TRUE(plans[2].problems.empty());
}

TEST_F(Judge, ShowsWhatIsDisabledWhenAsked) {
  add("off").labels = {{"bygone.enable", "false"}};
  EXPECT_TRUE(plan_all().empty());
  const auto plans = plan_all(true);
  ASSERT_EQ(plans.size(), 1U);
  EXPECT_FALSE(plans[0].policy.enabled);
  EXPECT_EQ(plans[0].policy.given.at("enable").origin, "container off, label bygone.enable");
}

TEST_F(Judge, FoldersAreSources) {
  configure("enable: labelled\nfolders: {etc: {path: " + make_folder("etc") +
            ", keep-daily: 2}, gone: {path: /no/such/folder}}\n");
  const auto plans = plan_folders(config_);
  ASSERT_EQ(plans.size(), 2U);
  EXPECT_EQ(plans[0].source.name, "etc");
  EXPECT_TRUE(plans[0].policy.enabled);
  EXPECT_EQ(plans[0].policy.keep.daily, 2U);
  EXPECT_TRUE(plans[1].source.error);
}

TEST_F(Judge, TurnsAPolicyIntoOptions) {
  Policy policy;
  policy.exclude = {"a"};
  policy.wish = Wish::live;
  policy.max_freeze = std::chrono::seconds(1);
  BackupOptions base;
  base.exclude = {"!a"};
  base.tags = {"t"};
  const BackupOptions options = options_of(policy, base);
  EXPECT_EQ(options.exclude, (Texts{"a", "!a"}));
  EXPECT_EQ(options.wish, Wish::live);
  EXPECT_EQ(options.max_freeze, std::chrono::seconds(1));
  EXPECT_EQ(options.tags, Texts{"t"});
}

}  // namespace
}  // namespace bygone::ingest
