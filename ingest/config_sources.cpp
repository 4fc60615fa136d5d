// SPDX-License-Identifier: Apache-2.0
//
// The part of a configuration that is about sources: defaults, tiers, and sections by name.
#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "ingest/config_reader.h"
#include "ingest/discover.h"
#include "store/base/bytes.h"

namespace bygone::ingest {
namespace {

constexpr unsigned kAnySource = kContainer | kVolume | kFolder;

struct BuiltIn {
  const char* tier;
  const char* key;
  const char* value;
};
// Each tier has a rule of every kind that another one has, so that none shows through.
constexpr BuiltIn kBuiltIn[] = {
    {"critical", "schedule", "every 15m"}, {"critical", "jitter", "2m"},
    {"critical", "keep-within", "1d"},     {"critical", "keep-hourly", "72"},
    {"critical", "keep-daily", "30"},      {"critical", "keep-weekly", "12"},
    {"critical", "keep-monthly", "24"},    {"standard", "schedule", "@hourly"},
    {"standard", "jitter", "10m"},         {"standard", "keep-within", "3h"},
    {"standard", "keep-hourly", "24"},     {"standard", "keep-daily", "14"},
    {"standard", "keep-weekly", "8"},      {"standard", "keep-monthly", "12"},
    {"relaxed", "schedule", "@daily"},     {"relaxed", "jitter", "2h"},
    {"relaxed", "keep-within", "1d"},      {"relaxed", "keep-hourly", "0"},
    {"relaxed", "keep-daily", "7"},        {"relaxed", "keep-weekly", "4"},
    {"relaxed", "keep-monthly", "3"},
};

std::vector<std::string> names_of(const std::map<std::string, Values>& map) {
  std::vector<std::string> names;
  names.reserve(map.size());
  for (const auto& [name, values] : map) names.push_back(name);
  return names;
}

}  // namespace

Result<void> check_setting(const Config& config, const Setting& setting, const Value& value) {
  TRY(check_value(setting, value, config.zone));
  Policy policy;
  if (std::string_view(setting.key) != "tier" || !setting.take(value, config.zone, policy) ||
      config.tiers.count(policy.tier) != 0) {
    return {};
  }
  return Error{Code::invalid, 0,
               "there is no tier " + in_quotes(policy.tier) +
                   did_you_mean(policy.tier, names_of(config.tiers))};
}

// `besides`: a key that the caller takes himself.
void ConfigReader::take_values(const YamlNode& section, unsigned place, const std::string& suffix,
                               Values& values, const std::string& besides) {
  if (!is_map(section)) return;
  for (const YamlNode& item : section.items) {
    if (besides.empty() || item.key != besides) take_value(item, place, suffix, values, besides);
  }
}

void ConfigReader::take_value(const YamlNode& node, unsigned place, const std::string& suffix,
                              Values& values, const std::string& besides) {
  const Setting* setting = find_setting(node.key);
  if (setting == nullptr) {
    std::vector<std::string> known;
    for (const Setting& one : settings()) {
      if ((one.places & place) != 0) known.emplace_back(one.key);
    }
    if (!besides.empty()) known.push_back(besides);
    return problem(node, "there is no such setting" + did_you_mean(node.key, known));
  }
  if ((setting->places & kLabelOnly) != 0) return problem(node, "is for labels alone");
  if ((setting->places & place) == 0) return problem(node, "has no meaning here");
  Value value;
  if (node.kind == YamlNode::Kind::list) {
    auto items = texts(node);
    if (!items) return;
    value.is_list = true;
    value.items = std::move(*items);
    for (const std::string& item : value.items)
      value.text += (value.text.empty() ? "" : ", ") + item;
  } else {
    const auto one = text(node);
    if (!one) return;
    value = text_value(*one);
  }
  const auto checked = check_setting(config_, *setting, value);
  if (!checked.ok()) return problem(node, checked.error().message);
  values[setting->key] = {std::move(value), origin(node) + suffix};
}

void ConfigReader::defaults(const YamlNode& node) {
  take_values(node, kAnySource, "", config_.defaults);
}

void ConfigReader::tiers(const YamlNode& node) {
  if (!is_map(node)) return;
  // All names first: any of them may be named anywhere.
  for (const YamlNode& tier : node.items) config_.tiers[tier.key];
  for (const YamlNode& tier : node.items) {
    const std::string suffix = fmt::format(" (tier {})", printable(tier.key));
    Values values;
    take_values(tier, kAnySource, suffix, values);
    if (const auto inner = values.find("tier"); inner != values.end()) {
      problems_.push_back({inner->second.origin, "tier: a tier cannot name another"});
      values.erase(inner);
    }
    for (auto& [key, written] : values) config_.tiers[tier.key][key] = std::move(written);
  }
}

void ConfigReader::containers(const YamlNode& node) {
  if (!is_map(node)) return;
  for (const YamlNode& one : node.items)
    take_values(one, kContainer, "", config_.containers[one.key]);
}

void ConfigReader::volumes(const YamlNode& node) {
  if (!is_map(node)) return;
  for (const YamlNode& one : node.items) take_values(one, kVolume, "", config_.volumes[one.key]);
}

void ConfigReader::folders(const YamlNode& node) {
  if (!is_map(node)) return;
  for (const YamlNode& folder : node.items) {
    if (!valid_name(folder.key)) {
      problem(folder,
              "this cannot be a source's name; hint: letters, digits, '_', '.' and '-', "
              "the first a letter or digit");
      continue;
    }
    if (!is_map(folder)) {
      if (folder.kind == YamlNode::Kind::nothing) problem(folder, "its path is missing");
      continue;
    }
    const auto path = std::find_if(folder.items.begin(), folder.items.end(),
                                   [](const YamlNode& item) { return item.key == "path"; });
    if (path == folder.items.end()) {
      problem(folder, "its path is missing");
      continue;
    }
    take_values(folder, kFolder, "", config_.folder_values[folder.key], "path");
    if (auto found = absolute(*path)) config_.folders[folder.key] = std::move(*found);
  }
}

void ConfigReader::add_built_in() {
  for (const BuiltIn& one : kBuiltIn) {
    config_.tiers[one.tier][one.key] = {text_value(one.value),
                                        fmt::format("built in (tier {})", one.tier)};
  }
  auto daily = Schedule::parse("@daily", config_.zone);
  if (daily.ok()) config_.prune_schedule = std::move(*daily);
  config_.prune_jitter = Nanoseconds{3600} * kSecond;
}

}  // namespace bygone::ingest
