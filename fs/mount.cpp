// SPDX-License-Identifier: Apache-2.0
#include "fs/mount.h"

#include <optional>

#include <malloc.h>
#include <unistd.h>

#include "fs/keeper.h"
#include "fs/mountpoint.h"
#include "fs/session.h"
#include "fs/watcher.h"
#include "store/base/log.h"
#include "store/chunk_store.h"

namespace bygone::fs {
namespace {

// The kernel checks permissions itself, ACLs included. What libfuse adds even for root is named
// all the same: nothing from a backup runs with somebody's rights or opens a device.
std::string mount_options(bool allow_other) {
  std::string options = "ro,nosuid,nodev,default_permissions,fsname=bygone,subtype=bygone";
  if (allow_other) options += ",allow_other";
  return options;
}

void follow_repository(Namespace& names, Session& session) {
  const Result<std::vector<Change>> changes = names.refresh();
  if (!changes.ok()) {
    log::warning("looking for new snapshots: " + changes.error().message);
    return;
  }
  for (const Change& change : *changes) {
    if (change.name.empty()) {
      session.folder_changed(change.folder);
    } else {
      session.name_changed(change.folder, change.name);
    }
  }
}

}  // namespace

Result<void> serve_mount(store::Repository& repository, const MountOptions& options) {
  // A dozen threads pass buffers of chunk size around: with an arena each, what is free in one
  // lies idle while another grows (`cp -a` of 200,000 files: 153 MB resident, with two 96 MB).
  ::mallopt(M_ARENA_MAX, 2);
  TRY(prepare_mountpoint(options.mountpoint, repository.path(), options.needed_paths));
  const std::string path = TRY(absolute_path(options.mountpoint));

  RepositorySnapshots snapshots(repository);
  NamespaceOptions naming;
  naming.uid = ::geteuid();
  naming.gid = ::getegid();
  naming.clock = options.clock;
  const auto names = TRY(Namespace::open(snapshots, repository.trees(), repository.keys(), naming));
  ReaderOptions reading;
  reading.cache_bytes = options.chunk_cache_bytes;
  std::optional<Reader> reader;
  reader.emplace(repository.trees(), repository.chunks(), reading);
  Service service{*names, *reader};
  const auto session =
      TRY(Session::create(service, mount_options(options.allow_other || ::geteuid() == 0)));

  TRY(session->mount(path));
  const auto mounted = TRY(mount_at(path));
  const std::string device = mounted ? mounted->device : "";
  auto keeper = TRY(Keeper::start({path, device, options.on_ready, [&] { session->stop(); }}));
  Result<void> served;
  {
    const auto watcher = Watcher::start(repository.path() + "/snapshots", [&] {
      follow_repository(*names, *session);
      repository.chunks().close_removed_packs();
    });
    served = watcher.ok() ? session->serve() : Result<void>(watcher.error());
    keeper->wind_down();
    // First the mountpoint: whatever takes its time below, nobody waits for it there.
    session->unmount();
    detach_own(path, device);
  }
  reader.reset();  // may wait for a slow disk: while the keeper still watches
  return served;
}

}  // namespace bygone::fs
