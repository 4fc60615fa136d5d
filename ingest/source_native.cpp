// SPDX-License-Identifier: Apache-2.0
//
// The begin and end of a database's own backup mode, as a part of source_backup.h.
#include <algorithm>

#include "ingest/source_backup.h"
#include "ingest/volume_pass.h"

namespace bygone::ingest {

using store::Consistency;

Result<void> SourceBackup::leave_native(const Error& why) {
  if (native_) off_limits_.erase(native_->wal_folder());
  native_.reset();  // ends the session, and with it the backup mode
  aside_.reset();
  if (why.code == Code::cancelled) return why;
  if (options_.wish == Wish::native) {
    return Error{Code::unsupported, 0, why.message + "; hint: --consistency freeze"};
  }
  snapshot_.consistency = Consistency::live;
  warn("not captured natively: " + why.message);
  return {};
}

Result<void> SourceBackup::put_native_aside(const Error& why) {
  if (options_.wish == Wish::native) return leave_native(why);
  off_limits_.erase(native_->wal_folder());
  aside_ = why;
  return {};
}

Result<void> SourceBackup::begin_native(docker::Engine& engine) {
  std::vector<const Fd*> roots;
  roots.reserve(here_.size());
  for (const VolumePass* pass : here_) {
    if (pass != nullptr) roots.push_back(&pass->fd());
  }
  if (roots.size() < here_.size()) {
    const Error why{Code::unsupported, 0, "not all of it is read on this host"};
    if (options_.wish == Wish::native) return leave_native(why);
    // That an engine is elsewhere is known; that the layer keeps its container from it is not.
    const bool has_layer = source_.volumes.back().kind == store::VolumeKind::layer;
    const bool only_layer = has_layer && roots.size() + 1 == here_.size();
    if (!only_layer || !NativeBackup::is_for(engine, source_)) return {};
    return leave_native(Error{Code::unsupported, 0,
                              "its layer is read through the engine, which tells no place of it, "
                              "or bygone lacks CAP_SYS_ADMIN; hint: bygone.layer=off"});
  }
  auto native = NativeBackup::begin(engine, source_, std::move(roots), context_.cancel);
  if (!native) return leave_native(native.error());
  native_ = std::move(*native);
  if (native_) {
    // Most of the WAL there now is of no use at the end.
    off_limits_.emplace(native_->wal_folder(), "");
    return {};
  }
  if (options_.wish != Wish::native) return {};
  return Error{Code::unsupported, 0,
               "no PostgreSQL runs on its volumes; hint: --consistency freeze"};
}

Result<void> SourceBackup::end_native(Nanoseconds since) {
  // What is committed from here on may be in the snapshot or not.
  snapshot_.instant = since != 0 ? since : options_.clock();
  auto ended = native_->end();
  if (!ended) return leave_native(ended.error());
  snapshot_.consistency = Consistency::native;
  snapshot_.window = 0;
  snapshot_.skew = since != 0 ? std::max<Nanoseconds>(0, options_.clock() - since) : 0;
  return {};
}

}  // namespace bygone::ingest
