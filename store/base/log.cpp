// SPDX-License-Identifier: Apache-2.0
#include "store/base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "store/base/bytes.h"

namespace bygone::log {
namespace {

spdlog::logger& logger() {
  static const auto instance = [] {
    auto made = std::make_shared<spdlog::logger>("bygone",
                                                 std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("bygone: %l: %v");
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
