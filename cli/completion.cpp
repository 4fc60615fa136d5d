// SPDX-License-Identifier: Apache-2.0
//
// Completions are made from the parser itself, so that they cannot lag behind it.
#include <CLI/CLI.hpp>
#include <fmt/core.h>

#include "cli/options.h"

namespace bygone::cli {
namespace {

struct Word {
  std::string text;
  std::string description;
};

std::vector<Word> options_of(const CLI::App& app) {
  std::vector<Word> words;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) {
      words.push_back({"--" + name, option->get_description()});
    }
    for (const std::string& name : option->get_snames()) {
      words.push_back({"-" + name, option->get_description()});
    }
  }
  return words;
}

std::vector<Word> commands_of(const CLI::App& app) {
  std::vector<Word> words;
  for (const CLI::App* sub : app.get_subcommands({})) {
    words.push_back({sub->get_name(), sub->get_description()});
  }
  return words;
}

std::string joined(const std::vector<Word>& words) {
  std::string text;
  for (const Word& word : words) text += (text.empty() ? "" : " ") + word.text;
  return text;
}

// For single quotes: descriptions are ours, but they may hold an apostrophe.
std::string in_quotes(const std::string& text) {
  std::string result;
  for (const char c : text) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return result;
}

bool names_source(const std::string& command) {
  return command == "snapshots" || command == "ls" || command == "cat" || command == "restore" ||
         command == "backup" || command == "forget";
}

// Asks for the sources only where no passphrase would be asked for.
const char* const kSources = R"(_bygone_sources() {
  [ -n "$BYGONE_REPOSITORY" ] || return 0
  [ -n "$BYGONE_PASSWORD$BYGONE_PASSWORD_FILE$BYGONE_KEY_FILE" ] || return 0
  bygone -q ls </dev/null 2>/dev/null
}
)";

std::string bash_script(const CLI::App& root) {
  const std::string commands = joined(commands_of(root));
  std::string text = std::string("# bash completion for bygone\n") + kSources;
  text += fmt::format(R"(_bygone() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} command= word options=
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    case " {} " in *" $word "*) command=$word; break ;; esac
  done
  COMPREPLY=()
  case $command in
    '') options='{}'
      [[ $cur == -* ]] || options='{}' ;;
)",
                      commands, joined(options_of(root)), commands);
  for (const CLI::App* sub : root.get_subcommands({})) {
    text += fmt::format("    {}) options='{}'\n", sub->get_name(), joined(options_of(*sub)));
    const std::string nested = joined(commands_of(*sub));
    if (!nested.empty()) {
      text += fmt::format("      [[ $cur == -* ]] || options='{}' ;;\n", nested);
    } else if (names_source(sub->get_name())) {
      text += "      [[ $cur == -* ]] || options=$(_bygone_sources) ;;\n";
    } else {
      text += "      [[ $cur == -* ]] || options= ;;\n";
    }
  }
  return text + R"(  esac
  local IFS=$' \n'
  COMPREPLY=($(compgen -W "$options" -- "$cur"))
}
complete -o default -F _bygone bygone
)";
}

std::string zsh_words(const std::vector<Word>& words) {
  std::string text;
  for (const Word& word : words) {
    std::string description = word.description;
    for (std::size_t at = 0; (at = description.find(':', at)) != std::string::npos; at += 2) {
      description.insert(at, "\\");
    }
    text += fmt::format(" '{}:{}'", word.text, in_quotes(description));
  }
  return text;
}

std::string zsh_script(const CLI::App& root) {
  std::string text = std::string("#compdef bygone\n") + kSources;
  text += fmt::format(R"(_bygone() {{
  local -a commands options
  local command= word
  commands=({})
  for word in ${{words[2,CURRENT-1]}}; do
    (( ${{commands[(I)$word:*]}} )) && {{ command=$word; break; }}
  done
  case $command in
    '') options=({})
      [[ $words[CURRENT] == -* ]] || {{ _describe command commands; return; }} ;;
)",
                      zsh_words(commands_of(root)), zsh_words(options_of(root)));
  for (const CLI::App* sub : root.get_subcommands({})) {
    text += fmt::format("    {}) options=({})\n", sub->get_name(), zsh_words(options_of(*sub)));
    const std::vector<Word> nested = commands_of(*sub);
    if (!nested.empty()) {
      text += fmt::format("      commands=({})\n", zsh_words(nested)) +
              "      [[ $words[CURRENT] == -* ]] || { _describe command commands; return; }\n";
    } else if (names_source(sub->get_name())) {
      text += "      [[ $words[CURRENT] == -* ]] || compadd -- ${(f)\"$(_bygone_sources)\"}\n";
    }
    text += "      ;;\n";
  }
  return text + R"(  esac
  if [[ $words[CURRENT] == -* ]]; then _describe option options; else _files; fi
}
if [[ $funcstack[1] == _bygone ]]; then _bygone "$@"; else compdef _bygone bygone; fi
)";
}

std::string fish_options(const CLI::App& app, const std::string& condition) {
  std::string text;
  for (const Word& word : options_of(app)) {
    const bool long_form = word.text.starts_with("--");
    text += fmt::format("complete -c bygone -n '{}' {} {} -d '{}'\n", condition,
                        long_form ? "-l" : "-s", word.text.substr(long_form ? 2 : 1),
                        in_quotes(word.description));
  }
  return text;
}

std::string fish_script(const CLI::App& root) {
  std::string text = R"(# fish completion for bygone
function __bygone_sources
  test -n "$BYGONE_REPOSITORY"; or return 0
  test -n "$BYGONE_PASSWORD$BYGONE_PASSWORD_FILE$BYGONE_KEY_FILE"; or return 0
  bygone -q ls </dev/null 2>/dev/null
end
)";
  text += fish_options(root, "__fish_use_subcommand");
  for (const CLI::App* sub : root.get_subcommands({})) {
    const std::string& name = sub->get_name();
    const std::string seen = "__fish_seen_subcommand_from " + name;
    text += fmt::format("complete -c bygone -f -n __fish_use_subcommand -a {} -d '{}'\n", name,
                        in_quotes(sub->get_description()));
    text += fish_options(*sub, seen);
    for (const Word& nested : commands_of(*sub)) {
      text += fmt::format("complete -c bygone -f -n '{}' -a {} -d '{}'\n", seen, nested.text,
                          in_quotes(nested.description));
    }
    if (names_source(name)) {
      text += fmt::format("complete -c bygone -n '{}' -a '(__bygone_sources)'\n", seen);
    }
  }
  return text;
}

Exit completion(Context& context, const CLI::App& root, const std::string& shell) {
  if (shell == "bash") {
    context.out.line(bash_script(root));
  } else if (shell == "zsh") {
    context.out.line(zsh_script(root));
  } else if (shell == "fish") {
    context.out.line(fish_script(root));
  } else {
    return context.usage("no completion for the shell " + printable(shell) +
                         "; hint: there is one for bash, zsh and fish");
  }
  return Exit::done;
}

}  // namespace

Action add_completion(CLI::App& app) {
  const auto shell = std::make_shared<std::string>();
  app.add_option("shell", *shell, "bash, zsh or fish")->type_name("SHELL")->required();
  app.footer(
      "Examples:\n"
      "  bygone completion bash > /etc/bash_completion.d/bygone\n"
      "  bygone completion zsh > /usr/local/share/zsh/site-functions/_bygone\n"
      "  bygone completion fish > ~/.config/fish/completions/bygone.fish");
  return [shell, &app](Context& context) { return completion(context, *app.get_parent(), *shell); };
}

}  // namespace bygone::cli
