// SPDX-License-Identifier: Apache-2.0
//
// What is done once before a run of backups, by whoever runs them (the command line, the daemon):
// the folder names that volumes had are read, what is never captured is listed, and containers
// that a backup that died left frozen are resumed. Prints nothing: what people should know comes
// back as text. Callable from any thread.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "ingest/discover.h"
#include "ingest/docker/engine.h"
#include "ingest/freeze.h"
#include "store/repository.h"

namespace bygone::ingest {

struct LastNames {
  ParentNames names;  // owns what it answers from
  // Why there may be fewer names than there were, for people; volumes of sources that have none
  // are called as if they were new.
  std::vector<std::string> warnings;
};
// The folder names of each source's volumes in its newest snapshot, as they are now. Costs a look
// at every snapshot record.
[[nodiscard]] LastNames last_names(store::Repository& repository);

// Folders of the host that no backup captures, each with what it is: the repository, and its index
// when that stands elsewhere (`index_dir`, empty when it does not).
[[nodiscard]] std::vector<std::pair<std::string, std::string>> off_limits(
    const store::Repository& repository, const std::string& index_dir);

// Deletes the snapshots by the file system that backups that were killed have left, or a power cut
// has brought back. Lines as below.
[[nodiscard]] std::vector<std::string> delete_leftovers(const std::string& state_folder);

// Resumes what an earlier backup that was killed left frozen, before anything else is frozen, and
// deletes its snapshots by the file system. A
// journal that cannot be understood, or tells of another engine, keeps no container from its
// backup. Returns what was done or could not be, a line each, for people; mostly none.
[[nodiscard]] std::vector<std::string> thaw_leftovers(docker::Engine& engine,
                                                      const std::string& state_folder,
                                                      Late late = Late::wait);

}  // namespace bygone::ingest
