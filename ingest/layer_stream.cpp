// SPDX-License-Identifier: Apache-2.0
#include "ingest/layer_stream.h"

#include <utility>

#include "ingest/source_tree.h"
#include "store/base/bytes.h"

namespace bygone::ingest {
namespace {

using SteadyClock = std::chrono::steady_clock;

// What one archive may bring in a row that nobody wants: less time than another one takes.
constexpr std::uint64_t kMostWaste = 4u << 20;
constexpr std::uint64_t kHeader = 1024;
constexpr std::size_t kBlock = 128u << 10;
constexpr std::size_t kBlocks = 4;

std::string join(const std::string& folder, const std::string& below) {
  return below.empty() ? folder : join_path(folder, below);
}

}  // namespace

// One archive, of what is at and below a path.
struct LayerStream::Request {
  Request(const LayerOrigin& origin, LayerList::Node& node)
      : root(node),
        // The archive of "/" has absolute names.
        tree(origin.engine, origin.container, node.path.empty() ? "/." : "/" + node.path, nullptr,
             origin.cancel, {.block = kBlock, .blocks = kBlocks, .over = &origin.over}) {}

  LayerList::Node& root;
  ArchiveTree tree;
  bool any = false;  // whether something came
  std::string last;  // path of what came last, wanted or not
  std::uint64_t wasted = 0;
};

LayerStream::LayerStream(LayerOrigin& origin, Limiter* limiter, WalkNotes& notes)
    : origin_(origin), limiter_(limiter), notes_(notes) {}

LayerStream::~LayerStream() = default;

Result<void> LayerStream::begin() {
  const auto start = SteadyClock::now();
  const std::vector<docker::Change> changes = TRY(origin_.engine.changes(origin_.container));
  earlier_ = SteadyClock::now() - start;
  if (!origin_.mounts) {
    origin_.mounts = TRY(LayerMounts::find(origin_.engine, origin_.container, origin_.destinations,
                                           changes, origin_.cancel));
  }
  list_ = TRY(LayerList::make(changes, *origin_.mounts, origin_.excludes));
  notes_.deleted = list_->deleted();
  return {};
}

void LayerStream::end() {
  for (const std::string& path : list_->unnameable()) {
    notes_.unreadable.emplace_back(path, "its name is no UTF-8: the engine cannot be asked for it");
  }
}

Result<void> LayerStream::close() {
  earlier_ += request_->tree.transfer_time();
  const std::uint64_t received = request_->tree.received();
  request_.reset();
  if (limiter_ != nullptr) TRY(limiter_->wait_for_transfer(received, origin_.cancel));
  return {};
}

Result<std::optional<TarEntry>> LayerStream::next() {
  if (!list_) TRY(begin());
  for (;;) {
    if (!request_) {
      LayerList::Node* const node = list_->first_pending();
      if (node == nullptr) break;
      request_ = std::make_unique<Request>(origin_, *node);
      ++requests_;
    }
    auto entry = TRY(step());
    if (entry) return entry;
    TRY(close());
  }
  end();
  return std::optional<TarEntry>();
}

// The next entry that is wanted; nothing when the request gives no more.
Result<std::optional<TarEntry>> LayerStream::step() {
  Request& request = *request_;
  while (request.root.left > 0) {
    auto came = request.tree.next();
    if (!came) {
      TRY(judge_failure(std::move(came).error()));
      return std::optional<TarEntry>();
    }
    if (!*came) {
      finish();
      return std::optional<TarEntry>();
    }
    TarEntry& entry = **came;
    entry.path = join(request.root.path, entry.path);
    if (entry.same_as) entry.same_as = join(request.root.path, *entry.same_as);
    if (request.any && !before_in_walk(request.last, entry.path)) {
      return Error{Code::invalid, 0,
                   "the archive cannot be believed: '" + printable(entry.path) +
                       "' is not where it belongs"};
    }
    // What was asked for comes first, whatever it is by now.
    const bool is_root = !std::exchange(request.any, true);
    LayerList::Node* const node = is_root ? &request.root : list_->find(entry.path);
    request.last = entry.path;
    switch (is_root ? Verdict::take : judge(entry, node)) {
      case Verdict::take:
        take(entry, *node);
        return std::move(*came);
      case Verdict::pass_over:
        break;
      case Verdict::cut_off:
        list_->drop_before(request.root, entry.path);
        return std::optional<TarEntry>();
    }
  }
  return std::optional<TarEntry>();
}

Result<void> LayerStream::judge_failure(Error error) {
  const LayerList::Node& root = request_->root;
  const bool is_gone = !request_->any && error.code == Code::not_found && !root.path.empty();
  if (!is_gone) return std::move(error).with("/" + printable(root.path));
  // Nothing at a path of a container that is there, or no container.
  TRY(origin_.engine.state(origin_.container));
  list_->drop(request_->root);
  return {};
}

// The archive's own end: what has not come by now does not.
void LayerStream::finish() {
  const std::string path = printable(request_->root.path);
  if (!request_->any) {
    notes_.skipped.push_back(path + ": the engine's archive leaves it out, as sockets");
  }
  list_->drop(request_->root);
}

LayerStream::Verdict LayerStream::judge(const TarEntry& entry, const LayerList::Node* node) {
  const bool is_mount = origin_.mounts->cover(entry.path);
  if (is_mount && !entry.same_as && entry.entry.is_directory()) return Verdict::cut_off;
  if (is_mount || node == nullptr) {
    request_->wasted += kHeader + entry.entry.size;
    return request_->wasted > kMostWaste ? Verdict::cut_off : Verdict::pass_over;
  }
  if (!entry.same_as) return Verdict::take;
  // Asked for by itself it comes with its content.
  const LayerList::Node* const first = list_->find(*entry.same_as);
  if (first != nullptr && first->request == requests_) return Verdict::take;
  return node->pending ? Verdict::cut_off : Verdict::pass_over;
}

void LayerStream::take(TarEntry& entry, LayerList::Node& node) {
  request_->wasted = 0;
  entry.entry.name = entry.path.substr(entry.path.rfind('/') + 1);
  list_->take(node, requests_);
  if (entry.same_as || !entry.entry.is_directory()) list_->drop_below(node);
}

Result<std::optional<TreeStream::Block>> LayerStream::read() {
  auto block = request_->tree.read();
  if (!block) return std::move(block).error().with("/" + printable(request_->last));
  return block;
}

bool LayerStream::ended_early() const { return request_ && request_->tree.ended_early(); }

std::chrono::nanoseconds LayerStream::transfer_time() {
  if (request_) earlier_ += request_->tree.transfer_time();
  request_.reset();
  return earlier_;
}

}  // namespace bygone::ingest
