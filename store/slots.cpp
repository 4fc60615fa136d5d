// SPDX-License-Identifier: Apache-2.0
#include "store/slots.h"

#include <algorithm>
#include <cctype>
#include <optional>

#include <fmt/core.h>

#include "store/base/codec.h"
#include "store/config.h"
#include "store/format.h"
#include "store/locks.h"
#include "store/temp_file.h"

namespace bygone::store {
namespace {

constexpr std::size_t kLineBytes = 16;
constexpr std::size_t kCheckBytes = 2;
constexpr std::string_view kPaperTitle = "bygone key, repository ";

std::string keys_folder(const Repository& repository) { return repository.path() + "/keys"; }

// What has another name is not ours: a folder that a NAS puts everywhere, what somebody keeps
// there.
Result<std::vector<std::string>> slot_names(Files& files, const std::string& folder) {
  std::vector<std::string> names = TRY(files.list(folder));
  std::erase_if(names, [](const std::string& name) { return !PackId::from_hex_text(name); });
  return names;
}

Result<Bytes> read_slot(Files& files, const std::string& folder, const std::string& name) {
  return read_file(files, folder + "/" + name, kMaxSlotBytes);
}

Result<std::string> write_slot(Repository& repository, const KeyRing& keys, const Secret& secret,
                               const SlotLabel& label) {
  std::string name = random_id<PackId>().hex();
  const Bytes slot = TRY(keys.wrap(secret, name, label));
  // What does not open is not written: nobody would know until the day it is needed.
  TRY(KeyRing::unwrap(repository.id(), secret, name, slot));
  TRY(write_durably(repository.files(), repository.path() + "/tmp", keys_folder(repository), name,
                    slot));
  return name;
}

// Two bytes that nearly every slip of the pen changes.
std::array<std::uint8_t, kCheckBytes> line_check(std::size_t number, ByteView bytes) {
  Writer w;
  w.u32(static_cast<std::uint32_t>(number));
  w.bytes(bytes);
  std::array<std::uint8_t, 16> hash{};
  keyed_hash(SecretBytes(kKeyBytes), "bygone.paper", {w.buffer()}, hash);
  return {hash[0], hash[1]};
}

std::string grouped(const std::string& hex) {
  std::string text;
  for (std::size_t i = 0; i < hex.size(); i += 4) text += (i == 0 ? "" : " ") + hex.substr(i, 4);
  return text;
}

// "12: 0011 2233 ... - abcd".
Result<Bytes> parse_line(std::size_t number, const std::string& line) {
  const auto bad = [&](const char* why) {
    return Error{Code::invalid, 0, fmt::format("line {} of the key {}", number, why)};
  };
  const std::size_t colon = line.find(':');
  const std::size_t dash = line.rfind('-');
  if (colon == std::string::npos || dash == std::string::npos || dash < colon) {
    return bad("is not one; hint: it reads 'NUMBER: DIGITS - CHECK'");
  }
  if (line.substr(0, colon) != std::to_string(number)) return bad("is missing");
  std::string digits;
  for (const char c : line.substr(colon + 1)) {
    if (c != ' ' && c != '-')
      digits += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  Bytes bytes(digits.size() / 2);
  if (digits.size() % 2 != 0 || bytes.size() <= kCheckBytes || !from_hex(digits, bytes)) {
    return bad("has a character too few, too many or wrong");
  }
  const ByteView content = ByteView(bytes).first(bytes.size() - kCheckBytes);
  const auto check = line_check(number, content);
  if (!std::equal(check.begin(), check.end(), bytes.end() - kCheckBytes)) {
    return bad("is mistyped: its check does not fit");
  }
  bytes.resize(content.size());
  return bytes;
}

struct Paper {
  RepositoryId repository;
  std::string name;
  Bytes slot;
};

Result<Paper> parse_paper(const std::string& text) {
  Bytes all;
  std::size_t number = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    at = end + 1;
    while (!line.empty() && std::isspace(static_cast<unsigned char>(line.back())) != 0) {
      line.pop_back();
    }
    line.erase(0, line.find_first_not_of(" \t"));
    if (line.empty() || std::isdigit(static_cast<unsigned char>(line[0])) == 0) continue;
    const Bytes bytes = TRY(parse_line(++number, line));
    all.insert(all.end(), bytes.begin(), bytes.end());
    if (all.size() > 2 * kMaxSlotBytes) return Error{Code::invalid, 0, "the key is too long"};
  }
  const auto decode = [&]() -> Result<Paper> {
    Reader r(all);
    Paper paper;
    paper.repository = TRY(r.id<RepositoryId>());
    paper.name = TRY(r.id<PackId>())
    .hex();
    const ByteView slot = TRY(r.bytes(TRY(r.u16())));
    paper.slot.assign(slot.begin(), slot.end());
    TRY(r.finish());
    return paper;
  };
  auto paper = decode();
  if (!paper) return Error{Code::invalid, 0, "the key is cut off; hint: all its lines are needed"};
  return paper;
}

// The keys in memory are of the moment at which the repository was opened. Where a slot has a newer
// epoch, this program would make another one of the same number, or take the only copy away.
Error newer_slot(const Repository& repository, const std::string& name, std::uint32_t epoch) {
  return Error{
      Code::denied, 0,
      fmt::format("key slot {} has newer keys (epoch {}) than the secret that was used (epoch {}): "
                  "a key rotate was interrupted, or ended just now; nothing was changed; hint: try "
                  "again with the secret of that slot, and after an interrupted one bygone key "
                  "rotate with --keep-key-file or --keep-password-file for the others; a slot that "
                  "no secret opens is damaged, and is removed by hand",
                  printable(name), epoch, repository.keys().newest_epoch())};
}

// The caller holds the lock.
Result<void> refuse_with_old_keys(Repository& repository) {
  const NewestSlot newest = TRY(newest_slot(repository.files(), repository.path()));
  if (newest.epoch <= repository.keys().newest_epoch()) return {};
  return newer_slot(repository, newest.name, newest.epoch);
}

// What a rotation makes of the slots that stand: a label for each secret, and how many slots none
// of the secrets opens.
struct RotationPlan {
  std::vector<std::optional<SlotLabel>> labels;
  std::size_t others = 0;
};

Result<RotationPlan> plan_rotation(Repository& repository, const std::vector<std::string>& slots,
                                   const std::vector<Secret>& secrets) {
  RotationPlan plan{.labels = std::vector<std::optional<SlotLabel>>(secrets.size()), .others = 0};
  for (const std::string& name : slots) {
    const auto raw = read_slot(repository.files(), keys_folder(repository), name);
    bool is_kept = false;
    for (std::size_t i = 0; i < secrets.size() && raw.ok() && !is_kept; ++i) {
      if (!KeyRing::unwrap(repository.id(), secrets[i], name, *raw)) continue;
      is_kept = true;
      // An interrupted rotation leaves two slots of one secret, with one label.
      auto label = repository.keys().label(name, *raw);
      if (label) plan.labels[i] = std::move(*label);
      if (!plan.labels[i]) plan.labels[i] = SlotLabel{.created = system_now(), .text = ""};
    }
    if (!is_kept) ++plan.others;
  }
  for (std::size_t i = 0; i < secrets.size(); ++i) {
    if (plan.labels[i]) continue;
    return Error{Code::denied, 0,
                 fmt::format("secret {} of {} opens no key slot: nothing was changed", i + 1,
                             secrets.size())};
  }
  return plan;
}

// That the paper, opened to `keys`, is of the repository at `path`: its configuration or the copy
// of it proves itself. Else what is wrong; a secret that does not open it comes before damage.
Result<void> expect_home(Files& files, const std::string& path, const RepositoryId& paper,
                         const Result<std::unique_ptr<KeyRing>>& keys) {
  std::optional<Error> fault;
  std::optional<RepositoryId> other;
  bool is_named = false;
  for (const char* name : {kConfigFile, kConfigCopy}) {
    const auto raw = read_file(files, path + "/" + name, 1u << 16);
    const auto config = raw ? decode_config(*raw) : Result<Config>(raw.error());
    if (keys && raw && prove_config(*raw, **keys)) {
      // One of a later version, too, decides alone.
      return config ? Result<void>() : config.error();
    }
    if (!config && !fault) fault = config.error();
    if (config && config->repository == paper) is_named = true;
    if (config && config->repository != paper) other = config->repository;
  }
  if (is_named && !keys) return keys.error();
  if (is_named) return Error{Code::corrupt, 0, "the configuration was damaged or replaced"};
  if (!other) return *fault;
  return Error{Code::invalid, 0,
               "this key belongs to repository " + paper.hex() + ", and the one at " +
                   printable(path) + " is " + other->hex()};
}

}  // namespace

Result<NewestSlot> newest_slot(Files& files, const std::string& repository) {
  const std::string folder = repository + "/keys";
  NewestSlot newest;
  for (const std::string& name : TRY(slot_names(files, folder))) {
    const auto raw = read_slot(files, folder, name);
    if (!raw && raw.error().code == Code::not_found) continue;  // removed since the listing
    if (!raw) return raw.error();
    const auto head = KeyRing::read_head(name, *raw);
    if (head && head->newest_epoch > newest.epoch) {
      newest = {.epoch = head->newest_epoch, .name = name};
    }
  }
  return newest;
}

Result<std::vector<Slot>> list_slots(Repository& repository) {
  std::vector<Slot> slots;
  const std::string folder = keys_folder(repository);
  for (const std::string& name : TRY(slot_names(repository.files(), folder))) {
    auto raw = read_slot(repository.files(), folder, name);
    if (!raw && raw.error().code == Code::not_found) continue;  // removed since the listing
    Slot slot{.name = name,
              .head = {},
              .label = std::nullopt,
              .problem = std::nullopt,
              .opened_with = name == repository.slot()};
    auto head = raw ? KeyRing::read_head(name, *raw) : raw.error();
    if (head) {
      slot.head = *head;
      if (auto label = repository.keys().label(name, *raw)) slot.label = std::move(*label);
      if (head->newest_epoch < repository.keys().newest_epoch()) {
        slot.problem = "left over from before a rotation: opens old packs only";
      }
    } else {
      slot.problem = head.error().message;
    }
    slots.push_back(std::move(slot));
  }
  std::stable_sort(slots.begin(), slots.end(), [](const Slot& a, const Slot& b) {
    return (a.label ? a.label->created : 0) < (b.label ? b.label->created : 0);
  });
  return slots;
}

bool keys_were_rotated(const Repository& repository, const Error& error) {
  if (!needs_newer_key(error)) return false;
  const auto newest = newest_slot(repository.files(), repository.path());
  return newest.ok() && newest->epoch > repository.keys().newest_epoch();
}

Result<std::string> add_slot(Repository& repository, const Secret& secret,
                             const std::string& label) {
  const Fd lock = TRY(lock_prune(repository.files(), repository.path()));
  TRY(refuse_with_old_keys(repository));
  return write_slot(repository, repository.keys(), secret,
                    {.created = system_now(), .text = label});
}

Result<void> remove_slot(Repository& repository, const std::string& name) {
  const Fd lock = TRY(lock_prune(repository.files(), repository.path()));
  if (name == repository.slot()) {
    return Error{Code::invalid, 0,
                 "key slot " + name + " is the one that opened the repository just now; hint: " +
                     "open it with another passphrase or key file to remove this one"};
  }
  Files& files = repository.files();
  const std::string folder = keys_folder(repository);
  const auto raw = read_slot(files, folder, name);
  if (!raw && raw.error().code == Code::not_found) return raw.error();
  // One that cannot be read is damaged, and may go.
  const auto head = raw ? KeyRing::read_head(name, *raw) : raw.error();
  if (head && head->newest_epoch > repository.keys().newest_epoch()) {
    return newer_slot(repository, name, head->newest_epoch);
  }
  // Two programs that remove each other's slot would leave none.
  if (auto own = files.info(folder + "/" + repository.slot()); !own) {
    return std::move(own).error().with("key slot " + repository.slot() +
                                       ", which opened the repository, cannot be seen any more: "
                                       "nothing was changed");
  }
  TRY(files.remove(folder + "/" + name));
  return files.sync_directory(folder);
}

Result<std::size_t> rotate_keys(Repository& repository, const std::vector<Secret>& secrets,
                                Others others) {
  const Fd lock = TRY(lock_prune(repository.files(), repository.path()));
  TRY(refuse_with_old_keys(repository));
  const std::string folder = keys_folder(repository);
  const std::vector<std::string> before = TRY(slot_names(repository.files(), folder));
  const RotationPlan plan = TRY(plan_rotation(repository, before, secrets));
  if (plan.others > 0 && others == Others::keep) {
    return Error{Code::invalid, 0,
                 fmt::format("{} of the {} key slots open with none of the secrets that are given; "
                             "hint: name their secrets with --keep-key-file and "
                             "--keep-password-file, or give --drop-others",
                             plan.others, before.size())};
  }
  const auto next = TRY(repository.keys().with_next_epoch());
  for (std::size_t i = 0; i < secrets.size(); ++i) {
    TRY(write_slot(repository, *next, secrets[i], *plan.labels[i]));
  }
  for (const std::string& name : before) TRY(repository.files().remove(folder + "/" + name));
  TRY(repository.files().sync_directory(folder));
  return plan.others;
}

Result<std::string> export_slot(Repository& repository, const std::string& name) {
  const Bytes slot = TRY(read_slot(repository.files(), keys_folder(repository), name));
  TRY(KeyRing::read_head(name, slot));
  const auto id = PackId::from_hex_text(name);
  if (!id) return Error{Code::corrupt, 0, "key slot " + printable(name) + " has a foreign name"};
  Writer w;
  w.bytes(repository.id().view());
  w.bytes(id->view());
  w.u16(static_cast<std::uint16_t>(slot.size()));
  w.bytes(slot);
  std::string text = std::string(kPaperTitle) + repository.id().hex() + "\n";
  std::size_t number = 0;
  for (std::size_t at = 0; at < w.size(); at += kLineBytes) {
    const ByteView line = ByteView(w.buffer()).subspan(at, std::min(kLineBytes, w.size() - at));
    ++number;
    text += fmt::format("{}: {} - {}\n", number, grouped(to_hex(line)),
                        to_hex(line_check(number, line)));
  }
  return text;
}

Result<std::string> import_slot(const std::string& path, const Secret& secret,
                                const std::string& text, Files& files) {
  TRY(init_crypto());
  const Paper paper = TRY(parse_paper(text));
  const auto keys = KeyRing::unwrap(paper.repository, secret, paper.name, paper.slot);
  TRY(expect_home(files, path, paper.repository, keys));
  for (const char* folder : {"/tmp", "/keys"}) TRY(expect_folder(files, path + folder));
  const Fd lock = TRY(lock_prune(files, path));
  // The name is that of the paper: an import that was killed left a file of it, and while no slot
  // opens the repository nobody else cleans.
  TRY(clean_temp_folder(files, path + "/tmp"));
  TRY(write_durably(files, path + "/tmp", path + "/keys", paper.name, paper.slot));
  return paper.name;
}

}  // namespace bygone::store
