// SPDX-License-Identifier: Apache-2.0
#include "fs/watcher.h"

#include <array>
#include <cerrno>
#include <cstring>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "store/base/log.h"
#include "store/base/signals.h"

namespace bygone::fs {
namespace {

constexpr int kListEveryMs = 10'000;

// Empties a non-blocking descriptor; what it said does not matter, only that it spoke.
void drain(int fd) {
  std::array<char, 4096> buffer{};
  while (::read(fd, buffer.data(), buffer.size()) > 0) {
  }
}

}  // namespace

Result<std::unique_ptr<Watcher>> Watcher::start(const std::string& folder,
                                                std::function<void()> changed) {
  std::unique_ptr<Watcher> watcher(new Watcher());
  watcher->changed_ = std::move(changed);
  watcher->stop_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!watcher->stop_.is_open()) return os_error(errno, "watching " + folder);
  watcher->inotify_ = Fd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  constexpr std::uint32_t kNames = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO;
  if (!watcher->inotify_.is_open() ||
      ::inotify_add_watch(watcher->inotify_.get(), folder.c_str(), kNames) < 0) {
    log::warning("watching " + folder + ": " + std::strerror(errno) +
                 "; new snapshots are seen every ten seconds");
  }
  const SignalsBlocked blocked;
  watcher->thread_ = std::thread([raw = watcher.get()] { raw->run(); });
  return watcher;
}

Watcher::~Watcher() {
  if (!thread_.joinable()) return;
  const std::uint64_t one = 1;
  if (::write(stop_.get(), &one, sizeof one) < 0) log::error("stopping a watcher failed");
  thread_.join();
}

void Watcher::run() {
  while (true) {
    changed_();
    std::array<pollfd, 2> fds = {{{stop_.get(), POLLIN, 0}, {inotify_.get(), POLLIN, 0}}};
    ::poll(fds.data(), fds.size(), kListEveryMs);
    if (fds[0].revents != 0) return;
    // Emptied before looking, so that a change meanwhile is another reason to look.
    if (fds[1].revents != 0) drain(inotify_.get());
  }
}

}  // namespace bygone::fs
