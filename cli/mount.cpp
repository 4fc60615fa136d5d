// SPDX-License-Identifier: Apache-2.0
#include "fs/mount.h"

#include <filesystem>

#include <CLI/CLI.hpp>

#include "cli/background.h"
#include "cli/options.h"

namespace bygone::cli {
namespace {

struct MountArguments {
  std::string folder;
  bool foreground = false;
  bool allow_other = false;
};

// A busy mountpoint is no lock of the repository.
Exit refuse(Context& context, const Error& error) {
  const Exit exit = context.fail(error);
  return exit == Exit::locked ? Exit::failed : exit;
}

Exit serve(Context& context, fs::MountOptions options, const std::function<void()>& ready) {
  Exit exit = Exit::done;
  const auto repository = context.open(exit);
  if (repository == nullptr) return exit;
  options.on_ready = [&] {
    context.out.info("mounted at " + printable(options.mountpoint) + "; bygone umount " +
                     printable(options.mountpoint) + " takes it away");
    ignore(context.out.finish(), "nobody reads it: the mount stands all the same");
    if (ready) ready();
  };
  const Result<void> served = fs::serve_mount(*repository, options);
  return served.ok() ? Exit::done : refuse(context, served.error());
}

Exit mount(Context& context, const MountArguments& arguments) {
  const Result<std::string> repository = context.repository_path();
  if (!repository.ok()) return context.usage(repository.error().message);
  std::error_code failure;
  fs::MountOptions options;
  options.mountpoint = std::filesystem::absolute(arguments.folder, failure).native();
  if (failure) return context.fail(os_error(failure.value(), printable(arguments.folder)));
  options.allow_other = arguments.allow_other;
  if (!Context::index_dir().empty()) options.needed_paths.push_back(Context::index_dir());
  // Before anybody types a passphrase.
  const auto prepared =
      fs::prepare_mountpoint(options.mountpoint, *repository, options.needed_paths);
  if (!prepared.ok()) return refuse(context, prepared.error());
  if (!std::filesystem::is_empty(options.mountpoint, failure) && !failure) {
    context.out.warning(printable(options.mountpoint) +
                        " is not empty: what it holds cannot be seen until bygone umount");
  }
  if (arguments.foreground) return serve(context, options, {});
  const Result<Exit> exit = run_in_background(
      [&](const std::function<void()>& ready) { return serve(context, options, ready); });
  return exit.ok() ? *exit : context.fail(exit.error());
}

Exit umount(Context& context, const std::string& folder) {
  const Result<fs::Unmounted> unmounted = fs::unmount(folder);
  if (!unmounted.ok()) return context.fail(unmounted.error());
  if (*unmounted == fs::Unmounted::lazily) {
    context.out.warning(printable(folder) +
                        " is in use: it is detached, and served until the last user leaves");
  }
  return Exit::done;
}

}  // namespace

Action add_mount(CLI::App& app) {
  const auto arguments = std::make_shared<MountArguments>();
  app.add_option("folder", arguments->folder, "an empty folder to mount at")
      ->type_name("DIR")
      ->required();
  app.add_flag("-f,--foreground", arguments->foreground, "stay, until Ctrl-C or bygone umount");
  app.add_flag("--allow-other", arguments->allow_other,
               "let other users look in (root's mounts always do)");
  app.footer(
      "Shows every snapshot as DIR/SOURCE/INSTANT/..., read-only; `latest`, `yesterday` and any\n"
      "other instant work as folder names too. Goes to the background once it is ready; damage\n"
      "found later is told on stderr if that is a file (2>>LOG) or with --foreground.\n\n"
      "Examples:\n"
      "  bygone mount /mnt/backups\n"
      "  ls /mnt/backups/db/yesterday\n"
      "  rsync -aHAX /mnt/backups/db/latest/pgdata/ /restore/\n"
      "  bygone umount /mnt/backups");
  return [arguments](Context& context) { return mount(context, *arguments); };
}

Action add_umount(CLI::App& app) {
  const auto folder = std::make_shared<std::string>();
  app.add_option("folder", *folder, "where it is mounted")->type_name("DIR")->required();
  app.footer("Works for a mount whose process died, too. Needs no passphrase.");
  return [folder](Context& context) { return umount(context, *folder); };
}

}  // namespace bygone::cli
