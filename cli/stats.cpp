// SPDX-License-Identifier: Apache-2.0
#include "store/stats.h"

#include <CLI/CLI.hpp>
#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "cli/cancel.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/text.h"

namespace bygone::cli {
namespace {

double quotient(std::uint64_t a, std::uint64_t b) {
  return b == 0 ? 0 : static_cast<double>(a) / static_cast<double>(b);
}

Json to_json(const store::Stats& stats) {
  return Json{{"message_type", "summary"},
              {"snapshots_count", stats.snapshots},
              {"sources", stats.sources},
              {"trash", stats.trash},
              {"packs", stats.packs},
              {"total_size", stats.pack_bytes},
              {"total_blob_count", stats.records},
              {"live_bytes", stats.bytes.live},
              {"base_bytes", stats.bytes.bases},
              {"trash_bytes", stats.bytes.trash},
              {"dead_bytes", stats.bytes.dead},
              {"index_bytes", stats.index_bytes},
              {"index_rows", stats.index_rows},
              {"total_uncompressed_size", stats.live_raw},
              {"total_restore_size", stats.restore_size},
              {"newest_restore_size", stats.newest_restore_size},
              {"compression_ratio", quotient(stats.live_raw, stats.bytes.live + stats.bytes.bases)},
              {"deduplication_ratio", quotient(stats.restore_size, stats.live_raw)}};
}

void print_stats(Output& out, const store::Stats& stats) {
  Table table({{.title = ""}, {.title = "", .right = true}, {.title = ""}});
  const auto row = [&](const char* what, const std::string& figure, const std::string& note = "") {
    table.add({what, figure, note});
  };
  row("snapshots", count_text(stats.snapshots), "of " + counted(stats.sources, "source"));
  row("in the trash", count_text(stats.trash));
  row("packs", size_text(stats.pack_bytes), counted(stats.packs, "file"));
  row("  live", size_text(stats.bytes.live), "what snapshots reach");
  row("  bases", size_text(stats.bytes.bases), "held only for deltas that need them");
  row("  trash", size_text(stats.bytes.trash), "free when the trash is emptied");
  row("  dead", size_text(stats.bytes.dead), "what bygone prune looks at");
  row("index", size_text(stats.index_bytes), counted(stats.index_rows, "row"));
  row("newest snapshots", size_text(stats.newest_restore_size), "of their files");
  row("all snapshots", size_text(stats.restore_size), "of their files");
  const std::uint64_t stored = stats.bytes.live + stats.bytes.bases;
  row("stored once", size_text(stats.live_raw),
      fmt::format("deduplication {:.1f} to 1", quotient(stats.restore_size, stats.live_raw)));
  row("compressed", size_text(stored),
      fmt::format("compression {:.1f} to 1", quotient(stats.live_raw, stored)));
  const auto lines = table.lines();
  for (std::size_t i = 1; i < lines.size(); ++i) out.line(lines[i]);  // without the empty titles
}

Exit stats(Context& context) {
  Exit exit = Exit::done;
  const auto repository = context.open(exit);
  if (repository == nullptr) return exit;
  const CancelOnSignal cancel;
  Progress progress(context.out);
  const auto figures = store::read_stats(
      *repository,
      [&](const store::SurveyProgress& now) {
        progress.update(phase_state(now.phase, now.done, now.total));
      },
      cancel.flag());
  context.out.progress_line("");
  if (!figures.ok()) return context.fail(figures.error());
  for (const std::string& line : figures->unreadable) context.out.warning(line);
  if (context.out.json()) {
    context.out.object(to_json(*figures));
  } else {
    print_stats(context.out, *figures);
  }
  return Exit::done;
}

}  // namespace

Action add_stats(CLI::App& app) {
  app.footer(
      "Sizes of what is stored, who needs it, and what deduplication, deltas and compression\n"
      "save. Reads every pack's table and every folder of every snapshot, but no file contents.\n\n"
      "Examples:\n"
      "  bygone stats\n"
      "  bygone stats --json");
  return stats;
}

}  // namespace bygone::cli
