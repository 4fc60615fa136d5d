// SPDX-License-Identifier: Apache-2.0
//
// What every command is given: the global options, the output, the way to the secret; and the
// list of commands. One file a command adds its options to its own CLI::App and returns what is to
// be done. One thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/exit_codes.h"
#include "cli/output.h"
#include "cli/secret.h"
#include "ingest/config.h"
#include "store/repository.h"

namespace CLI {
class App;
}

namespace bygone::cli {

struct Global {
  std::string repository;  // -r, --repo, BYGONE_REPOSITORY
  std::string key_file;    // --key-file
  std::string config;      // --config
  bool quiet = false;
  bool json = false;
  int verbose = 0;
};

class Context {
 public:
  Context(const Global& global, SecretSources sources, Output& output)
      : out(output), global_(global), sources_(std::move(sources)) {}

  Output& out;

  // Says what failed and returns the exit code for it. `item`: the raw name it is about.
  Exit fail(const Error& error, Stage stage = Stage::working, std::string_view item = {});
  // For a command line that makes no sense: message with the way to help, exit code 2.
  Exit usage(const std::string& text);

  // The configuration file and what is wrong in it, read once. Errors: those of load_config().
  struct Configuration {
    ingest::Config config;
    std::vector<ingest::Problem> problems;
  };
  [[nodiscard]] Result<const Configuration*> configuration();
  [[nodiscard]] std::string config_path() const { return ingest::config_path(global_.config); }
  // How to reach the engine. Errors: those of configuration().
  [[nodiscard]] Result<docker::ConnectOptions> engine_options();

  // Absolute path of the repository: --repo, BYGONE_REPOSITORY, or what the configuration says.
  // Errors: invalid when none is named; those of configuration().
  [[nodiscard]] Result<std::string> repository_path();
  // A secret for a new repository at `path`. Errors: those of read_secret().
  [[nodiscard]] Result<store::Secret> new_secret(const std::string& path);
  // The secret of the repository at `path`. Errors: those of read_secret().
  [[nodiscard]] Result<store::Secret> secret(const std::string& path);
  // The repository, opened with the secret. On failure `exit` says how the program is to end, and
  // the message has been printed. `secret`, when given, receives what it was opened with.
  [[nodiscard]] std::unique_ptr<store::Repository> open(Exit& exit,
                                                        store::Secret* secret = nullptr);
  // Where the index stands when BYGONE_INDEX_DIR moves it; else empty. Absolute.
  [[nodiscard]] static std::string index_dir();

 private:
  Error explain_open_failure(Error error) const;
  void take_configured_secret(const std::string& path);

  const Global& global_;
  SecretSources sources_;
  std::optional<Result<Configuration>> configuration_;
};

// What a command does once the command line is understood.
using Action = std::function<Exit(Context&)>;

struct Command {
  const char* name;
  const char* group;    // heading in the help
  const char* summary;  // one line of help
  Action (*add)(CLI::App& app);
};
// In the order of the help.
[[nodiscard]] const std::vector<Command>& commands();

Action add_backup(CLI::App& app);
Action add_cat(CLI::App& app);
Action add_completion(CLI::App& app);
Action add_config(CLI::App& app);
Action add_daemon(CLI::App& app);
Action add_forget(CLI::App& app);
Action add_help(CLI::App& app);
Action add_init(CLI::App& app);
Action add_key(CLI::App& app);
Action add_ls(CLI::App& app);
Action add_mount(CLI::App& app);
Action add_prune(CLI::App& app);
Action add_pin(CLI::App& app);
Action add_repair(CLI::App& app);
Action add_restore(CLI::App& app);
Action add_restore_snapshot(CLI::App& app);
Action add_snapshots(CLI::App& app);
Action add_stats(CLI::App& app);
Action add_status(CLI::App& app);
Action add_tag(CLI::App& app);
Action add_thaw(CLI::App& app);
Action add_umount(CLI::App& app);
Action add_unpin(CLI::App& app);
Action add_verify(CLI::App& app);
Action add_version(CLI::App& app);

// Parses the command line, runs the command, returns the exit code. Never throws.
int run(int argc, char** argv);

}  // namespace bygone::cli
