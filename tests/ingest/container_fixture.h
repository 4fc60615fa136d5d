// SPDX-License-Identifier: Apache-2.0
//
// Whole backups of a container, with an engine whose commands say what a test wants.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ingest/hook_journal.h"
#include "ingest/intent_journal.h"
#include "tests/ingest/backup_fixture.h"
#include "tests/support/fake_exec.h"

namespace bygone::ingest {

using test::Said;
using Words = std::vector<std::string>;

inline const std::string kEnd = "\n--\n-- PostgreSQL database dump complete\n--\n\n";
inline const std::string kGlobals = "--\n-- PostgreSQL database cluster dump complete\n--\n\n";

class ContainerBackup : public BackupTest {
 protected:
  ContainerBackup() {
    add_writer();
    docker::Container container;
    container.id = "c1";
    container.state.running = true;
    container.image = "postgres:15";
    engine_.shown["c1"] = container;
    engine_.processes["c1"] = {"postgres", "postgres: checkpointer "};
    engine_.on_exec =
        [this](const docker::ExecRequest& request) -> Result<std::unique_ptr<docker::Exec>> {
      requests_.push_back(request);
      order_.push_back("exec " + request.command.front());
      return std::unique_ptr<docker::Exec>(std::make_unique<test::FakeExec>(say_(request)));
    };
    engine_.before = [this](const std::string& call) {
      if (call.starts_with("state") || call == "list" || call == "events") return;
      order_.push_back(call);
      if (call.starts_with("pause") && act_) act_();
    };
    programs_["psql"] = {.output = std::string("app\0", 4)};
    programs_["pg_dumpall"] = {.output = kGlobals};
    programs_["pg_dump"] = {.output = "rows" + kEnd};
  }

  Source source() {
    auto found = folder_source("data", source_dir());
    EXPECT_TRUE(found.ok());
    found->kind = store::SourceKind::container;
    found->container_id = "c1";
    found->writers = writers_;
    return std::move(*found);
  }
  Result<BackupReport> back_up(BackupOptions options) {
    if (options.wish == Wish::automatic) options.wish = Wish::freeze;
    return run(source(), std::move(options));
  }
  BackupReport must_back_up(BackupOptions options) {
    auto report = back_up(std::move(options));
    EXPECT_TRUE(report.ok()) << report.error().message;
    return report.ok() ? std::move(*report) : BackupReport{};
  }
  static BackupOptions dumping(DumpWish::Kind kind) {
    BackupOptions options;
    options.dump.kind = kind;
    return options;
  }
  std::string state() const { return folder_.path() + "/state"; }
  Words hook_journals() {
    auto paths = intent_journals(hook_folder(state()));
    EXPECT_TRUE(paths.ok());
    return paths.ok() ? *paths : Words{};
  }
  static Hook hook(const std::string& program) {
    Hook hook;
    hook.command = {program};
    return hook;
  }

  std::optional<Entry> extra(const store::Snapshot& snapshot, const std::string& path) {
    std::optional<Entry> at = snapshot.extra;
    for (const auto& part : stdfs::path(path)) {
      if (!at) return std::nullopt;
      auto next = repository_->trees().lookup(*at, part.string());
      EXPECT_TRUE(next.ok());
      at = next.ok() ? *next : std::nullopt;
    }
    return at;
  }
  // Of a file below `.bygone/dumps`; "absent" without one.
  std::string dumped(const store::Snapshot& snapshot, const std::string& name) {
    const auto entry = extra(snapshot, "dumps/" + name);
    return entry ? content(*entry) : "absent";
  }
  Said say(const docker::ExecRequest& request) {
    const auto found = programs_.find(request.command.front());
    if (found != programs_.end()) return found->second;
    return Said{.output = "OCI runtime exec failed: not found", .exit_code = 127};
  }

  std::map<std::string, Said> programs_;
  std::vector<docker::ExecRequest> requests_;
  // Programs that ran, and what happened to the containers.
  Words order_;
  std::function<Said(const docker::ExecRequest&)> say_ = [this](const auto& r) { return say(r); };
  std::function<void()> act_;  // before a pause
};

}  // namespace bygone::ingest
