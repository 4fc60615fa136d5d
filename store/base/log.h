// SPDX-License-Identifier: Apache-2.0
//
// Levelled log lines on stderr (spdlog behind it). One line a call: control bytes of the text are
// escaped, so that a hostile file name can neither break the line nor steer a terminal. No secret
// is ever passed here. Callable from any thread.
#pragma once

#include <string>

namespace bygone::log {

enum class Level { debug, info, warning, error };

// Lines below `level` are dropped. Default: warning.
void set_level(Level level);
void debug(const std::string& text);
void info(const std::string& text);
void warning(const std::string& text);
void error(const std::string& text);

}  // namespace bygone::log
