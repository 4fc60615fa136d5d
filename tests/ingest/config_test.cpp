// SPDX-License-Identifier: Apache-2.0
//
// The configuration file: what it says, and that whatever is wrong in it is named where it stands
// and leaves the rest in force.
#include "ingest/config.h"

#include <fstream>

#include <gtest/gtest.h>

#include "ingest/yaml.h"
#include "tests/support/expect.h"
#include "tests/support/temp_folder.h"

namespace bygone::ingest {
namespace {

using test::value_of;

class ConfigFile : public testing::Test {
 protected:
  Config parse(const std::string& text) {
    problems_.clear();
    return value_of(parse_config(text, "f.yaml", "UTC", problems_));
  }
  // The one problem of the text, "f.yaml:3: ...".
  std::string problem(const std::string& text) {
    parse(text);
    EXPECT_EQ(problems_.size(), 1U) << text;
    return problems_.empty() ? "" : problems_[0].where + ": " + problems_[0].what;
  }
  static std::string error(const std::string& text) {
    std::vector<Problem> problems;
    const auto parsed = parse_config(text, "f.yaml", "UTC", problems);
    return parsed.ok() ? "" : parsed.error().message;
  }
  std::vector<Problem> problems_;
};

TEST_F(ConfigFile, SaysEverything) {
  const Config config = parse(R"(
repository: /srv/bygone
password-file: /etc/bygone/password
engine: {host: "tcp://far:2376", cert-path: /etc/bygone/tls}
enable: labelled
gone: thin
timezone: Europe/Berlin
defaults:
  schedule: every 2h
  exclude: ["*.tmp", cache/]
tiers:
  critical: {schedule: every 5m}
  mine: {keep-last: 3}
containers:
  db: {tier: mine, pre: [psql, -c, CHECKPOINT], pre.user: postgres}
volumes:
  uploads: {schedule: none}
folders:
  etc: {path: /etc, keep-daily: 30}
at-once: 4
limit-read: 50M
prune: {schedule: 0 4 * * *, jitter: 5m}
notify:
  - ping: https://hc-ping.com/1
  - webhook: http://127.0.0.1/hook
    on: [failure, overdue]
  - command: [mail, root]
    on: failure
metrics: 127.0.0.1:9180
)");
  EXPECT_TRUE(problems_.empty()) << problems_[0].where << problems_[0].what;
  EXPECT_EQ(config.repository, "/srv/bygone");
  EXPECT_EQ(config.password_file, "/etc/bygone/password");
  EXPECT_EQ(config.engine_host, "tcp://far:2376");
  EXPECT_EQ(config.engine_cert_path, "/etc/bygone/tls");
  EXPECT_TRUE(config.opt_in);
  EXPECT_TRUE(config.thin_gone);
  EXPECT_EQ(config.zone, "Europe/Berlin");
  EXPECT_EQ(config.defaults.at("schedule").value.text, "every 2h");
  EXPECT_EQ(config.defaults.at("schedule").origin, "f.yaml:9");
  EXPECT_EQ(config.defaults.at("exclude").value.items,
            (std::vector<std::string>{"*.tmp", "cache/"}));
  EXPECT_EQ(config.tiers.at("critical").at("schedule").origin, "f.yaml:12 (tier critical)");
  EXPECT_EQ(config.tiers.at("critical").at("keep-daily").origin, "built in (tier critical)");
  EXPECT_EQ(config.containers.at("db").at("pre").value.items.size(), 3U);
  EXPECT_EQ(config.volumes.at("uploads").at("schedule").value.text, "none");
  EXPECT_EQ(config.folders.at("etc"), "/etc");
  EXPECT_EQ(config.folder_values.at("etc").at("keep-daily").value.text, "30");
  EXPECT_EQ(config.at_once, 4U);
  EXPECT_EQ(config.limit_read, (ReadLimit{ReadLimit::Kind::fixed, 50U << 20U}));
  ASSERT_TRUE(config.prune_schedule);
  EXPECT_EQ(config.prune_schedule->text(), "0 4 * * *");
  EXPECT_EQ(config.prune_schedule->zone(), "Europe/Berlin");
  EXPECT_EQ(config.prune_jitter, 300 * kSecond);
  ASSERT_EQ(config.notify.size(), 3U);
  EXPECT_EQ(config.notify[0].kind, Notifier::Kind::ping);
  EXPECT_TRUE(config.notify[0].on_success && config.notify[0].on_failure);
  EXPECT_TRUE(!config.notify[1].on_success && config.notify[1].on_overdue);
  EXPECT_TRUE(config.notify[0].on_partial);
  EXPECT_TRUE(config.notify[1].on_partial) << "failure asks for it, too";
  EXPECT_EQ(config.notify[2].command, (std::vector<std::string>{"mail", "root"}));
  EXPECT_TRUE(config.notify[2].on_failure && !config.notify[2].on_overdue);
  EXPECT_EQ(config.metrics, "127.0.0.1:9180");
}

TEST_F(ConfigFile, IsSensibleWhenEmpty) {
  for (const char* text : {"", "# nothing\n", "---\n", "defaults:\n"}) {
    const Config config = parse(text);
    EXPECT_TRUE(problems_.empty()) << text;
    EXPECT_FALSE(config.opt_in);
    EXPECT_FALSE(config.thin_gone) << "whoever removes a container may want it back";
    EXPECT_EQ(config.at_once, 2U);
    EXPECT_EQ(config.limit_read.kind, ReadLimit::Kind::automatic);
    ASSERT_TRUE(config.prune_schedule);
    for (const char* tier : {"critical", "standard", "relaxed"}) {
      EXPECT_EQ(config.tiers.at(tier).size(), config.tiers.at("standard").size()) << tier;
    }
  }
}

TEST_F(ConfigFile, NamesWhatIsWrong) {
  const std::pair<const char*, const char*> cases[] = {
      {"\nrepositry: /srv\n",
       "f.yaml:2: repositry: there is no such key; did you mean repository?"},
      {"repository: srv", "f.yaml:1: repository: 'srv' is no absolute path"},
      {"repository: [a]", "f.yaml:1: repository: takes one value"},
      {"repository:", "f.yaml:1: repository: has no value"},
      {"keep-daily: 7", "f.yaml:1: keep-daily: there is no such key; hint: put it below defaults"},
      {"defaults: {shedule: \"@daily\"}",
       "f.yaml:1: shedule: there is no such setting; did you mean schedule?"},
      {"defaults:\n  schedule: every day\n",
       "f.yaml:2: schedule: schedule 'every day': column 7: 'day' is no length of time; hint: 30s, "
       "15m, 6h, 1d, 2w, up to ten years"},
      {"defaults: {keep-daily: many}",
       "f.yaml:1: keep-daily: 'many' is no number from 0 to 1000000"},
      {"defaults: {keep-daily: -1}", "f.yaml:1: keep-daily: '-1' is no number from 0 to 1000000"},
      {"defaults: {consistency: freze}",
       "f.yaml:1: consistency: 'freze' is none of auto, native, snapshot, freeze, stop, live; did "
       "you mean freeze?"},
      {"defaults: {tier: critcal}",
       "f.yaml:1: tier: there is no tier 'critcal'; did you mean critical?"},
      {"defaults: {enable: perhaps}", "f.yaml:1: enable: 'perhaps' is neither true nor false"},
      {"defaults: {exclude: [\"[\"]}", "f.yaml:1: exclude: "},
      {"defaults: {exclude: [[a]]}", "f.yaml:1: is no text, as the others in this list have to be"},
      {"defaults: {pre: \"a | b\"}", "f.yaml:1: pre: the command "},
      {"defaults: {name: x}", "f.yaml:1: name: is for labels alone"},
      {"defaults: 7", "f.yaml:1: defaults: takes keys with values below it"},
      {"volumes: {v: {layer: on}}", "f.yaml:1: layer: has no meaning here"},
      {"tiers: {a: {tier: critical}}", "f.yaml:1 (tier a): tier: a tier cannot name another"},
      {"folders: {etc: {}}", "f.yaml:1: etc: its path is missing"},
      {"folders: {etc: {path: etc}}", "f.yaml:1: path: 'etc' is no absolute path"},
      {"folders: {\"a/b\": {path: /etc}}", "f.yaml:1: a/b: this cannot be a source's name"},
      {"folders: {etc: {path: /etc, pth: 1}}",
       "f.yaml:1: pth: there is no such setting; did you mean path?"},
      {"password-file: /a\nkey-file: /b", "f.yaml:2: key-file: the secret is named twice"},
      {"engine: {host: far:2376}", "f.yaml:1: host: 'far:2376' is neither unix:///PATH nor tcp://"},
      {"engine: {hots: x}",
       "f.yaml:1: hots: there is no such key of an engine; did you mean host?"},
      {"enable: labeled", "f.yaml:1: enable: 'labeled' is neither all nor labelled; did you mean "},
      {"timezone: Europe/Berlni", "f.yaml:1: timezone: no time zone is called 'Europe/Berlni'"},
      {"at-once: 0", "f.yaml:1: at-once: '0' is no number from 1 to 64"},
      {"limit-read: fast", "f.yaml:1: limit-read: "},
      {"prune: sometimes", "f.yaml:1: prune: schedule 'sometimes'"},
      {"notify: [{ping: hc-ping.com}]", "f.yaml:1: ping: 'hc-ping.com' is no http:// or https://"},
      {"notify: [{on: failure}]", "f.yaml:1: takes one of ping, webhook and command"},
      {"notify: [{command: x, on: fail}]",
       "f.yaml:1: on: 'fail' is none of success, partial, failure, overdue; did you mean failure?"},
      {"metrics: 0.0.0.0:9180", "f.yaml:1: metrics: '0.0.0.0:9180' is neither unix:/PATH nor a "},
      {"metrics: 127.0.0.1:99999", "f.yaml:1: metrics: "},
  };
  for (const auto& [text, expected] : cases) {
    const std::string found = problem(text);
    EXPECT_EQ(found.substr(0, std::string(expected).size()), expected) << text;
  }
}

TEST_F(ConfigFile, KeepsAllElseInForce) {
  const Config config = parse(
      "repository: srv\nat-once: x\ndefaults: {keep-daily: many, keep-weekly: 3}\nkey-file: /k\n"
      "prune: never-ever\nunknown: [1, {a: b}]\n");
  EXPECT_EQ(problems_.size(), 5U);
  EXPECT_EQ(config.repository, "");
  EXPECT_EQ(config.at_once, 2U);
  EXPECT_EQ(config.defaults.count("keep-daily"), 0U);
  EXPECT_EQ(config.defaults.at("keep-weekly").value.text, "3");
  EXPECT_EQ(config.key_file, "/k");
  EXPECT_TRUE(config.prune_schedule);
}

TEST_F(ConfigFile, RefusesWhatIsNoYaml) {
  const std::pair<const char*, const char*> cases[] = {
      {"a: 1\nb: [1, 2\nc: 3\n", "f.yaml: line 3, column "},
      {"a:\n\t- b", "f.yaml: line 2, column 1: "},
      {"schedule: @daily", "f.yaml: line 1, column 11: "},
      {"a: *.tmp", "f.yaml: line 1, column "},
      {"a: &x 1\nb: *x", "f.yaml: line 2, column 4: aliases are not taken here"},
      {"a: !!int 1", "f.yaml: line 1, column 4: tags"},
      {"a: 1\na: 2", "f.yaml: line 2, column 1: 'a' is given twice"},
      {"[a]: 1", "f.yaml: line 1, column 1: a key is a word"},
      {"a: 1\n---\nb: 2", "f.yaml: line 2, column 1: a second document begins here"},
      {"just words", "f.yaml: line 1, column 1: the file has no keys"},
      {"- a", "f.yaml: line 1, column 1: the file has no keys"},
      {"a: \"\\0\"", "f.yaml: line 1, column 4: a NUL"},
      {"\xff\xfe\xff", "f.yaml: "},
  };
  for (const auto& [text, expected] : cases) {
    EXPECT_EQ(error(text).substr(0, std::string(expected).size()), expected) << text;
  }
  EXPECT_NE(error("schedule: @daily").find("put the value in quotes"), std::string::npos);
  EXPECT_NE(error(std::string(100'000, '[')).find("nested too deeply"), std::string::npos);
  EXPECT_NE(error(std::string(kMaxYamlBytes + 1, ' ')).find("larger than"), std::string::npos);
}

TEST_F(ConfigFile, IsReadFromADiskWithCare) {
  const test::TempFolder folder;
  const std::string path = folder.path() + "/config.yaml";
  EXPECT_EQ(load_config(path, problems_).error().code, Code::not_found);
  std::ofstream(path) << "at-once: 3\n";
  std::filesystem::permissions(path, std::filesystem::perms(0644));
  EXPECT_EQ(value_of(load_config(path, problems_)).at_once, 3U);
  std::filesystem::permissions(path, std::filesystem::perms(0666));
  EXPECT_EQ(load_config(path, problems_).error().code, Code::denied);
  EXPECT_EQ(load_config(folder.path(), problems_).error().code, Code::invalid);
}

TEST_F(ConfigFile, TheEnvironmentSaysSomethingToo) {
  const test::TempFolder folder;
  const std::string path = folder.path() + "/config.yaml";
  std::ofstream(path) << "defaults: {keep-daily: 3}\n";
  setenv("BYGONE_KEEP_DAILY", "9", 1);
  setenv("BYGONE_KEEP_WEEKLY", "x", 1);
  const Config config = value_of(load_config(path, problems_));
  unsetenv("BYGONE_KEEP_DAILY");
  unsetenv("BYGONE_KEEP_WEEKLY");
  EXPECT_EQ(config.environment.at("keep-daily").value.text, "9");
  EXPECT_EQ(config.environment.at("keep-daily").origin, "BYGONE_KEEP_DAILY");
  ASSERT_EQ(problems_.size(), 1U);
  EXPECT_EQ(problems_[0].where, "BYGONE_KEEP_WEEKLY");
}

}  // namespace
}  // namespace bygone::ingest
