// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>

#include "cli/options.h"
#include "cli/select.h"
#include "cli/text.h"
#include "store/chunk_store.h"

namespace bygone::cli {
namespace {

using store::Entry;
using store::Extent;

Result<void> write_zeros(Output& out, std::uint64_t length) {
  static const std::string zeros(256u << 10, '\0');
  while (length > 0 && !out.closed()) {
    const std::uint64_t n = std::min<std::uint64_t>(length, zeros.size());
    TRY(out.bytes(std::string_view(zeros).substr(0, n)));
    length -= n;
  }
  return {};
}

Result<void> write_extent(store::ChunkSource& chunks, const Extent& extent, Output& out) {
  if (extent.kind != Extent::Kind::data) return write_zeros(out, extent.length);
  const auto chunk = TRY(chunks.get(store::ChunkKind::data, extent.chunk));
  if (extent.offset > chunk->size() || extent.length > chunk->size() - extent.offset) {
    return Error{Code::corrupt, 0, "an extent reaches past the end of its chunk"};
  }
  return out.bytes(as_text(ByteView(*chunk).subspan(extent.offset, extent.length)));
}

Result<void> write_file(store::TreeReader& trees, store::ChunkSource& chunks, const Entry& file,
                        Output& out) {
  if (file.content == Entry::Content::inline_bytes) return out.bytes(as_text(file.inline_bytes));
  Result<void> written;
  TRY(trees.extents(file, 0, file.size, [&](std::uint64_t /*offset*/, const Extent& extent) {
    written = write_extent(chunks, extent, out);
    return written.ok();
  }));
  return written;
}

Error not_a_file(const Selected& selected, const std::string& what) {
  return Error{Code::invalid, 0, selected.spelling + " is " + what};
}

Result<void> check_file(const Selected& selected) {
  if (!selected.entry || selected.entry->is_directory()) {
    return not_a_file(selected, "a folder; hint: bygone ls lists it, bygone restore copies it");
  }
  const Entry& entry = *selected.entry;
  if (entry.type == store::FileType::symlink) {
    return not_a_file(selected, "a symbolic link to " + printable(entry.target));
  }
  if (entry.type != store::FileType::regular) {
    return not_a_file(selected, std::string("no file but a ") + type_text(entry.type));
  }
  if (entry.flags & store::kUnreadable) {
    return not_a_file(selected, "not stored: it could not be read when it was backed up");
  }
  return {};
}

Exit cat(Context& context, const std::string& what) {
  Exit exit = Exit::done;
  const auto repository = context.open(exit);
  if (repository == nullptr) return exit;
  const Result<Selected> selected = select(*repository, what);
  if (!selected.ok()) return context.fail(selected.error());
  if (const auto is_file = check_file(*selected); !is_file.ok()) {
    return context.fail(is_file.error());
  }
  auto written =
      write_file(repository->trees(), repository->chunks(), *selected->entry, context.out);
  if (written.ok() || written.error().errnum == EPIPE) return Exit::done;
  return context.fail(std::move(written).error().with("reading " + selected->spelling));
}

}  // namespace

Action add_cat(CLI::App& app) {
  const auto what = std::make_shared<std::string>();
  app.add_option("file", *what, "the file")->type_name("SOURCE[@INSTANT]:PATH")->required();
  app.footer(
      "Examples:\n"
      "  bygone cat db@yesterday:pgdata/postgresql.conf\n"
      "  bygone cat db:.bygone/container.json | jq .Config.Env");
  return [what](Context& context) { return cat(context, *what); };
}

}  // namespace bygone::cli
