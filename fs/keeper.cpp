// SPDX-License-Identifier: Apache-2.0
#include "fs/keeper.h"

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <thread>

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "fs/mountpoint.h"
#include "store/base/log.h"
#include "store/base/signals.h"

namespace bygone::fs {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kPatience{5000};  // for handlers to end
constexpr milliseconds kNudge{50};       // between two attempts to wake the serving loop
constexpr const char* kReadAheadKb = "1024";

constexpr std::array<int, 3> kSignals = {SIGTERM, SIGINT, SIGHUP};

// The handler can reach nothing but this.
std::atomic<int> signal_fd{-1};

void tell(int fd) {
  const std::uint64_t one = 1;
  // An eventfd refuses only when it is full, and then it has been told already.
  [[maybe_unused]] const ssize_t n = ::write(fd, &one, sizeof one);
}

void on_signal(int /*number*/) {
  const int saved = errno;
  if (const int fd = signal_fd.load(); fd >= 0) tell(fd);
  errno = saved;
}

// 65 requests of 1 MiB instead of 513 of 128 KiB for 64 MiB. Only the device's own setting does
// it, only root may, and only after the kernel has taken the answer to INIT, which overwrites it.
void raise_read_ahead(const std::string& device) {
  const std::string path = "/sys/class/bdi/" + device + "/read_ahead_kb";
  for (int attempt = 0; attempt < 20; ++attempt) {
    const Fd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (!fd.is_open()) {
      log::debug("raising the read-ahead: " + os_error(errno, path).message);
      return;
    }
    const std::string_view wanted = kReadAheadKb;
    std::array<char, 32> now{};
    const bool written = ::pwrite(fd.get(), wanted.data(), wanted.size(), 0) > 0;
    const bool read = ::pread(fd.get(), now.data(), now.size() - 1, 0) > 0;
    if (written && read && std::string_view(now.data()).starts_with(wanted)) return;
    std::this_thread::sleep_for(milliseconds(10));
  }
  log::debug("raising the read-ahead: the kernel does not take it");
}

}  // namespace

struct Keeper::State {
  Plan plan;
  pthread_t server{};
  Fd signalled, winding_down, ended;
  std::array<struct sigaction, kSignals.size()> before{};
  std::thread thread;

  void run();
  void announce() const;
  [[noreturn]] void give_up() const;
};

void Keeper::State::announce() const {
  // Answered by the server itself: the first sign that it lives, and that INIT is over.
  struct statvfs info {};
  if (::statvfs(plan.path.c_str(), &info) != 0) {
    log::warning("the mount at " + plan.path + " does not answer");
    return;
  }
  raise_read_ahead(plan.device);
  if (plan.on_ready) plan.on_ready();
}

// Workers that hang in a handler cannot be ended: nobody who looks at the mountpoint may hang with
// them, so it goes, and then the process.
void Keeper::State::give_up() const {
  log::error("requests hang; detaching " + plan.path + " and ending");
  detach_own(plan.path, plan.device);
  ::_exit(1);
}

void Keeper::State::run() {
  announce();
  steady_clock::time_point deadline = steady_clock::time_point::max();
  bool signal_seen = false, serving = true;
  while (true) {
    std::array<pollfd, 3> fds = {{{ended.get(), POLLIN, 0},
                                  {serving ? winding_down.get() : -1, POLLIN, 0},
                                  {signal_seen ? -1 : signalled.get(), POLLIN, 0}}};
    const bool hurry = signal_seen || !serving;
    ::poll(fds.data(), fds.size(), hurry ? static_cast<int>(kNudge.count()) : -1);
    if (fds[0].revents != 0) return;
    if (fds[1].revents != 0) serving = false;
    if (fds[2].revents != 0) signal_seen = true;
    if ((signal_seen || !serving) && deadline == steady_clock::time_point::max()) {
      deadline = steady_clock::now() + kPatience;
    }
    if (signal_seen && serving) {
      // Again and again: between its look at the flag and its sleep one call would be lost.
      plan.stop();
      ::pthread_kill(server, SIGHUP);
    }
    if (steady_clock::now() > deadline) give_up();
  }
}

Keeper::Keeper(std::unique_ptr<State> state) : state_(std::move(state)) {}

Result<std::unique_ptr<Keeper>> Keeper::start(Plan plan) {
  auto state = std::make_unique<State>();
  state->plan = std::move(plan);
  state->server = ::pthread_self();
  for (Fd* fd : {&state->signalled, &state->winding_down, &state->ended}) {
    *fd = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!fd->is_open()) return os_error(errno, "looking after the mount");
  }
  signal_fd = state->signalled.get();
  struct sigaction action {};
  action.sa_handler = on_signal;  // without SA_RESTART: it must wake the serving thread
  sigset_t ours;
  sigemptyset(&ours);
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    sigaddset(&ours, kSignals[i]);
    ::sigaction(kSignals[i], &action, &state->before[i]);
  }
  {
    const SignalsBlocked blocked;
    state->thread = std::thread([raw = state.get()] { raw->run(); });
  }
  pthread_sigmask(SIG_UNBLOCK, &ours, nullptr);
  return std::unique_ptr<Keeper>(new Keeper(std::move(state)));
}

void Keeper::wind_down() { tell(state_->winding_down.get()); }

Keeper::~Keeper() {
  tell(state_->ended.get());
  state_->thread.join();
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    ::sigaction(kSignals[i], &state_->before[i], nullptr);
  }
  signal_fd = -1;
}

void detach_own(const std::string& path, const std::string& device) {
  const auto mounted = mount_at(path);
  if (!mounted.ok() || !*mounted || (*mounted)->device != device) return;
  if (const Result<void> gone = detach(path, Detach::always); !gone.ok()) {
    log::error(gone.error().message);
  }
}

}  // namespace bygone::fs
