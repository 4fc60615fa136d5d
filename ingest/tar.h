// SPDX-License-Identifier: Apache-2.0
//
// Reads the tar that an engine makes of a path: entries in their order, content as it comes. Trusts
// nothing: names lead nowhere but below the root, numbers fit, and an archive counts as whole only
// when it has its own end. The only includer of libarchive. One thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "ingest/tree_stream.h"
#include "store/base/bytes.h"
#include "store/base/result.h"

namespace bygone::ingest {

class TarReader final : public TreeStream {
 public:
  // The next bytes of the archive, as many as there are; empty at the end of the stream. Valid
  // until the next call. An error of it is what next() and read() return.
  using Source = std::function<Result<ByteView>()>;
  explicit TarReader(Source source);
  ~TarReader() override;

  // The root comes first, unless the archive is empty; the end is the proven one of the archive and
  // the stream. Errors: io when the stream ends before the archive does; invalid for what no engine
  // writes (names with "..", absolute or too long ones, numbers out of range, damaged headers,
  // bytes after the end); those of the source.
  Result<std::optional<TarEntry>> next() override;
  // Errors: as those of next().
  Result<std::optional<Block>> read() override;
  [[nodiscard]] bool ended_early() const override;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bygone::ingest
