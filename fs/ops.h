// SPDX-License-Identifier: Apache-2.0
//
// Translation between FUSE and the namespace: decode a request, call, reply once. One of the two
// includers of libfuse (the other is session.h). The functions run on libfuse's threads; what they
// need hangs on the session as a Service.
#pragma once

#include "fs/namespace.h"
#include "fs/reader.h"

struct fuse_lowlevel_ops;

namespace bygone::fs {

// What requests are answered from. Everything must outlive the session.
struct Service {
  Namespace& names;
  Reader& reader;
};

// The operations, for a session whose user data is a Service.
[[nodiscard]] const fuse_lowlevel_ops& operations();

}  // namespace bygone::fs
