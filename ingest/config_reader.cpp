// SPDX-License-Identifier: Apache-2.0
#include "ingest/config_reader.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include <fmt/core.h>

#include "ingest/words.h"
#include "store/base/bytes.h"
#include "store/zone.h"

namespace bygone::ingest {
namespace {

bool is_url(const std::string& text) {
  const auto follows = [&](std::string_view scheme) {
    return text.starts_with(scheme) && text.size() > scheme.size();
  };
  return (follows("http://") || follows("https://")) &&
         text.find_first_of(" \t\r\n") == std::string::npos;
}

// Nobody else than this host may hear what runs here.
bool is_loopback_port(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos) return false;
  const std::string host = text.substr(0, colon);
  const std::string digits = text.substr(colon + 1);
  unsigned port = 0;
  const auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  return failure == std::errc{} && end == digits.data() + digits.size() && port >= 1 &&
         port <= 65'535 && (host == "127.0.0.1" || host == "localhost" || host == "[::1]");
}

}  // namespace

ConfigReader::ConfigReader(std::string path, const std::string& zone,
                           std::vector<Problem>& problems)
    : path_(std::move(path)), problems_(problems) {
  config_.path = path_;
  config_.zone = store::is_zone(zone) ? zone : "UTC";
}

const std::vector<ConfigReader::Key>& ConfigReader::keys() {
  static const std::vector<Key> list = {
      {"repository", &ConfigReader::repository},
      {"password-file", &ConfigReader::password_file},
      {"key-file", &ConfigReader::key_file},
      {"password-command", &ConfigReader::password_command},
      {"engine", &ConfigReader::engine},
      {"enable", &ConfigReader::enable},
      {"gone", &ConfigReader::gone},
      {"timezone", &ConfigReader::timezone},
      {"defaults", &ConfigReader::defaults},
      {"tiers", &ConfigReader::tiers},
      {"containers", &ConfigReader::containers},
      {"volumes", &ConfigReader::volumes},
      {"folders", &ConfigReader::folders},
      {"at-once", &ConfigReader::at_once},
      {"limit-read", &ConfigReader::limit_read},
      {"prune", &ConfigReader::prune},
      {"notify", &ConfigReader::notify},
      {"metrics", &ConfigReader::metrics},
  };
  return list;
}

const std::vector<ConfigReader::Key>& ConfigReader::engine_keys() {
  static const std::vector<Key> list = {{"host", &ConfigReader::engine_host},
                                        {"cert-path", &ConfigReader::engine_cert_path}};
  return list;
}

const std::vector<ConfigReader::Key>& ConfigReader::prune_keys() {
  static const std::vector<Key> list = {{"schedule", &ConfigReader::prune_schedule},
                                        {"jitter", &ConfigReader::prune_jitter}};
  return list;
}

std::string ConfigReader::origin(const YamlNode& node) const {
  return fmt::format("{}:{}", printable(path_), node.line);
}

void ConfigReader::problem(const YamlNode& node, const std::string& what) {
  const std::string key = node.key.empty() ? "" : printable(node.key.substr(0, 64)) + ": ";
  problems_.push_back({origin(node), key + what});
}

bool ConfigReader::is_map(const YamlNode& node) {
  if (node.kind == YamlNode::Kind::map) return true;
  if (node.kind != YamlNode::Kind::nothing) problem(node, "takes keys with values below it");
  return false;
}

std::optional<std::string> ConfigReader::text(const YamlNode& node) {
  if (node.kind == YamlNode::Kind::text && !node.text.empty()) return node.text;
  if (node.kind == YamlNode::Kind::text || node.kind == YamlNode::Kind::nothing) {
    problem(node, "has no value");
  } else {
    problem(node, "takes one value");
  }
  return std::nullopt;
}

// One text counts as a list of one.
std::optional<std::vector<std::string>> ConfigReader::texts(const YamlNode& node) {
  if (node.kind != YamlNode::Kind::list) {
    const auto one = text(node);
    return one ? std::optional(std::vector{*one}) : std::nullopt;
  }
  std::vector<std::string> items;
  for (const YamlNode& item : node.items) {
    if (item.kind != YamlNode::Kind::text) {
      problem(item, "is no text, as the others in this list have to be");
      return std::nullopt;
    }
    items.push_back(item.text);
  }
  return items;
}

std::optional<std::string> ConfigReader::absolute(const YamlNode& node) {
  auto path = text(node);
  if (!path || path->starts_with('/')) return path;
  problem(node, in_quotes(*path) + " is no absolute path");
  return std::nullopt;
}

void ConfigReader::dispatch(const YamlNode& node, const std::vector<Key>& known,
                            const std::string& what) {
  std::vector<std::string> names;
  names.reserve(known.size());
  for (const Key& key : known) names.emplace_back(key.name);
  for (const YamlNode& item : node.items) {
    const auto found = std::find_if(known.begin(), known.end(),
                                    [&](const Key& key) { return item.key == key.name; });
    if (found != known.end()) {
      (this->*found->take)(item);
      continue;
    }
    std::string hint = did_you_mean(item.key, names);
    // A setting at the top is meant for all.
    if (&known == &keys() && find_setting(item.key) != nullptr)
      hint = "; hint: put it below defaults";
    problem(item, "there is no such key" + what + hint);
  }
}

void ConfigReader::repository(const YamlNode& node) {
  if (auto path = absolute(node)) config_.repository = std::move(*path);
}

// Two ways to the secret: the first one counts.
void ConfigReader::one_secret(const YamlNode& node, const std::string& value, std::string& target) {
  if (!config_.password_file.empty() || !config_.key_file.empty() ||
      !config_.password_command.empty()) {
    return problem(node,
                   "the secret is named twice; hint: one of password-file, key-file and "
                   "password-command");
  }
  target = value;
}

void ConfigReader::password_file(const YamlNode& node) {
  if (const auto path = absolute(node)) one_secret(node, *path, config_.password_file);
}

void ConfigReader::key_file(const YamlNode& node) {
  if (const auto path = absolute(node)) one_secret(node, *path, config_.key_file);
}

void ConfigReader::password_command(const YamlNode& node) {
  if (const auto command = text(node)) one_secret(node, *command, config_.password_command);
}

void ConfigReader::engine(const YamlNode& node) {
  if (is_map(node)) dispatch(node, engine_keys(), " of an engine");
}

void ConfigReader::engine_host(const YamlNode& node) {
  auto host = text(node);
  if (!host) return;
  if (!host->starts_with("unix:///") && !host->starts_with("tcp://")) {
    return problem(node, in_quotes(*host) + " is neither unix:///PATH nor tcp://HOST[:PORT]");
  }
  config_.engine_host = std::move(*host);
}

void ConfigReader::engine_cert_path(const YamlNode& node) {
  if (auto path = absolute(node)) config_.engine_cert_path = std::move(*path);
}

void ConfigReader::enable(const YamlNode& node) {
  const auto word = text(node);
  if (!word) return;
  if (*word != "all" && *word != "labelled") {
    return problem(node, in_quotes(*word) + " is neither all nor labelled" +
                             did_you_mean(*word, {"all", "labelled"}));
  }
  config_.opt_in = *word == "labelled";
  config_.opt_in_origin = origin(node);
}

void ConfigReader::gone(const YamlNode& node) {
  const auto word = text(node);
  if (!word) return;
  if (*word != "keep" && *word != "thin") {
    return problem(node, in_quotes(*word) + " is neither keep nor thin" +
                             did_you_mean(*word, {"keep", "thin"}));
  }
  config_.thin_gone = *word == "thin";
}

void ConfigReader::timezone(const YamlNode& node) {
  auto zone = text(node);
  if (!zone) return;
  if (!store::is_zone(*zone)) {
    return problem(node, "no time zone is called " + in_quotes(*zone) +
                             "; hint: names are such as Europe/Berlin");
  }
  config_.zone = std::move(*zone);
}

void ConfigReader::at_once(const YamlNode& node) {
  const auto digits = text(node);
  if (!digits) return;
  constexpr unsigned kMost = 64;
  unsigned number = 0;
  const auto [end, failure] =
      std::from_chars(digits->data(), digits->data() + digits->size(), number);
  if (failure != std::errc{} || end != digits->data() + digits->size() || number < 1 ||
      number > kMost) {
    return problem(node, fmt::format("{} is no number from 1 to {}", in_quotes(*digits), kMost));
  }
  config_.at_once = number;
}

void ConfigReader::limit_read(const YamlNode& node) {
  const auto value = text(node);
  if (!value) return;
  const auto limit = parse_read_limit(*value);
  if (!limit.ok()) return problem(node, limit.error().message);
  config_.limit_read = *limit;
}

// `prune: "@daily"`, or with its keys below it.
void ConfigReader::prune(const YamlNode& node) {
  if (node.kind == YamlNode::Kind::text) return prune_schedule(node);
  if (is_map(node)) dispatch(node, prune_keys(), " of prune");
}

void ConfigReader::prune_schedule(const YamlNode& node) {
  const auto value = text(node);
  if (!value) return;
  Policy policy;
  const auto taken = find_setting("schedule")->take(text_value(*value), config_.zone, policy);
  if (!taken.ok()) return problem(node, taken.error().message);
  config_.prune_schedule = policy.schedule;
}

void ConfigReader::prune_jitter(const YamlNode& node) {
  const auto value = text(node);
  if (!value) return;
  Policy policy;
  const auto taken = find_setting("jitter")->take(text_value(*value), config_.zone, policy);
  if (!taken.ok()) return problem(node, taken.error().message);
  config_.prune_jitter = policy.jitter;
}

void ConfigReader::notify_on(const YamlNode& node, Notifier& notifier) {
  const auto words = texts(node);
  if (!words) return;
  notifier.on_success = notifier.on_partial = notifier.on_failure = notifier.on_overdue = false;
  for (const std::string& word : *words) {
    if (word == "success") {
      notifier.on_success = true;
    } else if (word == "partial") {
      notifier.on_partial = true;
    } else if (word == "failure") {
      // Whoever waits for what goes wrong waits for files that are in no backup.
      notifier.on_failure = notifier.on_partial = true;
    } else if (word == "overdue") {
      notifier.on_overdue = true;
    } else {
      problem(node, in_quotes(word) + " is none of success, partial, failure, overdue" +
                        did_you_mean(word, {"success", "partial", "failure", "overdue"}));
    }
  }
}

void ConfigReader::notifier(const YamlNode& node) {
  if (node.kind != YamlNode::Kind::map) {
    return problem(node, "takes ping, webhook or command, and on");
  }
  Notifier notifier;
  unsigned ways = 0;
  for (const YamlNode& item : node.items) {
    if (item.key == "on") {
      notify_on(item, notifier);
    } else if (item.key == "ping" || item.key == "webhook") {
      notifier.kind = item.key == "ping" ? Notifier::Kind::ping : Notifier::Kind::webhook;
      const auto url = text(item);
      if (!url) return;
      if (!is_url(*url)) {
        return problem(item, in_quotes(*url) + " is no http:// or https:// address");
      }
      notifier.url = *url;
      ++ways;
    } else if (item.key == "command") {
      notifier.kind = Notifier::Kind::command;
      auto words = texts(item);
      if (!words) return;
      if (item.kind == YamlNode::Kind::text) {
        auto split = split_words(item.text);
        if (!split.ok()) return problem(item, split.error().message);
        words = std::move(*split);
      }
      if (words->empty() || words->front().empty()) return problem(item, "names no program");
      notifier.command = std::move(*words);
      ++ways;
    } else {
      problem(item, "there is no such key" +
                        did_you_mean(item.key, {"ping", "webhook", "command", "on"}));
    }
  }
  if (ways != 1) return problem(node, "takes one of ping, webhook and command");
  config_.notify.push_back(std::move(notifier));
}

void ConfigReader::notify(const YamlNode& node) {
  if (node.kind == YamlNode::Kind::map) return notifier(node);
  if (node.kind != YamlNode::Kind::list) return problem(node, "takes a list");
  for (const YamlNode& one : node.items) notifier(one);
}

void ConfigReader::metrics(const YamlNode& node) {
  auto place = text(node);
  if (!place) return;
  if (!place->starts_with("unix:/") && !is_loopback_port(*place)) {
    return problem(node, in_quotes(*place) +
                             " is neither unix:/PATH nor a port of this host alone; "
                             "hint: 127.0.0.1:9180");
  }
  config_.metrics = std::move(*place);
}

Config ConfigReader::read(const YamlNode& root) {
  if (!is_map(root)) return std::move(config_);
  // What others are read by comes first, wherever it stands.
  for (const YamlNode& item : root.items) {
    if (item.key == "timezone") timezone(item);
  }
  add_built_in();
  for (const YamlNode& item : root.items) {
    if (item.key == "tiers") tiers(item);
  }
  YamlNode rest = root;
  std::erase_if(rest.items,
                [](const YamlNode& item) { return item.key == "timezone" || item.key == "tiers"; });
  dispatch(rest, keys(), "");
  return std::move(config_);
}

Result<Config> parse_config(std::string_view text, const std::string& path, const std::string& zone,
                            std::vector<Problem>& problems) {
  auto root = parse_yaml(text);
  if (!root.ok()) return std::move(root).error().with(printable(path));
  if (root->kind == YamlNode::Kind::nothing) root->kind = YamlNode::Kind::map;
  if (root->kind != YamlNode::Kind::map) {
    return Error{Code::invalid, 0,
                 printable(path) + ": line 1, column 1: the file has no keys; hint: KEY: VALUE"};
  }
  return ConfigReader(path, zone, problems).read(*root);
}

}  // namespace bygone::ingest
