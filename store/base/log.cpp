// SPDX-License-Identifier: Apache-2.0
#include "store/base/log.h"

#include <cstdlib>

#include <fmt/core.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/base/bytes.h"

namespace bygone::log {
namespace {

// Whether stderr goes to the journal of systemd: JOURNAL_STREAM names its device and inode
// (systemd.exec(5)).
bool is_journal() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  struct stat status {};
  return stream != nullptr && ::fstat(STDERR_FILENO, &status) == 0 &&
         fmt::format("{}:{}", status.st_dev, status.st_ino) == stream;
}

// A level as the journal takes it from the beginning of a line: sd-daemon(3).
class Priority final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm& /*time*/,
              spdlog::memory_buf_t& out) override {
    const char digit = message.level >= spdlog::level::err    ? '3'
                       : message.level >= spdlog::level::warn ? '4'
                       : message.level >= spdlog::level::info ? '6'
                                                              : '7';
    out.push_back(digit);
  }
  [[nodiscard]] std::unique_ptr<spdlog::custom_flag_formatter> clone() const override {
    return std::make_unique<Priority>();
  }
};

spdlog::logger& logger() {
  static const auto instance = [] {
    auto made = std::make_shared<spdlog::logger>("bygone",
                                                 std::make_shared<spdlog::sinks::stderr_sink_mt>());
    if (is_journal()) {  // which knows the program's name
      auto formatter = std::make_unique<spdlog::pattern_formatter>();
      formatter->add_flag<Priority>('*').set_pattern("<%*>%v");
      made->set_formatter(std::move(formatter));
    } else {
      made->set_pattern("bygone: %l: %v");
    }
    made->set_level(spdlog::level::warn);
    return made;
  }();
  return *instance;
}

}  // namespace

void set_level(Level level) {
  switch (level) {
    case Level::debug:
      return logger().set_level(spdlog::level::debug);
    case Level::info:
      return logger().set_level(spdlog::level::info);
    case Level::warning:
      return logger().set_level(spdlog::level::warn);
    case Level::error:
      return logger().set_level(spdlog::level::err);
  }
}

void debug(const std::string& text) { logger().debug("{}", printable(text)); }
void info(const std::string& text) { logger().info("{}", printable(text)); }
void warning(const std::string& text) { logger().warn("{}", printable(text)); }
void error(const std::string& text) { logger().error("{}", printable(text)); }

}  // namespace bygone::log
