// SPDX-License-Identifier: Apache-2.0
//
// From what a person selects to what a backup reads: asks the engine for containers and volumes
// and makes a Source of each, with its volumes, their folder names, who can write to them, and
// why what is not captured is not. Reads nothing of the data itself, pauses nothing, and knows no
// repository (the parent's folder names are handed in). Callable from any thread.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "ingest/docker/engine.h"
#include "ingest/source.h"
#include "store/base/result.h"
#include "store/snapshot.h"

namespace bygone::ingest {

// Which volumes of a container are not captured, by their place in `volumes`, each with the reason
// for people. They have their origins, destinations and labels, and no more yet; those that are
// never captured are among them.
using VolumeChooser = std::function<std::map<std::size_t, std::string>(const Source& container)>;

struct Selection {
  // Every container and every volume that no container mounts, but those labelled
  // bygone.enable=false.
  bool all = false;
  // Each one of: NAME, a container by Docker's name (a leading slash is dropped) or by its label
  // bygone.name; volume:NAME, a volume, used or not; @PROJECT, the containers of a Compose
  // project and its volumes that no container mounts, but those labelled bygone.enable=false.
  // Naming a thing itself overrides its label.
  std::vector<std::string> names;
  // With those that are labelled bygone.enable=false.
  bool disabled_too = false;
  // Asked once for each container, before its volumes are looked at and its writers are found.
  VolumeChooser leave_out = nullptr;
  // Asked next: whether the container's writable layer is to be captured, too.
  std::function<bool(const Source& container)> wants_layer = nullptr;
};

// Destination to folder name in the newest snapshot of the source (kind, host id, name); empty
// when there is none. A volume keeps the folder that its destination had.
using ParentNames = std::function<std::map<std::string, std::string>(
    store::SourceKind kind, const std::string& host_id, const std::string& name)>;

// The selected sources, containers before volumes, each sorted by name. What concerns one source
// alone (data that cannot be seen from here, a clash of names) is in its `error`; the call fails
// only when the engine does, or with not_found for a name that selects nothing: the message lists
// the names that exist. A container that vanishes meanwhile is left out, unless it was named.
// Costs one request for each selected container; of Podman, for each that runs, too.
[[nodiscard]] Result<std::vector<Source>> discover(docker::Engine& engine,
                                                   const Selection& selection,
                                                   const ParentNames& parent_names);

// A plain folder as a source. `dir` may be relative; symbolic links in it are resolved now. Errors:
// invalid for a name that is not valid_name(), or a `dir` that is no folder; not_found, denied.
[[nodiscard]] Result<Source> folder_source(const std::string& name, const std::string& dir);

// Whether `name` can be a source's: 1 to 255 of the characters that Docker allows in names
// (letters, digits, '_', '.', '-'), the first a letter or digit.
[[nodiscard]] bool valid_name(std::string_view name);

// Identity of this host for folder sources: /etc/machine-id, or "hostname-" and the host name.
[[nodiscard]] std::string machine_id();

}  // namespace bygone::ingest
