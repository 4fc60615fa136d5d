// SPDX-License-Identifier: Apache-2.0
//
// Who can write to what: the running containers by the host paths that they mount writable, and of
// their own writable layers. Built
// once for a discovery, then asked for each source. Const after it was built.
#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "ingest/docker/engine.h"
#include "ingest/source.h"
#include "ingest/survey.h"

namespace bygone::ingest {

// Where the writable layer of a container is: a path of the engine's host, or where that is not
// told one that no other layer has.
[[nodiscard]] std::string layer_place(const docker::Container& container, const Survey& survey);

class WriterIndex {
 public:
  // Takes a container up, if it runs, is paused, or is between two runs of a crash loop.
  void add(const docker::Container& container, const Survey& survey);
  // The same from a list entry, which does not tell where under the engine's root its layer is.
  void add(const docker::ContainerSummary& summary, const Survey& survey);

  // Sets writers and restarting of a source, and has_writers of its volumes, from the host paths of
  // its volumes: every container that mounts a path equal to, above or below one of them writable.
  // The container that this process runs in is named in `skipped` instead: who pauses himself never
  // wakes up.
  void find(Source& source, const Survey& survey) const;
  // What can write at, above or below a host path, in no order.
  [[nodiscard]] std::vector<Writer> at(const std::string& path) const;

 private:
  struct Entry {
    Writer writer;
    bool restarting = false;
  };
  void add_entry(Entry entry, const std::vector<docker::Mount>& mounts, const Survey& survey);
  [[nodiscard]] std::set<std::size_t> touching(const std::string& path) const;

  std::vector<Entry> entries_;
  std::map<std::string, std::set<std::size_t>> by_path_;  // places in entries_
};

}  // namespace bygone::ingest
