// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>
#include <filesystem>

#include <sys/stat.h>

#include "cli/options.h"
#include "ingest/config.h"

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

Result<std::string> Context::repository_path() const {
  if (!global_.repository.empty()) return absolute(global_.repository);
  if (!configured_repository_.empty()) return absolute(configured_repository_);
  return Error{Code::invalid, 0,
               "no repository is named; hint: set BYGONE_REPOSITORY or give --repo FOLDER"};
}

void Context::take_from(const ingest::Config& config) {
  configured_repository_ = config.repository;
  if (sources_.password || sources_.password_file || sources_.password_command ||
      sources_.key_file) {
    return;
  }
  if (!config.password_file.empty()) sources_.password_file = config.password_file;
  if (!config.password_command.empty()) sources_.password_command = config.password_command;
  if (!config.key_file.empty()) sources_.key_file = config.key_file;
}

std::string Context::index_dir() {
  const char* folder = std::getenv("BYGONE_INDEX_DIR");
  return folder == nullptr || *folder == '\0' ? "" : absolute(folder);
}

Result<store::Secret> Context::new_secret(const std::string& path) const {
  return read_secret(sources_, Ask::twice, path);
}

Result<store::Secret> Context::secret(const std::string& path) const {
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
  struct stat config {};
  if (stat((*path + "/config").c_str(), &config) != 0 && (errno == ENOENT || errno == ENOTDIR)) {
    exit = fail({Code::not_found, 0,
                 "there is no repository at " + printable(*path) +
                     "; hint: bygone init makes one, BYGONE_REPOSITORY or --repo names another"},
                Stage::opening);
    return nullptr;
  }
  Result<store::Secret> secret = read_secret(sources_, Ask::once, *path);
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
