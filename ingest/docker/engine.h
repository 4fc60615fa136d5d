// SPDX-License-Identifier: Apache-2.0
//
// The Docker engine as bygone sees it: an interface of typed calls, so that tests can stand in for
// an engine, and connect(), which makes the real one over a Unix socket or TCP with TLS. No policy
// here (discover.h) and no store. Podman's compatible socket is an engine too.
// An Engine may be called from any thread, also from several at once: one connection a call. What
// streams (an Exec, an EventStream) outlives neither its Engine nor the thread's patience.
//
// Errors of every call: unavailable when the engine cannot be reached or does not answer within
// the deadline (exit code 23); not_found for an unknown container or volume; busy for a conflict
// (409); denied for 401, 403 and the socket's permissions; invalid for an answer that is no
// Docker answer; unsupported for an engine whose API versions do not meet ours; io for the
// engine's own failures. Each message names the engine's address and the operation.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ingest/docker/events.h"
#include "ingest/docker/exec.h"
#include "store/base/bytes.h"
#include "store/base/result.h"

namespace bygone::docker {

using Labels = std::map<std::string, std::string>;

struct EngineInfo {
  // Of the data root, or of the whole host before engine 23.0; empty for Podman, which has none.
  std::string id;
  std::string name;      // host name
  std::string root_dir;  // DockerRootDir, a path on the engine's host
  std::string os_type;   // "linux" or "windows"
  std::string version;   // of the engine, for people
};

enum class Status { created, running, paused, restarting, exited, removing, dead, other };

struct ContainerState {
  Status status = Status::other;
  bool running = false;  // also true while paused and between two runs of a crash loop
  bool paused = false;
  bool restarting = false;
  std::int64_t pid = 0;    // on the engine's host; 0 when nothing runs
  std::string started_at;  // RFC 3339, of the latest start: changes with every start
};

enum class MountType { volume, bind, tmpfs, npipe, image, other };

// One line of what the engine says is mounted in a container.
struct Mount {
  MountType type = MountType::other;
  std::string type_text;    // as the engine spelt it
  std::string name;         // of the volume; empty for binds
  std::string source;       // path on the engine's host; may be empty in a ContainerSummary
  std::string destination;  // path in the container
  std::string driver;       // of the volume; empty for binds
  bool writable = false;
};

struct ContainerSummary {
  std::string id;    // 64 hex
  std::string name;  // without the slash
  Labels labels;
  Status status = Status::other;
  std::vector<Mount> mounts;  // lacks the sources of some anonymous volumes
  std::string image;          // reference that it was made from, as the engine shows it now
  std::string image_id;       // sha256:...
};

struct Container {
  std::string id;
  std::string name;      // without the slash
  std::string image;     // reference that it was made from
  std::string image_id;  // sha256:...
  Labels labels;
  ContainerState state;
  std::vector<Mount> mounts;             // unordered, flat; without `tmpfs`
  std::vector<std::string> tmpfs;        // destinations of HostConfig.Tmpfs
  std::vector<std::string> declared;     // volume names and paths in HostConfig.Binds and .Mounts
  std::vector<std::string> environment;  // NAME=VALUE
  std::string user;                      // that its program runs as; empty: root
  std::vector<std::string> entrypoint;   // together with
  std::vector<std::string> command;      // these arguments, what it runs
  bool auto_remove = false;              // gone at its end (`docker run --rm`)
  // What its program has for its end before it is killed; negative: as long as it takes.
  std::chrono::seconds stop_timeout{10};
  std::string upper_dir;  // its writable layer, on the engine's host; empty: not told
  std::string json;       // the whole answer, byte for byte
};

struct Volume {
  std::string name;
  std::string driver;
  std::string mountpoint;  // path on the engine's host
  std::string scope;       // "local" or "global"
  Labels labels;
  std::map<std::string, std::string> options;
};

struct Image {
  std::string id;                         // sha256:...
  std::vector<std::string> repo_tags;     // name:tag
  std::vector<std::string> repo_digests;  // name@sha256:...; empty for what was never in a registry
};

// What a container's writable layer does to a path of its image.
struct Change {
  enum class Kind { modified, added, deleted };
  Kind kind = Kind::modified;
  std::string path;  // absolute, in the container
};

enum class Paused { paused, already_paused, not_running, restarting };
enum class Unpaused { unpaused, was_not_paused };
enum class Stopped { stopped, was_not_running };
enum class Started { started, was_running };
enum class RemoveVolumes { no, anonymous };
enum class Force { no, yes };

class Engine {
 public:
  virtual ~Engine() = default;

  // The address for messages: "unix:///var/run/docker.sock" or "tcp://host:2376".
  [[nodiscard]] virtual std::string address() const = 0;
  // Path of the Unix socket; empty for TCP.
  [[nodiscard]] virtual std::string socket_path() const = 0;
  // Whether the engine is spoken to over a Unix socket. Not a proof that its paths are ours: a
  // socket can be forwarded (discover.h looks closer).
  [[nodiscard]] bool is_local() const { return !socket_path().empty(); }

  virtual Result<EngineInfo> info() = 0;
  // All containers, stopped ones included, in the engine's order.
  virtual Result<std::vector<ContainerSummary>> containers() = 0;
  // Those of them that run, paused ones included: cheap where thousands do not.
  virtual Result<std::vector<ContainerSummary>> running_containers() = 0;
  // One container by id or name.
  virtual Result<Container> container(const std::string& id) = 0;
  virtual Result<ContainerState> state(const std::string& id) = 0;
  // All volumes, each once (the engine lists one twice that is mounted twice), sorted by name.
  // Volumes of a plugin that is down are missing, after 15 s of the engine's waiting.
  virtual Result<std::vector<Volume>> volumes() = 0;
  virtual Result<Volume> volume(const std::string& name) = 0;
  // Freezes every process of a container. The outcomes but `paused` changed nothing: somebody
  // else's pause is told from ours. After an error the container may be paused all the same, also
  // later (a deadline that passes here stops nothing there): unpause it. Engines fail at this now
  // and then under heavy I/O ("unable to freeze"); a second try often works.
  virtual Result<Paused> pause(const std::string& id, std::chrono::milliseconds deadline) = 0;
  // Thaws a container. `was_not_paused` when it was not (any signal thaws a paused container
  // behind our back), so that whoever froze it knows that the freeze did not last.
  virtual Result<Unpaused> unpause(const std::string& id) = 0;

  // Asks a container's program to end, and kills it after `grace`. A paused one is thawed by that.
  virtual Result<Stopped> stop(const std::string& id, std::chrono::seconds grace) = 0;
  // Errors: busy for a paused container.
  virtual Result<Started> start(const std::string& id) = 0;
  // Makes a container, not started, from the JSON of POST /containers/create: its id. An empty
  // `name` lets the engine choose. Errors: busy when the name is taken; not_found without image.
  virtual Result<std::string> create_container(const std::string& name,
                                               const std::string& body_json) = 0;
  // Errors: busy for a running container without Force::yes, or while somebody else removes it.
  virtual Result<void> remove_container(const std::string& id, RemoveVolumes volumes,
                                        Force force) = 0;
  // Errors: busy while a container, stopped ones included, uses it.
  virtual Result<void> remove_volume(const std::string& name) = 0;

  // Makes (again) an image without any file: the cheapest thing that a container can be made from.
  virtual Result<void> import_empty_image(const std::string& repo, const std::string& tag) = 0;
  virtual Result<Image> image(const std::string& reference) = 0;
  // Errors: busy while a container uses it.
  virtual Result<void> remove_image(const std::string& reference) = 0;

  // What the container's writable layer changed, in the engine's order; volumes are none of it.
  virtual Result<std::vector<Change>> changes(const std::string& id) = 0;
  // The tar of a path in a container, running or not, volumes included, to `sink` as it comes. An
  // engine that fails midway ends the stream like a good one: the tar's own end is the proof.
  // Errors: cancelled; unavailable when the stream is cut, or nothing came for the deadline of the
  // connection; the sink's own.
  virtual Result<void> archive(const std::string& id, const std::string& path,
                               const std::function<Result<void>(ByteView)>& sink,
                               const std::atomic<bool>& cancel) = 0;
  // The command lines of a container's processes. Errors: busy or io when it does not run.
  virtual Result<std::vector<std::string>> top(const std::string& id) = 0;

  // Starts a command in a running container. A program that is not there is no error here: the
  // exit code tells. Errors: busy for a container that is paused or does not run; invalid for a
  // request that JSON cannot carry (no UTF-8), or an unknown user.
  virtual Result<std::unique_ptr<Exec>> exec(const ExecRequest& request) = 0;
  // Events of these types and actions alone (empty: all), chosen by the engine, so that what nobody
  // asked for (three for each health check) costs nothing. Since `since_ns`, inclusively, as far
  // as the engine remembers; 0: from now on, which is before the call returns.
  virtual Result<std::unique_ptr<EventStream>> events(const std::vector<std::string>& types,
                                                      const std::vector<std::string>& actions,
                                                      std::int64_t since_ns) = 0;
};

struct ConnectOptions {
  std::string host;       // unix://PATH or tcp://HOST[:PORT]; empty: unix:///var/run/docker.sock
  bool tls = false;       // with tcp: TLS, the server's certificate always verified
  std::string cert_path;  // folder of ca.pem, cert.pem and key.pem; needed with `tls`
  std::chrono::milliseconds deadline{60'000};     // of every call without a deadline of its own
  std::uint64_t max_answer_bytes = 64ULL << 20U;  // larger answers are an error
};

// From DOCKER_HOST, DOCKER_TLS_VERIFY (any value but the empty one) and DOCKER_CERT_PATH, each of
// the latter two asking for TLS; certificates are looked for in $DOCKER_CONFIG, then ~/.docker,
// when only DOCKER_TLS_VERIFY is set. Not safe beside setenv() in another thread.
[[nodiscard]] ConnectOptions options_from_environment();

// Pings the engine and agrees on an API version: the lower of the engine's newest and 1.51, at
// least 1.24. Errors: those above; invalid for a host that is none of the two forms or a socket
// path of more than 107 bytes; unsupported for ssh:// and other transports.
[[nodiscard]] Result<std::unique_ptr<Engine>> connect(const ConnectOptions& options);

}  // namespace bygone::docker
