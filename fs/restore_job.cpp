// SPDX-License-Identifier: Apache-2.0
#include "fs/restore_job.h"

#include <algorithm>
#include <thread>

namespace bygone::fs {

void Job::acted(RestoreAction action, const std::string& path) {
  const std::lock_guard lock(mutex_);
  switch (action) {
    case RestoreAction::created:
      ++summary.created;
      break;
    case RestoreAction::replaced:
      ++summary.replaced;
      break;
    case RestoreAction::kept:
      ++summary.kept;
      break;
    case RestoreAction::removed:
      ++summary.removed;
      break;
  }
  if (events_.action) events_.action(action, path);
}

void Job::failed(const std::string& path, const Error& error) {
  const std::lock_guard lock(mutex_);
  ++summary.failed;
  if (events_.failed) events_.failed(path, error);
}

void Job::limited(const std::string& text) {
  const std::lock_guard lock(mutex_);
  if (events_.limited) events_.limited(text);
}

void Job::skip_verify(std::uint64_t number) {
  if (!options.verify) return;
  const std::lock_guard lock(mutex_);
  if (skipped_.size() <= number) skipped_.resize(std::max(number + 1, number + number / 2));
  skipped_[number] = true;
}

bool Job::skips_verify(std::uint64_t number) const {
  const std::lock_guard lock(mutex_);
  return number < skipped_.size() && skipped_[number];
}

void Job::verified_one() {
  const std::lock_guard lock(mutex_);
  ++summary.verified;
}

unsigned thread_count(const RestoreOptions& options) {
  if (options.threads != 0) return options.threads;
  return std::clamp(std::thread::hardware_concurrency(), 2u, 4u);
}

bool is_target_itself(const std::vector<RestoreRoot>& roots) {
  return roots.size() == 1 && roots.front().name.empty();
}

std::vector<store::Entry> named_roots(const std::vector<RestoreRoot>& roots) {
  std::vector<store::Entry> entries;
  for (const RestoreRoot& root : roots) {
    entries.push_back(root.entry);
    entries.back().name = root.name;
  }
  std::sort(entries.begin(), entries.end(),
            [](const store::Entry& a, const store::Entry& b) { return a.name < b.name; });
  return entries;
}

}  // namespace bygone::fs
