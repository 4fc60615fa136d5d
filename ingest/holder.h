// SPDX-License-Identifier: Apache-2.0
//
// Holders keep the data of containers that vanish at their end (`docker run --rm`): a container of
// ours that is made beside such a one, never starts, has no file and no network of its own, and
// mounts the same volumes read-only, so that the engine cannot delete them before they were
// captured. All that is known of what is held stands in the holder's labels, so that a daemon that
// was killed finds it again. Decides what is held and how; ephemeral.h decides when. Any thread.
#pragma once

#include <string>
#include <vector>

#include "ingest/backup.h"
#include "ingest/discover.h"
#include "ingest/docker/engine.h"
#include "ingest/source.h"
#include "store/base/result.h"

namespace bygone::ingest {

// The label of a holder: the id of the container whose data it holds.
constexpr const char* kHolderLabel = "bygone.holder";

// Whether data of a container is to be held: anonymous volumes of one with AutoRemove; with its
// label bygone.hold=always any volume of any container, with `never` none. A label of another value
// counts as `auto`, which is the default.
[[nodiscard]] bool is_to_be_held(const docker::Container& container);

struct Held {
  std::string holder_id;
  docker::Container container;  // as it was when the holder was made
  bool by_name = false;         // its volumes are not the engine's to remove together with it
};

class Holders {
 public:
  // `engine` must outlive it.
  explicit Holders(docker::Engine& engine) : engine_(engine) {}

  // Makes the holder of a container; none when it has one already. Errors: not_found when the
  // container, or its data, was gone before.
  Result<void> hold(const docker::Container& container);
  // All holders there are, made by whomever, the oldest first. One whose labels cannot be
  // understood has an empty container.name. `present`: the ids of all containers that exist.
  struct List {
    std::vector<Held> held;
    std::vector<std::string> present;
  };
  Result<List> list();
  // Whether the engine still has one of the volumes that are held, as far as it tells.
  [[nodiscard]] bool has_data(const Held& held);
  // Removes a holder, and the volumes that would be gone without it. What somebody else uses by
  // now stays.
  Result<void> release(const Held& held);
  // Removes the image that holders are made from. Errors: busy while there is one.
  Result<void> remove_image();

 private:
  Result<std::string> create(const docker::Container& container, bool by_name);
  Result<void> check_there(const Held& held);

  docker::Engine& engine_;
};

// Whether some of what could not be read goes with release(), and then is nowhere: what is in a
// volume that it removes. Binds and named volumes stay. `source` is held_source() of the container.
[[nodiscard]] bool is_lost_by_release(const docker::Container& container, const Source& source,
                                      const std::vector<Unreadable>& unreadable);

// What a container is called in the repository: its label bygone.name where that can be a name.
[[nodiscard]] std::string held_name(const docker::Container& container);

// A container that is gone, or going, as a source: its volumes as they were mounted in it, but for
// those that `leave_out` names.
[[nodiscard]] Result<Source> held_source(docker::Engine& engine, const docker::Container& container,
                                         const ParentNames& parent_names,
                                         const VolumeChooser& leave_out = nullptr);

}  // namespace bygone::ingest
