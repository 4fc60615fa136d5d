// SPDX-License-Identifier: Apache-2.0
#include "ingest/daemon/gone.h"

#include <set>
#include <string>

#include "ingest/docker/parse.h"
#include "ingest/judge.h"
#include "ingest/selection.h"
#include "ingest/stored_bytes.h"
#include "ingest/survey.h"
#include "store/base/log.h"
#include "store/chunk_store.h"

namespace bygone::ingest {
namespace {

constexpr std::uint64_t kLargestDescription = 16U << 20U;

// The container as it was backed up.
Result<Source> as_it_was(store::Repository& repository, const store::Snapshot& snapshot) {
  Source source;
  source.kind = snapshot.kind;
  source.name = snapshot.name;
  if (!snapshot.extra) return Error{Code::not_found, 0, "it has no description of its container"};
  const auto file = TRY(repository.trees().lookup(*snapshot.extra, "container.json"));
  if (!file) return Error{Code::not_found, 0, "it has no description of its container"};
  if (file->size > kLargestDescription) return Error{Code::corrupt, 0, "it is too large"};
  const Bytes text =
      TRY(stored_bytes(repository.trees(), repository.chunks(), *file, 0, file->size));
  const auto container = TRY(docker::parse_container(std::string(as_text(text))));
  source.labels = container.labels;
  return source;
}

std::set<std::string> names_there(const Survey& survey) {
  std::set<std::string> names;
  for (const Called& called : call_containers(survey)) names.insert(called.name);
  for (const docker::ContainerSummary& container : survey.containers) names.insert(container.name);
  return names;
}

}  // namespace

Result<std::vector<UpkeepWork::Rule>> rules_of_gone(store::Repository& repository,
                                                    const std::vector<store::Snapshot>& newest,
                                                    docker::Engine& engine, const Config& config) {
  const Survey survey = TRY(take_survey(engine));
  // Podman's engines of one host have none of their own: what one lacks another may have.
  if (survey.info.id.empty()) return std::vector<UpkeepWork::Rule>();
  const std::set<std::string> there = names_there(survey);
  std::vector<UpkeepWork::Rule> rules;
  for (const store::Snapshot& snapshot : newest) {
    const bool is_gone = snapshot.kind == store::SourceKind::container &&
                         snapshot.host_id == survey.host_id && snapshot.host == survey.info.name &&
                         there.count(snapshot.name) == 0;
    // Of a first snapshot, which there are many of where containers have random names, nothing
    // goes.
    if (!is_gone || snapshot.sequence <= 1) continue;
    const std::string nothing =
        printable(snapshot.name) + " is gone, and nothing of it is forgotten: ";
    const auto source = as_it_was(repository, snapshot);
    if (!source.ok()) {
      log::warning(nothing +
                   "reading its labels in the newest snapshot: " + source.error().message);
      continue;
    }
    const Judged judged = judge(config, *source);
    if (!judged.problems.empty()) {
      const Problem& problem = judged.problems.front();
      log::warning(nothing + problem.where + ": " + problem.what);
    } else if (judged.policy.enabled) {
      rules.push_back({snapshot.source, judged.policy.keep});
    }
  }
  return rules;
}

}  // namespace bygone::ingest
