// SPDX-License-Identifier: Apache-2.0
#include "ingest/hooks.h"

#include <utility>

#include "ingest/hook_journal.h"
#include "ingest/owed_hooks.h"
#include "ingest/put_back.h"

namespace bygone::ingest {

// The hook that ends what an earlier one began must not run in the middle of what this one begins.
void HookPair::settle(const std::atomic<bool>& cancel) {
  for (OwedHook& owed :
       settle_owed_hooks(*engine_, container_.state_folder, container_.id, cancel)) {
    (owed.fate == OwedHook::Fate::failed ? failed_ : warnings_).push_back(std::move(owed.line));
  }
}

bool HookPair::runs() {
  const auto state = engine_->state(container_.id);
  if (!state) return true;  // what is wrong the command itself will say
  started_at_ = state->started_at;
  return state->running && !state->restarting;
}

Result<void> HookPair::open_journal() {
  if (!post_) return {};
  HookRecord record{.engine = engine_->address(),
                    .container = container_.id,
                    .name = container_.name,
                    .started_at = started_at_,
                    .is_stopped = container_.is_stopped,
                    .hook = *post_};
  auto journal = IntentJournal::create(hook_folder(container_.state_folder), encode(record));
  if (!journal) return std::move(journal).error().with("writing the journal of a hook");
  journal_ = std::move(*journal);
  return {};
}

Result<void> HookPair::before(const std::atomic<bool>& cancel) {
  if (!any()) return {};
  if (engine_ == nullptr || container_.id.empty()) {
    warnings_.emplace_back("its hooks were left out: they run in containers alone");
    return {};
  }
  if (!post_is_due_) {
    settle(cancel);
    if (!runs()) {
      warnings_.emplace_back("its hooks were left out: the container does not run");
      return {};
    }
    TRY(open_journal());
  }
  post_is_due_ = true;
  if (!pre_) return {};
  auto ran = run_hook(*engine_, container_.id, *pre_, "pre", cancel);
  if (ran || ran.error().code != Code::hook || pre_->on_error == Hook::OnError::fail) return ran;
  warnings_.push_back(ran.error().message);
  return {};
}

// After a hook that could not run: whoever puts the container back, or finds the journal of that,
// may come yet.
bool HookPair::stands_still() {
  const auto state = engine_->state(container_.id);
  if (!state) return false;
  return is_paused(*state) || (container_.is_stopped && !state->running);
}

void HookPair::note(std::string why) {
  (post_->on_error == Hook::OnError::fail ? failed_ : warnings_).push_back(std::move(why));
}

void HookPair::after() {
  if (!post_is_due_) return;
  if (!post_) {
    post_is_due_ = false;
    return;
  }
  const std::atomic<bool> never{false};
  auto ran = run_hook(*engine_, container_.id, *post_, "post", never);
  const bool is_owed = !ran && ran.error().code == Code::unavailable;
  if (!ran && !is_owed && stands_still()) {
    waits_because_ = std::move(ran).error().message;
    return;
  }
  post_is_due_ = false;
  IntentJournal journal = std::exchange(journal_, IntentJournal());
  if (!is_owed) {
    const auto removed = journal.remove();
    if (!removed) {
      warnings_.push_back("removing the journal of a hook: " + removed.error().message +
                          "; it may run once more");
    }
  }
  if (ran) return;
  std::string why = std::move(ran).error().message;
  if (is_owed) why += "; it is run when Docker answers again, by the daemon or `bygone thaw`";
  note(std::move(why));
}

void HookPair::leave_owed() {
  if (!post_is_due_ || !post_) return;
  post_is_due_ = false;
  journal_ = IntentJournal();
  note(waits_because_ + "; it is run once its container goes on, by the daemon or `bygone thaw`");
}

}  // namespace bygone::ingest
