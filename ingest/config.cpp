// SPDX-License-Identifier: Apache-2.0
#include "ingest/config.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <utility>

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ingest/config_reader.h"
#include "store/base/bytes.h"
#include "store/base/files.h"
#include "store/zone.h"

namespace bygone::ingest {
namespace {

Result<void> check_owner(int fd) {
  struct stat about {};
  if (fstat(fd, &about) != 0) return os_error(errno, "fstat");
  if (!S_ISREG(about.st_mode)) return Error{Code::invalid, 0, "it is no regular file"};
  const bool is_ours = about.st_uid == 0 || about.st_uid == geteuid();
  if (is_ours && (about.st_mode & S_IWOTH) == 0) return {};
  return Error{Code::denied, 0,
               is_ours ? "anybody can write to it, and it names commands; hint: chmod o-w"
                       : "it belongs to another user, and names commands; hint: chown root"};
}

Result<std::string> read_text(const std::string& path) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd.is_open()) return os_error(errno, "opening it");
  TRY(check_owner(fd.get()));
  std::string text;
  char buffer[1u << 16];
  while (text.size() <= kMaxYamlBytes) {
    const ssize_t n = read(fd.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return os_error(errno, "reading it");
    if (n == 0) break;
    text.append(buffer, static_cast<std::size_t>(n));
  }
  return text;
}

// BYGONE_KEEP_DAILY for keep-daily.
std::string variable_of(const Setting& setting) {
  std::string name = "BYGONE_" + std::string(setting.key);
  for (char& c : name) {
    c = c == '-' || c == '.' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return name;
}

void take_environment(Config& config, std::vector<Problem>& problems) {
  for (const Setting& setting : settings()) {
    if ((setting.places & kLabelOnly) != 0) continue;
    const std::string name = variable_of(setting);
    const char* text = std::getenv(name.c_str());
    if (text == nullptr || *text == '\0') continue;
    const Value value = text_value(text);
    auto checked = check_setting(config, setting, value);
    if (checked.ok()) {
      config.environment[setting.key] = {value, name};
    } else {
      problems.push_back({name, checked.error().message});
    }
  }
}

}  // namespace

Result<Config> load_config(const std::string& path, std::vector<Problem>& problems) {
  auto text = read_text(path);
  const bool is_missing = !text.ok() && text.error().code == Code::not_found;
  if (!text.ok() && !(is_missing && path == kDefaultConfigPath)) {
    return std::move(text).error().with(printable(path));
  }
  Config config = TRY(parse_config(text.ok() ? *text : "", is_missing ? "" : path,
                                   store::local_zone_name(), problems));
  take_environment(config, problems);
  return config;
}

std::string config_path(const std::string& option) {
  if (!option.empty()) return option;
  const char* variable = std::getenv("BYGONE_CONFIG");
  return variable == nullptr || *variable == '\0' ? kDefaultConfigPath : variable;
}

docker::ConnectOptions engine_options(const Config& config) {
  docker::ConnectOptions options = docker::options_from_environment();
  if (!options.host.empty() || config.engine_host.empty()) return options;
  options.host = config.engine_host;
  if (!config.engine_cert_path.empty()) {
    options.tls = true;
    options.cert_path = config.engine_cert_path;
  }
  return options;
}

}  // namespace bygone::ingest
