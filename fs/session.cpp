// SPDX-License-Identifier: Apache-2.0
#include "fs/session.h"

#define FUSE_USE_VERSION 312
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <mutex>

#include <fuse_lowlevel.h>
#include <sys/uio.h>
#include <unistd.h>

#include "store/base/log.h"

namespace bygone::fs {
namespace {

// libfuse tells why a mount failed only to its log.
std::mutex last_words_mutex;
std::string last_words;

std::string take_last_words() {
  const std::lock_guard lock(last_words_mutex);
  return std::exchange(last_words, {});
}

void on_fuse_log(fuse_log_level level, const char* format, va_list args) {
  std::array<char, 1024> text{};
  std::vsnprintf(text.data(), text.size(), format, args);
  std::string line(text.data());
  while (line.ends_with('\n')) line.pop_back();
  {
    const std::lock_guard lock(last_words_mutex);
    last_words = line;
  }
  if (level <= FUSE_LOG_WARNING) {
    log::info("libfuse: " + line);
  } else {
    log::debug("libfuse: " + line);
  }
}

ssize_t read_socket(int fd, void* buffer, std::size_t size, void* /*userdata*/) {
  return ::read(fd, buffer, size);
}
ssize_t write_socket(int fd, iovec* parts, int count, void* /*userdata*/) {
  return ::writev(fd, parts, count);
}

}  // namespace

Result<std::unique_ptr<Session>> Session::create(Service& service, const std::string& options) {
  fuse_set_log_func(on_fuse_log);
  fuse_args args = FUSE_ARGS_INIT(0, nullptr);
  fuse_opt_add_arg(&args, "bygone");
  fuse_opt_add_arg(&args, "-o");
  fuse_opt_add_arg(&args, options.c_str());
  fuse_session* session =
      fuse_session_new(&args, &operations(), sizeof(fuse_lowlevel_ops), &service);
  fuse_opt_free_args(&args);
  if (session == nullptr) {
    return Error{Code::io, 0, "starting a FUSE session: " + take_last_words()};
  }
  return std::unique_ptr<Session>(new Session(session));
}

Session::~Session() {
  unmount();
  fuse_session_destroy(session_);
}

Result<void> Session::mount(const std::string& mountpoint) {
  if (::access("/dev/fuse", F_OK) != 0) {
    return Error{Code::unavailable, 0,
                 "mounting on " + mountpoint +
                     ": this machine has no /dev/fuse; hint: load the fuse module, or start the "
                     "container with --device /dev/fuse --cap-add SYS_ADMIN"};
  }
  if (fuse_session_mount(session_, mountpoint.c_str()) != 0) {
    return Error{Code::denied, 0,
                 "mounting on " + mountpoint + ": " + take_last_words() +
                     "; hint: as a user this needs fusermount3, and --allow-other needs "
                     "user_allow_other in /etc/fuse.conf"};
  }
  is_mounted_ = true;
  return {};
}

Result<void> Session::attach(int fd) {
  fuse_custom_io io{};
  io.read = read_socket;
  io.writev = write_socket;
  const int rc = fuse_session_custom_io(session_, &io, fd);
  if (rc != 0) return os_error(rc < 0 ? -rc : EINVAL, "attaching a FUSE session to a socket");
  return {};
}

Result<void> Session::serve() {
  fuse_loop_config* config = fuse_loop_cfg_create();
  const int rc = fuse_session_loop_mt(session_, config);
  fuse_loop_cfg_destroy(config);
  if (rc < 0) return os_error(-rc, "answering file system requests");
  return {};
}

void Session::stop() { fuse_session_exit(session_); }

void Session::unmount() {
  if (std::exchange(is_mounted_, false)) fuse_session_unmount(session_);
}

void Session::name_changed(NodeId folder, const std::string& name) {
  const int rc = fuse_lowlevel_notify_inval_entry(session_, folder, name.c_str(), name.size());
  // -ENOENT: the kernel knows no such name, which is as good.
  if (rc != 0 && rc != -ENOENT)
    log::debug("telling the kernel of a new name: " + std::to_string(rc));
}

void Session::folder_changed(NodeId folder) {
  const int rc = fuse_lowlevel_notify_inval_inode(session_, folder, 0, 0);
  if (rc != 0 && rc != -ENOENT) log::debug("telling the kernel of a change: " + std::to_string(rc));
}

}  // namespace bygone::fs
