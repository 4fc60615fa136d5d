// SPDX-License-Identifier: Apache-2.0
#include "ingest/owed_hooks.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>

#include "ingest/at_once.h"
#include "ingest/freeze.h"
#include "ingest/hook_journal.h"
#include "ingest/intent_journal.h"
#include "ingest/put_back.h"
#include "store/base/bytes.h"
#include "store/base/files.h"

namespace bygone::ingest {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr unsigned kHookTries = 2;
constexpr milliseconds kHookPause{1'000};  // between the two
constexpr milliseconds kHookGlance{100};
// Of whoever waits for somebody else's hook, beside its timeout: to begin, and to end it.
constexpr milliseconds kHookSlack{5'000};
constexpr std::uint64_t kLargestHookJournal = 4 << 20;

// Waits, unless `cancel` becomes true.
void pause_for(milliseconds time, const std::atomic<bool>& cancel) {
  for (const auto end = steady_clock::now() + time; !cancel && steady_clock::now() < end;) {
    std::this_thread::sleep_for(std::min(time, kHookGlance));
  }
}

std::string owed_name(const HookRecord& record) {
  return "the post hook " + printable(record.hook.command.front()) +
         ", which a backup that died did not come to,";
}

OwedHook debt_outcome(OwedHook::Fate fate, const HookRecord& record, const std::string& what) {
  return {fate, record.name, owed_name(record) + " " + what};
}

OwedHook unreadable(const std::string& path, const Error& error) {
  return {OwedHook::Fate::owed_still, "",
          "the post hook of a container is owed by hook journal " + printable(path) + ": " +
              error.message};
}

// As a shell takes it.
std::string in_shell(const std::string& word) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=:,@%+";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) return word;
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? "'\\''" : std::string(1, c);
  return printable(quoted + "'");
}

// "docker exec -u app 0123456789ab rm /data/flushed"
std::string by_hand(const HookRecord& record) {
  std::string text = "docker exec ";
  if (!record.hook.user.empty()) text += "-u " + in_shell(record.hook.user) + " ";
  text += printable(record.container.substr(0, 12));
  for (const std::string& argument : record.hook.command) text += " " + in_shell(argument);
  return text;
}

enum class Owes { now, later, nothing };

// Whether the run that the pre hook ran in is there; `why` not.
Owes look_at_debt(docker::Engine& engine, const HookRecord& record, const std::string& state_folder,
                  std::string& why) {
  const auto state = engine.state(record.container);
  if (!state) {
    const bool is_gone = state.error().code == Code::not_found;
    why = is_gone ? "its container is gone" : state.error().message;
    return is_gone ? Owes::nothing : Owes::later;
  }
  const bool same_run = record.started_at.empty() || state->started_at == record.started_at;
  if (!same_run && !record.is_stopped) {
    why = "its container was started anew since";
    return Owes::nothing;
  }
  if (is_paused(*state)) {
    why = "its container is paused";
    return Owes::later;
  }
  if (state->running && !state->restarting) return Owes::now;
  // Whoever stopped it for a backup, or finds the journal of that, may start it again yet.
  why = "its container does not run";
  return has_journals(state_folder) ? Owes::later : Owes::nothing;
}

// The end of a debt.
OwedHook strike_off(IntentJournal& journal, const HookRecord& record, OwedHook::Fate fate,
                    std::string what) {
  const auto removed = journal.remove();
  if (!removed) what += "; it may run again, for its journal stays: " + removed.error().message;
  return debt_outcome(fate, record, what);
}

// Runs the hook of a journal that is ours now.
OwedHook pay_debt(docker::Engine& engine, IntentJournal& journal, HookRecord record,
                  const std::string& state_folder, const std::atomic<bool>& cancel) {
  using Fate = OwedHook::Fate;
  for (;;) {
    std::string why;
    const Owes owes = look_at_debt(engine, record, state_folder, why);
    if (owes == Owes::nothing) {
      return strike_off(journal, record, Fate::not_owed, "is not run: " + why);
    }
    if (owes == Owes::later) return debt_outcome(Fate::owed_still, record, "waits: " + why);
    const auto ran = run_hook(engine, record.container, record.hook, "post", cancel);
    if (ran) return strike_off(journal, record, Fate::ran, "has run");
    if (cancel) return debt_outcome(Fate::owed_still, record, "was interrupted");
    if (++record.failures >= kHookTries) {
      return strike_off(journal, record, Fate::failed,
                        "has failed twice, and is not tried again: " + ran.error().message +
                            "; hint: " + by_hand(record));
    }
    ignore(journal.replace(encode(record)), "at worst it is tried once more");
    pause_for(kHookPause, cancel);
  }
}

Result<HookRecord> read_hook_journal(const IntentJournal& journal, const docker::Engine& engine) {
  auto record = decode_hook_record(TRY(journal.read()));
  if (!record) {
    Error error = std::move(record).error();
    if (error.code == Code::corrupt) error.message += "; hint: run what it names, then remove it";
    return error;
  }
  if (is_same_engine(record->engine, engine.address())) return record;
  const std::string other = printable(record->engine);
  return Error{Code::unavailable, 0,
               "it is about the Docker engine " + other + ", and this one is " +
                   printable(engine.address()) + "; hint: run DOCKER_HOST=" + other +
                   " bygone thaw"};
}

// Nothing when somebody else has the journal, or has seen to it.
std::optional<OwedHook> take_up_debt(docker::Engine& engine, const std::string& path,
                                     const std::string& state_folder,
                                     const std::atomic<bool>& cancel) {
  auto journal = IntentJournal::adopt(path);
  if (!journal) return unreadable(path, journal.error());
  if (!journal->is_open()) return std::nullopt;
  auto record = read_hook_journal(*journal, engine);
  if (!record) return unreadable(path, record.error());
  return pay_debt(engine, *journal, std::move(*record), state_folder, cancel);
}

// Without its lock: whoever has it may be at it.
std::optional<HookRecord> glance_at(const std::string& path) {
  const auto text = read_file(system_files(), path, kLargestHookJournal);
  if (!text) return std::nullopt;
  auto record = decode_hook_record(as_text(*text));
  if (!record) return std::nullopt;
  return std::move(*record);
}

// Until it is seen to, by us or by somebody else.
std::optional<OwedHook> await_debt(docker::Engine& engine, const std::string& path,
                                   const std::string& state_folder, const HookRecord& record,
                                   const std::atomic<bool>& cancel) {
  const auto end = steady_clock::now() + kHookTries * record.hook.timeout + kHookPause + kHookSlack;
  while (glance_at(path)) {
    auto outcome = take_up_debt(engine, path, state_folder, cancel);
    if (outcome || cancel) return outcome;
    if (steady_clock::now() >= end) {
      return debt_outcome(OwedHook::Fate::owed_still, record, "is still seen to by somebody else");
    }
    pause_for(kHookGlance, cancel);
  }
  return std::nullopt;
}

}  // namespace

bool has_owed_hooks(const std::string& state_folder) {
  return has_dead_journal(hook_folder(state_folder));
}

std::vector<OwedHook> run_owed_hooks(docker::Engine& engine, const std::string& state_folder,
                                     const std::atomic<bool>& cancel) {
  struct Debt {
    std::string path;
    std::optional<OwedHook> outcome;
  };
  const std::string folder = hook_folder(state_folder);
  std::vector<OwedHook> outcomes;
  const auto cleared = remove_unfinished_journals(folder);
  if (!cleared) outcomes.push_back(unreadable(folder, cleared.error()));
  const auto paths = intent_journals(folder);
  if (!paths) {
    outcomes.push_back(unreadable(folder, paths.error()));
    return outcomes;
  }
  std::vector<Debt> debts;
  for (const std::string& path : *paths) debts.push_back({path, std::nullopt});
  for_each_at_once(debts, [&](Debt& debt) {
    debt.outcome = take_up_debt(engine, debt.path, state_folder, cancel);
  });
  for (Debt& debt : debts) {
    if (debt.outcome) outcomes.push_back(std::move(*debt.outcome));
  }
  return outcomes;
}

std::vector<OwedHook> settle_owed_hooks(docker::Engine& engine, const std::string& state_folder,
                                        const std::string& container,
                                        const std::atomic<bool>& cancel) {
  std::vector<OwedHook> outcomes;
  // One that cannot be read is named by whoever runs them all.
  const auto paths = intent_journals(hook_folder(state_folder));
  if (!paths) return outcomes;
  for (const std::string& path : *paths) {
    const auto record = glance_at(path);
    if (!record || record->container != container) continue;
    auto outcome = await_debt(engine, path, state_folder, *record, cancel);
    if (outcome) outcomes.push_back(std::move(*outcome));
  }
  return outcomes;
}

}  // namespace bygone::ingest
