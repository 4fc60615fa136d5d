// SPDX-License-Identifier: Apache-2.0
//
// Options whose value is one of a few words, with a message that names them. One thread.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

namespace bygone::cli {

template <class T>
using Choices = std::vector<std::pair<std::string, T>>;

template <class T>
std::optional<T> find_choice(const Choices<T>& choices, const std::string& word) {
  for (const auto& [name, value] : choices) {
    if (name == word) return value;
  }
  return std::nullopt;
}

template <class T>
std::string choice_names(const Choices<T>& choices) {
  std::string names;
  for (const auto& choice : choices) names += (names.empty() ? "" : ", ") + choice.first;
  return names;
}

// `target` must outlive the parsing.
template <class T>
void add_choice(CLI::App& app, const std::string& option, T& target, const Choices<T>& choices,
                const std::string& description) {
  app.add_option_function<std::string>(
         option,
         [&target, choices, option](const std::string& word) {
           const auto value = find_choice(choices, word);
           if (!value) {
             throw CLI::ValidationError(
                 option + " takes one of " + choice_names(choices) + ", and not " + word,
                 CLI::ExitCodes::ValidationError);
           }
           target = *value;
         },
         description + ": " + choice_names(choices))
      ->type_name("WORD");
}

}  // namespace bygone::cli
