// SPDX-License-Identifier: Apache-2.0
//
// What --help prints. The overview is written by hand, for people; a command's page is its usage,
// its options, and the examples that it was given as a footer. One thread.
#pragma once

#include <string>

#include <CLI/CLI.hpp>

namespace bygone::cli {

class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_help(const CLI::App* app, std::string name,
                        CLI::AppFormatMode mode) const override;
  std::string make_usage(const CLI::App* app, std::string name) const override;
  std::string make_option_name(const CLI::Option* option, bool is_positional) const override;
  std::string make_option_opts(const CLI::Option* option) const override;
};

// `bygone --help`.
[[nodiscard]] std::string overview();

}  // namespace bygone::cli
