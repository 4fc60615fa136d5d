// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cli/options.h"

namespace bygone::cli {
namespace {

Exit init(Context& context) {
  const Result<std::string> path = context.repository_path();
  if (!path.ok()) return context.usage(path.error().message);
  const Result<store::Secret> secret = context.new_secret(*path);
  if (!secret.ok()) {
    return secret.error().code == Code::invalid ? context.usage(secret.error().message)
                                                : context.fail(secret.error());
  }
  const Result<void> created = store::Repository::create(*path, *secret);
  if (!created.ok()) return context.fail(created.error());
  if (context.out.json()) {
    context.out.object(Json{{"message_type", "initialized"}, {"repository", *path}});
    return Exit::done;
  }
  context.out.info("made a repository at " + printable(*path));
  context.out.info(
      "Without its passphrase or key file nothing in it can ever be read: keep a copy elsewhere.");
  return Exit::done;
}

}  // namespace

Action add_init(CLI::App& app) {
  app.footer(
      "Makes an empty, encrypted repository in a folder that is absent or empty. The passphrase\n"
      "or key file comes from the environment, or is asked for twice.\n\n"
      "Examples:\n"
      "  bygone --repo /srv/backup init\n"
      "  head -c 32 /dev/urandom > /etc/bygone/key\n"
      "  bygone --repo /srv/backup --key-file /etc/bygone/key init");
  return init;
}

}  // namespace bygone::cli
