// SPDX-License-Identifier: Apache-2.0
//
// What a backup reads: a source with its volumes, as discovered from the Docker engine or named on
// the command line. Values only; discover.h makes them, backup.h reads them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ingest/docker/engine.h"
#include "store/base/bytes.h"
#include "store/base/result.h"
#include "store/snapshot.h"

namespace bygone::ingest {

class HostView;

// How the data of a volume is read.
enum class Access {
  host,    // as files of this host
  engine,  // through the engine's archive endpoint: only the engine's host can see it
};

// One mounted storage of a container, or the one tree of a folder or a bare volume.
struct VolumeSource {
  // Folder under the instant; empty for a folder source and a bare volume, whose tree stands
  // directly under the instant. Unique within the source.
  std::string name;
  std::string destination;  // path in the container; empty for folders and bare volumes
  std::string origin;       // Docker's volume name, or the path on the host
  store::VolumeKind kind = store::VolumeKind::folder;
  Access access = Access::host;
  // Where the data is read on this host: a folder, or a file for a bind of a file. Absolute, with
  // all symbolic links resolved, so a reader may (and should) refuse links when it opens it. With
  // Access::engine a path of the engine's host, which only tells one place from another.
  std::string host_path;
  // Paths below host_path (relative, no leading slash) at which another volume is mounted in the
  // container: captured from their own source, shown here as the empty folder that the host has.
  std::vector<std::string> nested;
  bool has_writers = true;           // whether one of the source's writers can write to it
  docker::Labels labels;             // of a named or anonymous volume
  std::vector<std::string> exclude;  // patterns for this volume alone, after those of the source
};

// The folder of a container's writable layer, beside those of its volumes.
constexpr const char* kLayerName = "@layer";

// A container that can write to a volume of the source and runs at present.
struct Writer {
  std::string id;          // Docker's full id
  std::string name;        // without the slash
  bool paused = false;     // already paused by somebody else
  std::string started_at;  // of its latest start: another value later means that it ran anew
};

struct Source {
  store::SourceKind kind = store::SourceKind::folder;
  std::string name;       // container name or bygone.name label, volume name, or NAME of NAME=DIR
  std::string host_id;    // engine id for containers and volumes, machine-id for folders
  std::string host;       // host name, for people
  std::string project;    // Compose project, empty for none
  docker::Labels labels;  // of the container or bare volume
  bool named = false;     // selected by its own name, and not as one of many
  std::vector<VolumeSource> volumes;  // sorted by destination, then name
  // Everything that must be paused for a consistent capture: each running or paused container,
  // this one or another, that mounts one of these volumes, or binds a path at, above or below one
  // of them, writable.
  std::vector<Writer> writers;
  // Those that would be writers but are between two runs of a crash loop: nothing of them runs,
  // so they cannot be paused (the engine answers 409), but they may start at any moment. A
  // capture is frozen or idle only if none of them has another `started_at` afterwards.
  std::vector<Writer> restarting;
  // How the engine's paths are found on this host; null for folders.
  std::shared_ptr<const HostView> host_view;
  std::string container_id;    // Docker's full id; empty for folders and bare volumes
  std::string container_json;  // the engine's inspect answer; empty for folders and bare volumes
  std::string image;           // reference, and
  std::string image_id;        // sha256:... digest of the image; empty when none
  // What is mounted but not captured, with the reason, for people ("/run/x.sock: the engine's
  // socket", "/tmp/x: tmpfs, gone with the container").
  std::vector<std::string> skipped;
  // Why this source cannot be captured at all; a source with an error fails, alone.
  std::optional<Error> error;
};

}  // namespace bygone::ingest
