// SPDX-License-Identifier: Apache-2.0
#include "ingest/daemon/notify.h"

#include <cerrno>
#include <csignal>

#include <fcntl.h>
#include <fmt/core.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ingest/docker/json.h"
#include "store/base/log.h"
#include "store/zone.h"

namespace bygone::ingest {
namespace {

constexpr std::size_t kMostWaiting = 1000;
constexpr std::size_t kMostTold = 10'000;  // sources, and what was told of one, are remembered
// Less than a day, or what fails each night would be told every other one.
constexpr Nanoseconds kTellAgain = Nanoseconds{20} * 3600 * kSecond;
constexpr std::chrono::seconds kDeadline{5};
constexpr std::chrono::seconds kCommandDeadline{30};
constexpr std::chrono::seconds kFarewell{2};

const char* to_text(Notice::Event event) {
  return event == Notice::Event::success   ? "success"
         : event == Notice::Event::partial ? "partial"
         : event == Notice::Event::failure ? "failure"
                                           : "overdue";
}

bool wants(const Notifier& notifier, Notice::Event event) {
  return event == Notice::Event::success   ? notifier.on_success
         : event == Notice::Event::partial ? notifier.on_partial
         : event == Notice::Event::failure ? notifier.on_failure
                                           : notifier.on_overdue;
}

const char* to_text(Notifier::Kind kind) {
  return kind == Notifier::Kind::ping      ? "ping"
         : kind == Notifier::Kind::webhook ? "webhook"
                                           : "command";
}

// A ping counts runs; that a source is overdue is none.
bool is_for_each_run(const Notifier& notifier, const Notice& notice) {
  return notifier.kind == Notifier::Kind::ping && notice.event != Notice::Event::overdue;
}

// Whom it tells, and of what: that one was not heard is no reason to tell another again.
std::string told_as(const Notifier& notifier, const Notice& notice) {
  std::string key = std::string(to_text(notifier.kind)) + '\0' + notifier.url + '\0';
  for (const std::string& word : notifier.command) key += word + '\0';
  return key + to_text(notice.event) + ": " +
         (notice.cause.empty() ? notice.message : notice.cause);
}

std::string ping_url(const std::string& url, Notice::Event event) {
  if (event == Notice::Event::success) return url;
  // What comes after the path, such as ?create=1, stays there.
  const std::size_t query = std::min(url.find('?'), url.size());
  const bool has_slash = query > 0 && url[query - 1] == '/';
  return url.substr(0, query) + (has_slash ? "fail" : "/fail") + url.substr(query);
}

// The environment of this process, and what the notice says; owns what `pointers` points to.
struct Environment {
  explicit Environment(const Notice& notice) {
    for (char** one = environ; *one != nullptr; ++one) {
      const std::string_view text = *one;
      // The service manager is not the command's to talk to.
      if (!text.starts_with("NOTIFY_SOCKET=") && !text.starts_with("WATCHDOG_")) {
        texts.emplace_back(text);
      }
    }
    texts.push_back(std::string("BYGONE_EVENT=") + to_text(notice.event));
    texts.push_back("BYGONE_SOURCE=" + notice.source);
    texts.push_back("BYGONE_MESSAGE=" + printable(notice.message));
    texts.push_back("BYGONE_SNAPSHOT=" + notice.snapshot);
    pointers.reserve(texts.size() + 1);
    for (std::string& text : texts) pointers.push_back(text.data());
    pointers.push_back(nullptr);
  }
  std::vector<std::string> texts;
  std::vector<char*> pointers;
};

Result<pid_t> spawn(std::vector<std::string> command, const Notice& notice) {
  Environment environment(notice);
  std::vector<char*> arguments;
  arguments.reserve(command.size() + 1);
  for (std::string& word : command) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, usual;
  sigemptyset(&none);
  sigemptyset(&usual);
  sigaddset(&usual, SIGPIPE);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &usual);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  pid_t child = -1;
  const int failed = posix_spawnp(&child, arguments[0], &actions, &attributes, arguments.data(),
                                  environment.pointers.data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return os_error(failed, "starting " + printable(command[0]));
  return child;
}

}  // namespace

std::string to_json(const Notice& notice) {
  const auto quoted = [](const std::string& text) {
    auto json = docker::json_text(printable(text));
    return json.ok() ? std::move(*json) : std::string("\"\"");  // printable() text is UTF-8
  };
  return fmt::format(
      "{{\"event\":\"{}\",\"source\":{},\"host\":{},\"time\":\"{}\",\"message\":{},"
      "\"snapshot_id\":{}}}",
      to_text(notice.event), quoted(notice.source), quoted(notice.host),
      store::to_rfc3339("UTC", notice.time), quoted(notice.message), quoted(notice.snapshot));
}

Result<void> run_command(const std::vector<std::string>& command, const Notice& notice,
                         std::chrono::milliseconds deadline, const std::atomic<bool>& cancel) {
  if (command.empty()) return Error{Code::invalid, 0, "there is no command"};
  const pid_t child = TRY(spawn(command, notice));
  const auto until = std::chrono::steady_clock::now() + deadline;
  int status = 0;
  pid_t ended = 0;
  while ((ended = waitpid(child, &status, WNOHANG)) == 0) {
    if (cancel || std::chrono::steady_clock::now() > until) {
      kill(-child, SIGKILL);
      waitpid(child, &status, 0);
      return Error{
          Code::unavailable, 0,
          cancel ? std::string("it was killed, for the daemon ends")
                 : fmt::format("it did not end within {} ms and was killed", deadline.count())};
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  if (ended < 0) return os_error(errno, "waiting for the command");
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return Error{Code::io, 0,
               WIFEXITED(status) ? fmt::format("it ended with exit code {}", WEXITSTATUS(status))
                                 : fmt::format("it was killed by signal {}", WTERMSIG(status))};
}

Notify::Notify(Visitor visitor)
    : visitor_(std::move(visitor)), thread_([this] { tell_in_turn(); }) {}

Notify::~Notify() {
  {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kFarewell, [&] { return queue_.empty() && !telling_; });
    stop_ = true;
    hurry_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

bool Notify::is_news(const Notifier& notifier, const Notice& notice) const {
  if (notice.event == Notice::Event::success) return true;
  const auto source = told_.find(notice.source);
  if (source == told_.end()) return true;
  const auto last = source->second.find(told_as(notifier, notice));
  if (last == source->second.end()) return true;
  const Nanoseconds age = notice.time - last->second;
  return age < 0 || age >= kTellAgain;
}

void Notify::remember(const Notifier& notifier, const Notice& notice) {
  if (notice.event == Notice::Event::success) return;
  if (told_.size() >= kMostTold) told_.clear();
  auto& told = told_[notice.source];
  if (told.size() >= kMostTold) told.clear();
  told.insert_or_assign(told_as(notifier, notice), notice.time);
}

// It was not heard after all.
void Notify::forget(const Notifier& notifier, const Notice& notice) {
  const auto source = told_.find(notice.source);
  if (source != told_.end()) source->second.erase(told_as(notifier, notice));
}

void Notify::tell(const std::vector<Notifier>& notifiers, const Notice& notice) {
  const std::lock_guard lock(mutex_);
  if (notice.event == Notice::Event::success) told_.erase(notice.source);
  for (const Notifier& notifier : notifiers) {
    if (!wants(notifier, notice.event)) continue;
    if (!is_for_each_run(notifier, notice) && !is_news(notifier, notice)) continue;
    if (queue_.size() == kMostWaiting) {
      log::warning("nobody was told of " + queue_.front().second.source + ": too much is waiting");
      forget(queue_.front().first, queue_.front().second);
      queue_.pop_front();
    }
    queue_.emplace_back(notifier, notice);
    if (!is_for_each_run(notifier, notice)) remember(notifier, notice);
  }
  changed_.notify_all();
}

void Notify::tell_in_turn() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return stop_ || !queue_.empty(); });
    if (stop_) return;
    const auto [notifier, notice] = std::move(queue_.front());
    queue_.pop_front();
    telling_ = true;
    lock.unlock();
    const bool told = tell_one(notifier, notice);
    lock.lock();
    if (!told && !is_for_each_run(notifier, notice)) forget(notifier, notice);
    telling_ = false;
    changed_.notify_all();
  }
}

bool Notify::tell_one(const Notifier& notifier, const Notice& notice) const {
  Visit visit{.url = notifier.url, .json = {}, .socket_path = {}, .deadline = kDeadline};
  Result<void> told;
  switch (notifier.kind) {
    case Notifier::Kind::ping:
      visit.url = ping_url(notifier.url, notice.event);
      told = visitor_(visit);
      break;
    case Notifier::Kind::webhook:
      visit.json = to_json(notice);
      told = visitor_(visit);
      break;
    case Notifier::Kind::command:
      told = run_command(notifier.command, notice, kCommandDeadline, hurry_);
      break;
  }
  if (told.ok()) return true;
  log::warning(fmt::format("the {} for {} of {} was not told: {}", to_text(notifier.kind),
                           to_text(notice.event), notice.source, told.error().message));
  return false;
}

}  // namespace bygone::ingest
