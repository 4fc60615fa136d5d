// SPDX-License-Identifier: Apache-2.0
#include "cli/duration.h"

#include <string>

#include <CLI/CLI.hpp>

#include "ingest/duration.h"
#include "store/base/bytes.h"

namespace bygone::cli {

void add_duration(CLI::App& app, const char* option, Nanoseconds& target, const char* description) {
  app.add_option_function<std::string>(
         option,
         [&target, option](const std::string& text) {
           const auto value = ingest::parse_duration(text);
           if (!value) {
             throw CLI::ValidationError(std::string(option) +
                                            " takes a time such as 90s, 5m, 36h, 7d, 2w or 1y, "
                                            "and not " +
                                            printable(text),
                                        CLI::ExitCodes::ValidationError);
           }
           target = *value;
         },
         description)
      ->type_name("DURATION");
}

}  // namespace bygone::cli
