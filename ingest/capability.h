// SPDX-License-Identifier: Apache-2.0
//
// What the kernel lets this process do. Callable from any thread.
#pragma once

namespace bygone::ingest {

// Whether this process has CAP_SYS_ADMIN of the host's own user namespace. Without it nobody can
// remove what became of a subvolume, though he may make snapshots of his own, and attributes
// `trusted.*` are as if they were not there.
[[nodiscard]] bool may_administer();

}  // namespace bygone::ingest
