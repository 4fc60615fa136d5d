// SPDX-License-Identifier: Apache-2.0
#include "ingest/judge.h"

#include <algorithm>
#include <utility>

#include <fmt/core.h>
#include <fnmatch.h>

#include "ingest/config_reader.h"
#include "store/base/bytes.h"

namespace bygone::ingest {
namespace {

constexpr std::string_view kPrefix = "bygone.";
constexpr const char* kOurHolder = "bygone.holder";  // begins the labels of our own holders

unsigned place_of(const Source& source) {
  switch (source.kind) {
    case store::SourceKind::container:
      return kContainer;
    case store::SourceKind::volume:
      return kVolume;
    case store::SourceKind::folder:
      break;
  }
  return kFolder;
}

std::string title(const Source& source) {
  const char* kind = source.kind == store::SourceKind::container ? "container "
                     : source.kind == store::SourceKind::volume  ? "volume "
                                                                 : "folder ";
  return kind + printable(source.name);
}

// Labels of a container or a volume as values; what is wrong with them goes to `problems`.
class LabelReader {
 public:
  LabelReader(const Config& config, std::string owner, unsigned place,
              std::vector<Problem>& problems)
      : config_(config), owner_(std::move(owner)), place_(place), problems_(problems) {}

  Values read(const docker::Labels& labels) {
    Values values;
    for (auto at = labels.lower_bound(std::string(kPrefix));
         at != labels.end() && at->first.starts_with(kPrefix); ++at) {
      if (!at->first.starts_with(kOurHolder)) take(at->first, at->second, values);
    }
    return values;
  }

 private:
  void take(const std::string& label, const std::string& text, Values& values) {
    const std::string where =
        fmt::format("{}, label {}", owner_, printable(std::string_view(label).substr(0, 80)));
    const Setting* setting = find_setting(std::string_view(label).substr(kPrefix.size()));
    if (setting == nullptr) {
      return problems_.push_back({where, "there is no such label" + did_you_mean(label, known())});
    }
    if ((allowed() & setting->places) == 0) {
      return problems_.push_back({where, "has no meaning on a volume"});
    }
    Value value = text_value(text);
    const auto checked = check_setting(config_, *setting, value);
    if (!checked.ok()) return problems_.push_back({where, checked.error().message});
    values[setting->key] = {std::move(value), where};
  }

  [[nodiscard]] unsigned allowed() const {
    return place_ == kContainer ? kContainer | kLabelOnly : place_;
  }

  [[nodiscard]] std::vector<std::string> known() const {
    std::vector<std::string> names;
    for (const Setting& setting : settings()) {
      if ((setting.places & allowed()) != 0) {
        names.push_back(std::string(kPrefix) + setting.key);
      }
    }
    return names;
  }

  const Config& config_;
  const std::string owner_;
  const unsigned place_;
  std::vector<Problem>& problems_;
};

const Values* find(const std::map<std::string, Values>& sections, const std::string& name) {
  const auto found = sections.find(name);
  return found == sections.end() ? nullptr : &found->second;
}

const Values* section_of(const Config& config, const Source& source) {
  switch (source.kind) {
    case store::SourceKind::container:
      return find(config.containers, source.name);
    case store::SourceKind::volume:
      return find(config.volumes, source.name);
    case store::SourceKind::folder:
      break;
  }
  return find(config.folder_values, source.name);
}

std::string opt_in_origin(const Config& config) {
  return config.opt_in_origin + " (enable: labelled)";
}

Values built_in(const Config& config, const Source& source) {
  const auto value = [](const char* text, std::string origin) {
    return Written{text_value(text), std::move(origin)};
  };
  Values values = {
      {"tier", value("standard", "built in")},    {"enable", value("true", "built in")},
      {"consistency", value("auto", "built in")}, {"max-freeze", value("10s", "built in")},
      {"layer", value("off", "built in")},        {"dump", value("none", "built in")}};
  if (config.opt_in && source.kind != store::SourceKind::folder) {
    values["enable"] = value("false", opt_in_origin(config));
  }
  // The members of a Compose project belong together.
  if (source.kind == store::SourceKind::container && valid_name(source.project)) {
    values["group"] = value(source.project.c_str(), "Compose project");
  }
  return values;
}

// The values that count, lowest layer first.
Values merge(const Config& config, const std::vector<const Values*>& layers) {
  std::size_t named_at = 0;
  std::string tier;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const auto found = layers[i]->find("tier");
    if (found == layers[i]->end()) continue;
    named_at = i;
    tier = found->second.value.text;
  }
  Values merged;
  const auto lay = [&](const Values& values) {
    // A command is a dump, too: whoever says which one it is to be says it of the whole.
    if (values.count("dump") != 0) merged.erase("dump.command");
    for (const auto& [key, written] : values) merged[key] = written;
  };
  // What a tier of the user's own leaves open is as in the standard one.
  lay(config.tiers.at("standard"));
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (i == named_at) lay(config.tiers.at(tier));
    lay(*layers[i]);
  }
  return merged;
}

Policy apply(const Config& config, Values merged, unsigned place) {
  Policy policy;
  for (const Setting& setting : settings()) {
    const auto found = merged.find(setting.key);
    if (found == merged.end() || (setting.places & (place | kLabelOnly)) == 0) continue;
    ignore(setting.take(found->second.value, config.zone, policy), "it was checked when read");
    policy.given[setting.key] = {std::move(found->second.value.text),
                                 std::move(found->second.origin)};
  }
  for (std::optional<Hook>* hook : {&policy.pre, &policy.post}) {
    if (*hook && (*hook)->command.empty()) hook->reset();
  }
  if (place != kContainer) policy.dump.kind = DumpWish::Kind::none;
  return policy;
}

// What the file and its label say about a volume of a container.
Values own_values(const Config& config, const VolumeSource& volume) {
  Values values;
  if (const Values* section = find(config.volumes, volume.origin)) values = *section;
  std::vector<Problem> known;  // judge() has named them
  LabelReader labels(config, "volume " + printable(volume.origin), kVolume, known);
  for (auto& [key, written] : labels.read(volume.labels)) values[key] = std::move(written);
  return values;
}

bool says_yes(const Values& values) {
  const auto found = values.find("enable");
  return found != values.end() && parse_switch(found->second.value.text) == true;
}

// Where only what is labelled is backed up, a label on a volume asks for that volume.
void enable_by_volumes(const Config& config, const Source& source, Policy& policy) {
  if (policy.enabled || policy.given["enable"].origin != opt_in_origin(config)) return;
  Given include;
  for (const VolumeSource& volume : source.volumes) {
    const Values own = own_values(config, volume);
    if (!says_yes(own)) continue;
    policy.enabled = true;
    policy.given["enable"] = {"true", own.at("enable").origin};
    include.value += (include.value.empty() ? "" : ", ") + volume.origin;
    include.origin = own.at("enable").origin;
    if (policy.given.count("volumes.include") == 0) policy.include_volumes.push_back(volume.origin);
  }
  if (policy.enabled) policy.given.emplace("volumes.include", std::move(include));
}

// A volume that a container mounts is a part of that source, which has one schedule and one set of
// rules: of what is said about the volume itself only this counts.
bool counts_on_a_mounted_volume(const std::string& key) {
  return key == "enable" || key == "exclude";
}

// Whoever wrote `keep-yearly` on a volume would miss it in a year.
void name_what_has_no_effect(const Config& config, const Source& container,
                             const VolumeSource& volume, std::vector<Problem>& problems) {
  const std::string what =
      fmt::format("has no effect while {} mounts volume {}; hint: say it of the container",
                  title(container), printable(volume.origin));
  for (const auto& [key, written] : own_values(config, volume)) {
    if (counts_on_a_mounted_volume(key)) continue;
    const bool is_label = written.origin.starts_with("volume ");
    problems.push_back({written.origin, (is_label ? "" : key + ": ") + what});
  }
}

void add_own_patterns(const Config& config, VolumeSource& volume) {
  const Values own = own_values(config, volume);
  const auto exclude = own.find("exclude");
  if (exclude == own.end()) return;
  Policy policy;
  ignore(find_setting("exclude")->take(exclude->second.value, config.zone, policy),
         "it was checked when read");
  volume.exclude.insert(volume.exclude.end(), policy.exclude.begin(), policy.exclude.end());
}

}  // namespace

Judged judge(const Config& config, const Source& source) {
  Judged judged;
  const unsigned place = place_of(source);
  const Values labels =
      LabelReader(config, title(source), place, judged.problems).read(source.labels);
  for (const VolumeSource& volume : source.volumes) {
    if (source.kind != store::SourceKind::container) break;
    LabelReader(config, "volume " + printable(volume.origin), kVolume, judged.problems)
        .read(volume.labels);
  }
  const Values base = built_in(config, source);
  std::vector<const Values*> layers = {&base, &config.defaults};  // lowest first
  if (const Values* section = section_of(config, source)) layers.push_back(section);
  layers.push_back(&config.environment);
  layers.push_back(&labels);
  judged.policy = apply(config, merge(config, layers), place);
  enable_by_volumes(config, source, judged.policy);
  if (source.kind != store::SourceKind::container || !judged.policy.enabled) return judged;
  for (const VolumeSource& volume : source.volumes) {
    name_what_has_no_effect(config, source, volume, judged.problems);
  }
  return judged;
}

namespace {

bool matches(const std::string& pattern, const VolumeSource& volume) {
  return fnmatch(pattern.c_str(), volume.origin.c_str(), 0) == 0 ||
         fnmatch(pattern.c_str(), volume.destination.c_str(), 0) == 0;
}

const std::string* first_match(const std::vector<std::string>& patterns,
                               const VolumeSource& volume) {
  const auto found = std::find_if(patterns.begin(), patterns.end(),
                                  [&](const auto& pattern) { return matches(pattern, volume); });
  return found == patterns.end() ? nullptr : &*found;
}

// A pattern that was meant for a volume and meets none is a typing error that loses data.
void check_patterns(const Source& source, const std::vector<std::string>& patterns,
                    const Given& given, std::vector<Problem>& problems) {
  std::vector<std::string> known;
  for (const VolumeSource& volume : source.volumes) {
    known.push_back(volume.origin);
    known.push_back(volume.destination);
  }
  for (const std::string& pattern : patterns) {
    if (std::none_of(source.volumes.begin(), source.volumes.end(),
                     [&](const VolumeSource& volume) { return matches(pattern, volume); })) {
      problems.push_back(
          {given.origin, fmt::format("{} of {} matches no volume{}", in_quotes(pattern),
                                     title(source), did_you_mean(pattern, known))});
    }
  }
}

std::optional<std::string> why_left_out(const Config& config, const Policy& policy,
                                        const VolumeSource& volume) {
  const auto by = [&](const char* key) { return "by " + policy.given.at(key).origin; };
  const Values own = own_values(config, volume);
  if (const auto enable = own.find("enable"); enable != own.end() && !says_yes(own)) {
    return "by " + enable->second.origin;
  }
  if (first_match(policy.exclude_volumes, volume) != nullptr) return by("volumes.exclude");
  if (!policy.include_volumes.empty() && first_match(policy.include_volumes, volume) == nullptr) {
    return by("volumes.include");
  }
  return std::nullopt;
}

}  // namespace

std::map<std::size_t, std::string> volumes_left_out(const Config& config, const Source& container) {
  const Policy policy = judge(config, container).policy;
  std::map<std::size_t, std::string> reasons;
  for (std::size_t i = 0; i < container.volumes.size(); ++i) {
    if (auto why = why_left_out(config, policy, container.volumes[i])) {
      reasons[i] = "left out " + *why;
    }
  }
  return reasons;
}

Result<std::vector<Planned>> plan(docker::Engine& engine, const Selection& selection,
                                  const ParentNames& parent_names, const Config& config) {
  std::map<std::string, Judged> seen;  // containers by id, as judged with all that they mount
  Selection chosen = selection;
  chosen.leave_out = [&](const Source& container) {
    Judged judged = judge(config, container);
    for (const auto& [key, patterns] :
         {std::pair("volumes.include", &judged.policy.include_volumes),
          std::pair("volumes.exclude", &judged.policy.exclude_volumes)}) {
      if (patterns->empty()) continue;
      check_patterns(container, *patterns, judged.policy.given[key], judged.problems);
    }
    seen[container.container_id] = std::move(judged);
    return volumes_left_out(config, container);
  };
  chosen.wants_layer = [&](const Source& container) {
    return seen[container.container_id].policy.layer;
  };
  std::vector<Planned> plans;
  for (Source& source : TRY(discover(engine, chosen, parent_names))) {
    for (VolumeSource& volume : source.volumes) {
      if (source.kind == store::SourceKind::container) add_own_patterns(config, volume);
    }
    const auto known = seen.find(source.container_id);
    Judged judged = known != seen.end() && source.kind == store::SourceKind::container
                        ? std::move(known->second)
                        : judge(config, source);
    plans.push_back({std::move(source), std::move(judged.policy), std::move(judged.problems)});
  }
  return plans;
}

std::vector<Planned> plan_folders(const Config& config) {
  std::vector<Planned> plans;
  for (const auto& [name, path] : config.folders) {
    auto found = folder_source(name, path);
    Source source;
    if (found.ok()) {
      source = std::move(*found);
    } else {
      source.name = name;
      source.error = std::move(found).error();
    }
    Judged judged = judge(config, source);
    plans.push_back({std::move(source), std::move(judged.policy), std::move(judged.problems)});
  }
  return plans;
}

BackupOptions options_of(const Policy& policy, BackupOptions base) {
  // Patterns of the command line come last, for the last one that matches decides.
  base.exclude.insert(base.exclude.begin(), policy.exclude.begin(), policy.exclude.end());
  base.wish = policy.wish;
  base.max_freeze = policy.max_freeze;
  base.pre = policy.pre;
  base.post = policy.post;
  base.dump = policy.dump;
  return base;
}

}  // namespace bygone::ingest
