#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The Engine client against a real engine: commands that run in containers, events, archives, making
# and removing containers. Over the Unix socket, where a command is ended by its pid, and over TCP,
# where it is ended from within its container.
. "$(dirname "$0")/lib.sh"

TEST=${BYGONE_E2E_ENGINE_TEST:-$TOP/build/release/tests/ingest/docker/real_engine_test}
[ -x "$TEST" ] || skip "there is no program at $TEST"
start_engine
mkdir -p "$WORK/data"
python3 -c 'import sys; sys.stdout.buffer.write(bytes(range(256)) * 1024)' >"$WORK/data/bytes"
for name in box frozen; do
  docker run -d --name "$name" --init=false --network none -v "$WORK/data:/data:ro" tools \
    sleep infinity >/dev/null
done
# Under load engines fail at this now and then: "unable to freeze".
wait_for 30 docker pause frozen || fail "docker pause does not work"

step "over the Unix socket"
check "the engine's tests" env BYGONE_TEST_ENGINE="$DOCKER_HOST" "$TEST"
if grep -q SKIPPED "$OUT"; then fail "tests were skipped"; fi

step "over TCP"
python3 "$HERE/forward" "$WORK/port" "$WORK/e/docker.sock" &
PIDS+=($!)
wait_for 10 test -s "$WORK/port"
check "the engine's tests" env BYGONE_TEST_ENGINE="tcp://127.0.0.1:$(cat "$WORK/port")" "$TEST"
if grep -q SKIPPED "$OUT"; then fail "tests were skipped"; fi

check_equal "no command of ours runs on" \
  "$(docker top box -eo pid,args | awk '/sleep .*424/ { n++ } END { print n + 0 }')" 0
