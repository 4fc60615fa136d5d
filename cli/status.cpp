// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cli/options.h"
#include "cli/text.h"
#include "ingest/backup.h"
#include "ingest/daemon/ledger.h"
#include "store/zone.h"

namespace bygone::cli {
namespace {

using ingest::Ledger;
using ingest::SourceState;

struct View {
  Ledger ledger;
  bool running = false;  // the daemon
  Nanoseconds now = 0;
};

// "3:05 ago", "in 12 s".
std::string relative(Nanoseconds at, Nanoseconds now) {
  const Nanoseconds distance = at < now ? now - at : at - now;
  const std::string text =
      distance >= 2 * kDay
          ? counted(static_cast<std::uint64_t>(distance / kDay), "day")
          : duration_text(static_cast<double>(distance) / static_cast<double>(kSecond));
  return at < now ? text + " ago" : "in " + text;
}

std::string good_text(const SourceState& state, Nanoseconds now) {
  if (state.good_instant == 0) return "never";
  return state.listed_name + " (" + relative(state.good_instant, now) + ")";
}

std::string next_text(const SourceState& state, const View& view) {
  if (!view.running) return "-";
  if (state.running) return "running";
  if (state.next_run == 0) return "-";
  return state.next_run <= view.now ? "waiting" : relative(state.next_run, view.now);
}

std::string consistency_text(const SourceState& state) {
  std::string text = state.consistency;
  if (state.window > 0) text += " " + duration_text(static_cast<double>(state.window) / 1e9);
  return text;
}

std::string state_text(const SourceState& state, Nanoseconds now) {
  if (state.gone_since != 0) return "gone " + relative(state.gone_since, now);
  if (ingest::is_overdue(state, now)) return "OVERDUE";
  if (!state.last_error.empty()) return "failed";
  if (state.partial) return "partial";
  if (state.schedule.empty()) return "no schedule";
  return state.good_instant == 0 ? "new" : "ok";
}

Json time_or_null(Nanoseconds time) {
  if (time == 0) return nullptr;
  return store::to_rfc3339(store::local_zone_name(), time);
}

Json described(const SourceState& state, const View& view) {
  Json object{{"message_type", "source"}};
  put_raw(object, "source", spelled(state));
  object["kind"] = store::to_text(state.kind);
  object["schedule"] = state.schedule;
  object["last_good"] = time_or_null(state.good_instant);
  object["instant"] = state.listed_name;
  object["snapshot_id"] = state.snapshot_id;
  object["size"] = state.bytes;
  object["data_added"] = state.added_bytes;
  object["consistency"] = state.consistency;
  object["window_ms"] = static_cast<double>(state.window) / 1e6;
  object["partial"] = state.partial;
  object["last_attempt"] = time_or_null(state.last_begun);
  object["last_error"] = printable(state.last_error);
  object["failures"] = state.failures;
  object["running"] = view.running && state.running;
  object["next_run"] = time_or_null(view.running ? state.next_run : 0);
  object["gone_since"] = time_or_null(state.gone_since);
  const auto since = ingest::overdue_at(state);
  object["overdue_at"] = time_or_null(since.value_or(0));
  object["overdue"] = ingest::is_overdue(state, view.now);
  return object;
}

void print_table(Output& out, const View& view) {
  Table table({{"SOURCE"},
               {"STATE"},
               {"LAST GOOD"},
               {"NEXT"},
               {"SIZE", true},
               {"CONSISTENCY"},
               {"SCHEDULE"}});
  for (const SourceState& state : view.ledger.sources) {
    table.add({printable(spelled(state)), state_text(state, view.now), good_text(state, view.now),
               next_text(state, view), state.good_instant == 0 ? "-" : size_text(state.bytes),
               consistency_text(state), printable(state.schedule)});
  }
  for (const std::string& line : table.lines()) out.line(line);
}

void say_what_is_wrong(Output& out, const View& view) {
  if (!view.running) {
    out.warning("the daemon is not running; this is what it knew " +
                relative(view.ledger.written, view.now));
  } else if (!view.ledger.engine_error.empty()) {
    out.warning("Docker cannot be reached: " + view.ledger.engine_error);
  }
  for (const SourceState& state : view.ledger.sources) {
    if (state.last_error.empty() || state.gone_since != 0) continue;
    out.warning(printable(spelled(state)) + ": the last attempt, " +
                relative(state.last_begun, view.now) + ", failed: " + printable(state.last_error));
  }
}

std::uint64_t overdue_in(const View& view) {
  return static_cast<std::uint64_t>(
      std::count_if(view.ledger.sources.begin(), view.ledger.sources.end(),
                    [&](const SourceState& state) { return is_overdue(state, view.now); }));
}

void print_json(Output& out, const View& view) {
  for (const SourceState& state : view.ledger.sources) out.object(described(state, view));
  out.object(Json{{"message_type", "summary"},
                  {"daemon_running", view.running},
                  {"written", time_or_null(view.ledger.written)},
                  {"repository", lossy_utf8(view.ledger.repository)},
                  {"engine_error", view.ledger.engine_error},
                  {"last_forget", time_or_null(view.ledger.last_forget)},
                  {"last_prune", time_or_null(view.ledger.last_prune)},
                  {"sources", view.ledger.sources.size()},
                  {"overdue", overdue_in(view)}});
}

Exit status(Context& context, bool with_gone) {
  const std::string folder = ingest::default_state_folder();
  View view;
  view.running = ingest::is_daemon_running(folder);
  auto ledger = ingest::read_ledger(folder);
  if (!ledger.ok()) {
    if (ledger.error().code != Code::not_found) return context.fail(ledger.error());
    return context.fail({Code::not_found, 0,
                         "no daemon has run with the state folder " + printable(folder) +
                             "; hint: bygone daemon --help"});
  }
  view.ledger = std::move(*ledger);
  view.now = system_now();
  std::erase_if(view.ledger.sources,
                [&](const auto& state) { return state.gone_since != 0 && !with_gone; });
  if (context.out.json()) {
    print_json(context.out, view);
  } else {
    print_table(context.out, view);
    say_what_is_wrong(context.out, view);
  }
  const std::uint64_t overdue = overdue_in(view);
  if (overdue == 0) return Exit::done;
  if (!context.out.json()) context.out.error(counted(overdue, "source") + " overdue");
  return Exit::overdue;
}

}  // namespace

Action add_status(CLI::App& app) {
  const auto with_gone = std::make_shared<bool>(false);
  app.add_flag("--gone", *with_gone, "also sources that went within the last week");
  app.footer(
      "Reads what the daemon wrote into its state folder (BYGONE_STATE_DIR, /var/lib/bygone): "
      "needs\n"
      "neither the repository's key nor a running daemon. A source is overdue when it missed two\n"
      "runs of its schedule and its last good snapshot is two intervals old, with the jitter; at\n"
      "least ten minutes. Exit code 24 when one is.\n\n"
      "Examples:\n"
      "  bygone status\n"
      "  bygone status --gone\n"
      "  bygone status --json | jq -r 'select(.overdue == true) | .source'");
  return [with_gone](Context& context) { return status(context, *with_gone); };
}

}  // namespace bygone::cli
