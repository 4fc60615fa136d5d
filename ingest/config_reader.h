// SPDX-License-Identifier: Apache-2.0
//
// From the tree of a YAML file to a Config, value by value: what is wrong is added to a list of
// problems, and all else is taken. config.h is what others use. One thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ingest/config.h"
#include "ingest/yaml.h"

namespace bygone::ingest {

// check_value(), and for `tier` whether the configuration has it.
[[nodiscard]] Result<void> check_setting(const Config& config, const Setting& setting,
                                         const Value& value);

class ConfigReader {
 public:
  // Names of the file in messages, and the clock of schedules. `problems` must outlive it.
  ConfigReader(std::string path, const std::string& zone, std::vector<Problem>& problems);

  [[nodiscard]] Config read(const YamlNode& root);

 private:
  using Member = void (ConfigReader::*)(const YamlNode&);
  struct Key {
    const char* name;
    Member take;
  };
  static const std::vector<Key>& keys();
  static const std::vector<Key>& engine_keys();
  static const std::vector<Key>& prune_keys();

  void problem(const YamlNode& node, const std::string& what);
  [[nodiscard]] std::string origin(const YamlNode& node) const;
  void dispatch(const YamlNode& node, const std::vector<Key>& known, const std::string& what);
  [[nodiscard]] bool is_map(const YamlNode& node);
  [[nodiscard]] std::optional<std::string> text(const YamlNode& node);
  [[nodiscard]] std::optional<std::vector<std::string>> texts(const YamlNode& node);
  [[nodiscard]] std::optional<std::string> absolute(const YamlNode& node);
  void take_values(const YamlNode& section, unsigned place, const std::string& suffix,
                   Values& values, const std::string& besides = "");
  void take_value(const YamlNode& node, unsigned place, const std::string& suffix, Values& values,
                  const std::string& besides);
  void add_built_in();

  void repository(const YamlNode& node);
  void password_file(const YamlNode& node);
  void key_file(const YamlNode& node);
  void password_command(const YamlNode& node);
  void engine(const YamlNode& node);
  void engine_host(const YamlNode& node);
  void engine_cert_path(const YamlNode& node);
  void enable(const YamlNode& node);
  void gone(const YamlNode& node);
  void timezone(const YamlNode& node);
  void defaults(const YamlNode& node);
  void tiers(const YamlNode& node);
  void containers(const YamlNode& node);
  void volumes(const YamlNode& node);
  void folders(const YamlNode& node);
  void at_once(const YamlNode& node);
  void limit_read(const YamlNode& node);
  void prune(const YamlNode& node);
  void prune_schedule(const YamlNode& node);
  void prune_jitter(const YamlNode& node);
  void notify(const YamlNode& node);
  void notifier(const YamlNode& node);
  void notify_on(const YamlNode& node, Notifier& notifier);
  void metrics(const YamlNode& node);
  void one_secret(const YamlNode& node, const std::string& value, std::string& target);

  std::string path_;
  std::vector<Problem>& problems_;
  Config config_;
};

}  // namespace bygone::ingest
