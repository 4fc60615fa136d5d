// SPDX-License-Identifier: Apache-2.0
#include "ingest/daemon/inventory.h"

#include <algorithm>
#include <set>
#include <utility>

#include "ingest/daemon/ledger.h"
#include "store/base/bytes.h"

namespace bygone::ingest {
namespace {

// Docker's own sources are plan()'s, by the names of the command line.
std::string selector(const Source& source) {
  return (source.kind == store::SourceKind::volume ? "volume:" : "") + source.name;
}

bool is_same(const Source& a, const Source& b) { return key_of(a) == key_of(b); }

}  // namespace

std::string key_of(const Source& source) {
  // A folder that cannot be read has no host yet.
  const bool is_lost = source.kind == store::SourceKind::folder && source.host_id.empty();
  return source_key(source.kind, is_lost ? machine_id() : source.host_id, source.name);
}

std::vector<std::string> problems_of(const std::vector<Planned>& planned) {
  std::vector<std::string> lines;
  for (const Planned& one : planned) {
    for (const Problem& problem : one.problems) {
      lines.push_back(printable(problem.where) + ": " + printable(problem.what));
    }
  }
  return lines;
}

void keep_wanted(std::vector<Planned>& planned) {
  std::erase_if(planned, [](const Planned& one) { return !one.policy.enabled; });
}

void part_namesakes(std::vector<Planned>& planned) {
  std::set<std::pair<std::string, std::string>> members;
  for (Planned& one : planned) {
    std::string& group = one.policy.group;
    if (!group.empty() && !members.emplace(group, one.source.name).second) group.clear();
  }
}

Result<std::vector<Planned>> look_again(const std::vector<Planned>& wanted, const Config& config,
                                        docker::Engine* engine, const ParentNames& parent_names) {
  std::vector<Planned> found;
  for (const Planned& old : wanted) {
    Result<std::vector<Planned>> now =
        old.source.kind == store::SourceKind::folder ? plan_folders(config)
        : engine == nullptr
            ? Error{Code::unavailable, 0, "the engine is away"}
            : plan(*engine, {.all = false, .names = {selector(old.source)}}, parent_names, config);
    if (!now.ok() && now.error().code == Code::not_found) continue;
    if (!now.ok()) return std::move(now).error();
    keep_wanted(*now);
    for (Planned& one : *now) {
      if (is_same(one.source, old.source)) found.push_back(std::move(one));
    }
  }
  return found;
}

}  // namespace bygone::ingest
