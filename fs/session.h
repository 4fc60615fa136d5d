// SPDX-License-Identifier: Apache-2.0
//
// A FUSE session: libfuse's handle, its loop of threads, and the way to tell the kernel what
// changed. Mounted on a folder, or attached to a socket that plays the kernel (tests). Not the
// signals and not the mount table (mount.h).
#pragma once

#include <memory>
#include <string>

#include "fs/ops.h"
#include "store/base/result.h"

struct fuse_session;

namespace bygone::fs {

class Session {
 public:
  // `service` must outlive it. `options`: mount options, as after -o.
  // Errors: io when libfuse refuses them.
  static Result<std::unique_ptr<Session>> create(Service& service, const std::string& options);
  // Unmounts when it is still mounted.
  ~Session();

  // Errors: unavailable without /dev/fuse; denied or io with libfuse's own words.
  Result<void> mount(const std::string& mountpoint);
  // Requests come from and replies go to `fd`, a SOCK_SEQPACKET socket, which it takes over.
  Result<void> attach(int fd);
  // Answers requests on libfuse's threads until the file system is unmounted or stop() is called.
  // The thread that called it must get a handled signal after stop(), for it may be waiting.
  Result<void> serve();
  // Callable from any thread.
  void stop();
  // Takes the mount away if it is there; before the session ends.
  void unmount();

  // Tell the kernel that `name` in `folder` came or went, and that the list and attributes of
  // `folder` changed. Only from a thread that answers no requests, holding no lock: the kernel
  // waits for requests under way in that folder.
  void name_changed(NodeId folder, const std::string& name);
  void folder_changed(NodeId folder);

 private:
  explicit Session(fuse_session* session) : session_(session) {}
  fuse_session* session_;
  bool is_mounted_ = false;
};

}  // namespace bygone::fs
