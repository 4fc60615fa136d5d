// SPDX-License-Identifier: Apache-2.0
#include <iostream>
#include <iterator>

#include <CLI/CLI.hpp>
#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "cli/options.h"
#include "cli/text.h"
#include "store/base/files.h"
#include "store/slots.h"
#include "store/zone.h"

namespace bygone::cli {
namespace {

constexpr std::size_t kShortName = 8;  // digits of a slot's name that are shown

struct NewSecret {
  std::string key_file;
  std::string password_file;
  std::string label;
};

struct KeptSecrets {
  std::vector<std::string> key_files;
  std::vector<std::string> password_files;
  bool drop_others = false;
};

void add_new_secret_options(CLI::App& app, NewSecret& secret) {
  auto* key = app.add_option("--new-key-file", secret.key_file, "the new secret is this key file")
                  ->type_name("FILE");
  app.add_option("--new-password-file", secret.password_file,
                 "the new secret is the passphrase in this file; with neither, it is asked for")
      ->type_name("FILE")
      ->excludes(key);
  app.add_option("--label", secret.label, "a word to tell it apart by")->type_name("TEXT");
}

// With neither, a person is asked.
SecretSources sources_of(const std::string& key_file, const std::string& password_file) {
  SecretSources sources;
  if (!key_file.empty()) sources.key_file = key_file;
  sources.key_file_is_option = true;
  if (!password_file.empty()) sources.password_file = password_file;
  return sources;
}

Result<store::Secret> read_new_secret(Context& context, const NewSecret& secret) {
  return read_secret(sources_of(secret.key_file, secret.password_file), Ask::twice,
                     TRY(context.repository_path()));
}

// The slot whose name begins with `text`, or that has it as its label.
Result<store::Slot> find_slot(const std::vector<store::Slot>& slots, const std::string& text) {
  std::vector<store::Slot> found;
  for (const store::Slot& slot : slots) {
    const bool labelled = slot.label && slot.label->text == text;
    if (!text.empty() && (slot.name.starts_with(text) || labelled)) found.push_back(slot);
  }
  if (found.size() == 1) return found.front();
  return Error{
      found.empty() ? Code::not_found : Code::invalid, 0,
      fmt::format("{} key slots are called {}; hint: bygone key list shows them",
                  found.empty() ? "no" : std::to_string(found.size()).c_str(), printable(text))};
}

const char* kind_text(const store::SlotHead& head) {
  return head.kind == store::Secret::Kind::key_file ? "key file" : "passphrase";
}

Exit list(Context& context) {
  Exit exit = Exit::done;
  const auto repository = context.open(exit);
  if (repository == nullptr) return exit;
  const auto slots = store::list_slots(*repository);
  if (!slots.ok()) return context.fail(slots.error());
  Table table({{"ID"}, {"Kind"}, {"Created"}, {"Label"}, {""}});
  bool sound = true;
  for (const store::Slot& slot : *slots) {
    sound = sound && !slot.problem;
    const std::string created =
        slot.label ? time_text(store::local_zone_name(), {slot.label->created / kSecond, 0}) : "";
    if (context.out.json()) {
      Json object{{"message_type", "key"},
                  {"id", slot.name},
                  {"current", slot.opened_with},
                  {"epoch", slot.head.newest_epoch}};
      if (slot.label) object.update({{"kind", kind_text(slot.head)}, {"created", created}});
      if (slot.label) put_raw(object, "label", slot.label->text);
      if (slot.problem) object["problem"] = *slot.problem;
      context.out.object(object);
      continue;
    }
    std::string remark = slot.opened_with ? "opened the repository just now" : "";
    if (slot.problem) remark = *slot.problem;
    table.add({slot.name.substr(0, kShortName), kind_text(slot.head), created.substr(0, 19),
               slot.label ? printable(slot.label->text) : "", remark});
  }
  if (!context.out.json()) {
    for (const std::string& line : table.lines()) context.out.line(line);
  }
  return sound ? Exit::done : Exit::damage;
}

Exit add(Context& context, const NewSecret& wanted, bool instead) {
  Exit exit = Exit::done;
  auto repository = context.open(exit);
  if (repository == nullptr) return exit;
  const auto secret = read_new_secret(context, wanted);
  if (!secret.ok()) {
    return secret.error().code == Code::invalid ? context.usage(secret.error().message)
                                                : context.fail(secret.error());
  }
  const auto added = store::add_slot(*repository, *secret, wanted.label);
  if (!added.ok()) return context.fail(added.error());
  if (context.out.json()) {
    context.out.object(Json{{"message_type", "key_added"}, {"id", *added}});
  }
  context.out.info("added key slot " + added->substr(0, kShortName));
  if (!instead) return Exit::done;
  // The old one goes by the hand of the new one: a slot that opens is known to remain.
  const std::string before = repository->slot();
  repository.reset();  // a process opens an index once
  const auto path = context.repository_path();
  const auto again = path.ok() ? store::Repository::open(*path, *secret) : path.error();
  if (!again.ok()) return context.fail(again.error(), Stage::opening);
  const auto removed = store::remove_slot(**again, before);
  if (!removed.ok()) return context.fail(removed.error());
  context.out.info("removed key slot " + before.substr(0, kShortName));
  return Exit::done;
}

Exit remove(Context& context, const std::string& text) {
  Exit exit = Exit::done;
  const auto repository = context.open(exit);
  if (repository == nullptr) return exit;
  const auto slots = store::list_slots(*repository);
  if (!slots.ok()) return context.fail(slots.error());
  const auto slot = find_slot(*slots, text);
  if (!slot.ok()) return context.fail(slot.error());
  const auto removed = store::remove_slot(*repository, slot->name);
  if (!removed.ok()) return context.fail(removed.error());
  if (context.out.json()) {
    context.out.object(Json{{"message_type", "key_removed"}, {"id", slot->name}});
  }
  context.out.info("removed key slot " + slot->name.substr(0, kShortName) +
                   "; who has its secret and a copy of the slot can still read what was stored "
                   "until now: bygone key rotate seals what comes under new keys");
  return Exit::done;
}

Result<std::vector<store::Secret>> read_kept(Context& context, const KeptSecrets& kept) {
  std::vector<store::Secret> secrets;
  const std::string path = TRY(context.repository_path());
  for (const std::string& file : kept.key_files) {
    secrets.push_back(TRY(read_secret(sources_of(file, ""), Ask::once, path)));
  }
  for (const std::string& file : kept.password_files) {
    secrets.push_back(TRY(read_secret(sources_of("", file), Ask::once, path)));
  }
  return secrets;
}

Exit rotate(Context& context, const KeptSecrets& kept) {
  Exit exit = Exit::done;
  store::Secret own;
  const auto repository = context.open(exit, &own);
  if (repository == nullptr) return exit;
  auto kept_secrets = read_kept(context, kept);
  if (!kept_secrets.ok()) return context.fail(kept_secrets.error());
  // One's own is the first to have a slot of the new epoch: when this is interrupted, the same
  // command again goes on from there.
  std::vector<store::Secret> secrets;
  secrets.push_back(std::move(own));
  for (store::Secret& secret : *kept_secrets) secrets.push_back(std::move(secret));
  const auto dropped = store::rotate_keys(
      *repository, secrets, kept.drop_others ? store::Others::drop : store::Others::keep);
  if (!dropped.ok()) {
    return dropped.error().code == Code::invalid ? context.usage(dropped.error().message)
                                                 : context.fail(dropped.error());
  }
  const std::uint32_t epoch = repository->keys().newest_epoch() + 1;
  if (context.out.json()) {
    context.out.object(Json{{"message_type", "keys_rotated"},
                            {"epoch", epoch},
                            {"kept", secrets.size()},
                            {"dropped", *dropped}});
  }
  context.out.info(fmt::format(
      "what is stored from now on is sealed under new keys (epoch {}); {} kept, {} removed", epoch,
      counted(secrets.size(), "slot"), *dropped));
  context.out.info("mounts and daemons that run have to be started again to see it");
  return Exit::done;
}

Exit print_paper(Context& context, const std::string& text) {
  Exit exit = Exit::done;
  const auto repository = context.open(exit);
  if (repository == nullptr) return exit;
  std::string name = repository->slot();
  if (!text.empty()) {
    const auto slots = store::list_slots(*repository);
    if (!slots.ok()) return context.fail(slots.error());
    const auto slot = find_slot(*slots, text);
    if (!slot.ok()) return context.fail(slot.error());
    name = slot->name;
  }
  const auto paper = store::export_slot(*repository, name);
  if (!paper.ok()) return context.fail(paper.error());
  if (context.out.json()) {
    context.out.object(Json{{"message_type", "key"}, {"id", name}, {"paper", *paper}});
    return Exit::done;
  }
  const auto written = context.out.bytes(
      *paper +
      "Useless without its passphrase or key file. Back from it: bygone key import FILE\n");
  return written.ok() ? Exit::done : context.fail(written.error());
}

Exit import(Context& context, const std::string& file) {
  const auto path = context.repository_path();
  if (!path.ok()) return context.usage(path.error().message);
  std::string text;
  if (file == "-") {
    text.assign(std::istreambuf_iterator<char>(std::cin), {});
  } else {
    auto read = read_file(system_files(), file, 64u << 10);
    if (!read.ok()) return context.fail(read.error());
    text = as_text(*read);
  }
  const auto secret = context.secret(*path);
  if (!secret.ok()) return context.usage(secret.error().message);
  const auto name = store::import_slot(*path, *secret, text);
  if (!name.ok()) return context.fail(name.error(), Stage::opening);
  if (context.out.json()) {
    context.out.object(Json{{"message_type", "key_added"}, {"id", *name}});
  }
  context.out.info("key slot " + name->substr(0, kShortName) + " is back in its place");
  return Exit::done;
}

}  // namespace

Action add_key(CLI::App& app) {
  struct Arguments {
    NewSecret secret;
    KeptSecrets kept;
    std::string slot;
    std::string file;
  };
  const auto arguments = std::make_shared<Arguments>();
  app.require_subcommand(1);
  CLI::App* listing = app.add_subcommand("list", "list the key slots");
  CLI::App* adding = app.add_subcommand("add", "let one more passphrase or key file in");
  CLI::App* changing = app.add_subcommand("change", "replace the secret that is used just now");
  for (CLI::App* each : {adding, changing}) add_new_secret_options(*each, arguments->secret);
  CLI::App* removing = app.add_subcommand("remove", "shut one out");
  removing->add_option("SLOT", arguments->slot, "id or label")->type_name("SLOT")->required();
  CLI::App* rotating = app.add_subcommand("rotate", "seal what comes under new keys");
  rotating->add_option("--keep-key-file", arguments->kept.key_files, "keep this key file's slot")
      ->type_name("FILE");
  rotating
      ->add_option("--keep-password-file", arguments->kept.password_files,
                   "keep the slot of the passphrase in this file")
      ->type_name("FILE");
  rotating->add_flag("--drop-others", arguments->kept.drop_others,
                     "remove slots whose secrets are not given");
  CLI::App* exporting = app.add_subcommand("export", "print a slot for the safe, on paper");
  exporting->add_option("SLOT", arguments->slot, "id or label")->type_name("SLOT");
  CLI::App* importing = app.add_subcommand("import", "bring a slot back from paper");
  importing->add_option("FILE", arguments->file, "what was typed; - reads standard input")
      ->type_name("FILE")
      ->required();
  app.footer(
      "A repository has one set of keys; each slot holds them locked under a passphrase or a key\n"
      "file. Without any slot nothing can be read: export one, and keep it where the repository\n"
      "is not.\n\n"
      "Examples:\n"
      "  bygone key list\n"
      "  bygone key add --label laptop\n"
      "  bygone key add --new-key-file /etc/bygone/key --label server\n"
      "  bygone key remove laptop && bygone key rotate --keep-key-file /etc/bygone/key\n"
      "  bygone key export > key.txt");
  return [=](Context& context) {
    if (listing->parsed()) return list(context);
    if (adding->parsed() || changing->parsed()) {
      return add(context, arguments->secret, changing->parsed());
    }
    if (removing->parsed()) return remove(context, arguments->slot);
    if (rotating->parsed()) return rotate(context, arguments->kept);
    if (exporting->parsed()) return print_paper(context, arguments->slot);
    return import(context, arguments->file);
  };
}

}  // namespace bygone::cli
