// SPDX-License-Identifier: Apache-2.0
//
// From what the engine says is mounted in a container to the volumes of its source: what is
// captured and from where, what is left out and why, and what makes the source fail, because an
// empty folder in place of data that cannot be seen would be worse than no backup. Const and
// without state: callable from any thread.
#pragma once

#include <map>
#include <string>
#include <variant>

#include "ingest/discover.h"
#include "ingest/docker/engine.h"
#include "ingest/source.h"
#include "ingest/survey.h"

namespace bygone::ingest {

// Left out, with the reason for people.
struct LeftOut {
  std::string reason;
};
using Verdict = std::variant<VolumeSource, LeftOut, Error>;

// What becomes of a volume. `declared` are the volumes that a container's definition names: one
// that looks anonymous but is named there is not. The VolumeSource has no name and destination.
[[nodiscard]] Verdict judge_volume(const Survey& survey, const docker::Volume& volume,
                                   const std::vector<std::string>& declared);

// What to do about a bind or volume that is not there any more.
enum class Missing {
  fail,       // the source has an error
  leave_out,  // unless nothing else is left: the container is gone itself
};

// Fills volumes, skipped and error of a container's source. `parent_names` and `leave_out` (which
// may be empty) as in discover.h; what is left out is not looked at, so it cannot fail. Asks the
// engine only for volumes that the survey lacks.
void add_mounts(Source& source, const docker::Container& container, const Survey& survey,
                docker::Engine& engine, const std::map<std::string, std::string>& parent_names,
                const VolumeChooser& leave_out, Missing missing = Missing::fail);

// Gives each volume its folder name: the parent's for its destination; else a named volume's own
// name, or the destination without its first slash and with '/' as '-'; "~2", "~3", ... where that
// is taken, in the order of `volumes`, which is that of destinations. What the mount shows there
// itself (.bygone, @layer) counts as taken.
void assign_names(std::vector<VolumeSource>& volumes,
                  const std::map<std::string, std::string>& parent_names);

}  // namespace bygone::ingest
