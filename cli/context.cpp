// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>
#include <filesystem>

#include <sys/stat.h>

#include "cli/options.h"
#include "store/config.h"

namespace bygone::cli {
namespace {

std::string absolute(const std::string& path) {
  std::error_code failure;
  const auto result = std::filesystem::absolute(path, failure);
  return failure ? path : result.lexically_normal().native();
}

}  // namespace

Exit Context::fail(const Error& error, Stage stage, std::string_view item) {
  const Exit exit = exit_for(error, stage);
  out.error(error, item);
  return exit;
}

Exit Context::usage(const std::string& text) {
  out.error(text);
  return Exit::usage;
}

Result<const Context::Configuration*> Context::configuration() {
  if (!configuration_) {
    Configuration read;
    auto config = ingest::load_config(config_path(), read.problems);
    if (config.ok()) {
      read.config = std::move(*config);
      configuration_ = std::move(read);
    } else {
      configuration_ = std::move(config).error();
    }
  }
  if (!configuration_->ok()) return configuration_->error();
  return &**configuration_;
}

Result<docker::ConnectOptions> Context::engine_options() {
  return ingest::engine_options(TRY(configuration())->config);
}

Result<std::string> Context::repository_path() {
  if (!global_.repository.empty()) return absolute(global_.repository);
  const Configuration& read = *TRY(configuration());
  if (!read.config.repository.empty()) return absolute(read.config.repository);
  // It may stand there with a mistake.
  std::string why = "no repository is named; ";
  for (const ingest::Problem& problem : read.problems) {
    why += problem.where + ": " + problem.what + "; ";
  }
  return Error{Code::invalid, 0,
               why + "hint: set BYGONE_REPOSITORY, give --repo FOLDER, or name it in " +
                   printable(config_path())};
}

// The file's secret is for the file's repository, and for no other that happens to be named.
void Context::take_configured_secret(const std::string& path) {
  if (!sources_.none()) return;
  const auto read = configuration();
  if (!read.ok()) return;  // whoever needs the file learns of it; here somebody may type it
  const ingest::Config& config = (*read)->config;
  if (config.repository.empty() || absolute(config.repository) != path) return;
  if (!config.password_file.empty()) sources_.password_file = config.password_file;
  if (!config.key_file.empty()) sources_.key_file = config.key_file;
  if (!config.password_command.empty()) sources_.password_command = config.password_command;
  if (!sources_.none()) sources_.config = config.path;
}

std::string Context::index_dir() {
  const char* folder = std::getenv("BYGONE_INDEX_DIR");
  return folder == nullptr || *folder == '\0' ? "" : absolute(folder);
}

Result<store::Secret> Context::new_secret(const std::string& path) {
  take_configured_secret(path);
  return read_secret(sources_, Ask::twice, path);
}

Result<store::Secret> Context::secret(const std::string& path) {
  take_configured_secret(path);
  return read_secret(sources_, Ask::once, path);
}

Error Context::explain_open_failure(Error error) const {
  const bool wrong_key = error.code == Code::denied && error.errnum == 0;
  const std::string source = describe_source(sources_);
  if (wrong_key && !source.empty()) error.message += "; hint: " + source;
  return error;
}

std::unique_ptr<store::Repository> Context::open(Exit& exit, store::Secret* used) {
  const Result<std::string> path = repository_path();
  if (!path.ok()) {
    exit = usage(path.error().message);
    return nullptr;
  }
  // Nobody is asked for the passphrase of a repository that is not there.
  const auto is_missing = [&](const char* name) {
    struct stat file {};
    return stat((*path + "/" + name).c_str(), &file) != 0 && (errno == ENOENT || errno == ENOTDIR);
  };
  if (is_missing(store::kConfigFile) && is_missing(store::kConfigCopy)) {
    exit = fail({Code::not_found, 0,
                 "there is no repository at " + printable(*path) +
                     "; hint: bygone init makes one, BYGONE_REPOSITORY or --repo names another"},
                Stage::opening);
    return nullptr;
  }
  Result<store::Secret> secret = this->secret(*path);
  if (!secret.ok()) {
    exit =
        secret.error().code == Code::invalid ? usage(secret.error().message) : fail(secret.error());
    return nullptr;
  }
  store::OpenOptions options;
  options.index_dir = index_dir();
  auto repository = store::Repository::open(*path, *secret, options);
  if (!repository.ok()) {
    exit = fail(explain_open_failure(std::move(repository).error()), Stage::opening);
    return nullptr;
  }
  if (used != nullptr) *used = std::move(*secret);
  return std::move(*repository);
}

}  // namespace bygone::cli
