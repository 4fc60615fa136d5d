// SPDX-License-Identifier: Apache-2.0
//
// What applies to a source: built-in values, the file's defaults and sections, the environment and
// labels, of which the last one counts, put together to a Policy; and what follows from it for a
// backup. Asks no engine but in plan(). Callable from any thread.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "ingest/config.h"
#include "ingest/discover.h"
#include "ingest/policy.h"
#include "ingest/source.h"
#include "store/base/result.h"

namespace bygone::ingest {

struct Judged {
  Policy policy;
  std::vector<Problem> problems;  // of labels; those of the file and environment are known already
};
// Order: label, environment, the source's section of the file, its `defaults`, built in. A tier
// counts where it is named: what is written beside its name wins over the tier's own value, and
// the tier over all that is further down. A wrong value leaves the one below it in force.
[[nodiscard]] Judged judge(const Config& config, const Source& source);

struct Planned {
  Source source;  // without the volumes that its policy leaves out; they stand in its `skipped`
  Policy policy;
  std::vector<Problem> problems;
};
// discover(), and what applies to each source found. Those that are not enabled are there, too,
// with why in policy.given["enable"]: who runs backups passes them by unless source.named. Errors:
// those of discover().
[[nodiscard]] Result<std::vector<Planned>> plan(docker::Engine& engine, const Selection& selection,
                                                const ParentNames& parent_names,
                                                const Config& config);
// A VolumeChooser for discover(), when its sources are judged by the caller.
[[nodiscard]] std::map<std::size_t, std::string> volumes_left_out(const Config& config,
                                                                  const Source& container);
// The folders of the configuration. A folder that cannot be backed up has an error in its source.
[[nodiscard]] std::vector<Planned> plan_folders(const Config& config);

// The options of one backup: `base` (what is the same for all sources) with what the policy says.
[[nodiscard]] BackupOptions options_of(const Policy& policy, BackupOptions base);

}  // namespace bygone::ingest
