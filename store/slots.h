// SPDX-License-Identifier: Apache-2.0
//
// The key slots of a repository: list, add, remove, rotate, and the form that is kept on paper.
// keys.h makes and opens a single slot; here are the files in `keys/` and the order of writes
// (FORMAT.md section 4). Changes hold the prune lock, so there is one at a time, and look at the
// slots anew under it: a program whose keys were rotated by another one since changes nothing.
// One thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "store/repository.h"

namespace bygone::store {

struct Slot {
  std::string name;
  SlotHead head;
  std::optional<SlotLabel> label;      // nothing when it is damaged
  std::optional<std::string> problem;  // why this slot opens nothing, or nothing but old packs
  bool opened_with = false;            // by this program
};

// All slots, the oldest first. Errors: those of the file system; a damaged slot is none.
Result<std::vector<Slot>> list_slots(Repository& repository);

// The newest epoch that the head of a slot names, and that slot; epoch 0 without any. A head is not
// proven, but when it says more than a program knows, that program knows too little to judge.
// Damaged slots and those of a newer kind do not count. Errors: those of the file system.
struct NewestSlot {
  std::uint32_t epoch = 0;
  std::string name;
};
Result<NewestSlot> newest_slot(Files& files, const std::string& repository);

// Whether `error` says that something needs a newer key (keys.h), and a slot has one: who opened
// the repository long ago opens it anew.
[[nodiscard]] bool keys_were_rotated(const Repository& repository, const Error& error);

// Wraps the keys under one more secret; returns the slot's name. Errors: invalid for a bad label;
// denied when a slot has a newer epoch; busy; those of the file system.
Result<std::string> add_slot(Repository& repository, const Secret& secret,
                             const std::string& label);

// Removes a slot. Errors: invalid for the slot that this program was opened with, which is the one
// that is known to open; denied for one that has a newer epoch than the keys of this program, for
// it may be the only one; not_found for it, or when the one that opened is gone; busy; those of the
// file system.
Result<void> remove_slot(Repository& repository, const std::string& name);

// Begins a new epoch: what is written from now on is sealed under new keys. Slots of `secrets`
// (the one that the repository was opened with among them) are made anew with their labels; all
// others are removed. Returns how many of those are of none of `secrets`. New slots are durable
// before an old one goes, so a crash leaves slots too many and none too few.
// Errors: denied when a secret opens no slot, or a slot has a newer epoch than the keys of this
// program: a second epoch of that number would take its place, and what was sealed under it would
// be lost; invalid with Others::keep when there are slots of other secrets, naming their number;
// busy. Nothing was changed then.
enum class Others { keep, drop };
Result<std::size_t> rotate_keys(Repository& repository, const std::vector<Secret>& secrets,
                                Others others);

// A slot as lines that a person can type back, each with a check of its own. The secret of the
// slot is still needed.
Result<std::string> export_slot(Repository& repository, const std::string& name);
// Writes such lines back as a slot of the repository at `path`, which need not have any slot left;
// `secret` must open it. Returns its name. Errors: invalid for a line that is mistyped, naming it;
// denied; corrupt when it belongs to another repository.
Result<std::string> import_slot(const std::string& path, const Secret& secret,
                                const std::string& text, Files& files = system_files());

}  // namespace bygone::store
