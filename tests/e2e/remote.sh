#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# An engine elsewhere, over TCP with TLS: its volumes are read through its archive endpoint, and are
# the same as those of a local backup. Wrong certificates are refused.
. "$(dirname "$0")/lib.sh"

command -v openssl >/dev/null || skip "openssl is not installed"

step "certificates"
authority() { # NAME
  quietly openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=$1" \
    -keyout "$WORK/$1.key" -out "$WORK/$1.pem"
}
certificate() { # AUTHORITY NAME USE
  quietly openssl req -newkey rsa:2048 -nodes -subj "/CN=$2" -keyout "$WORK/$2.key" -out "$WORK/$2.csr"
  printf 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=%s\n' "$3" >"$WORK/$2.ext"
  quietly openssl x509 -req -in "$WORK/$2.csr" -CA "$WORK/$1.pem" -CAkey "$WORK/$1.key" \
    -CAcreateserial -days 2 -extfile "$WORK/$2.ext" -out "$WORK/$2.pem"
}
certificates_of() { # FOLDER AUTHORITY CERTIFICATE
  mkdir -p "$WORK/$1"
  cp "$WORK/$2.pem" "$WORK/$1/ca.pem"
  cp "$WORK/$3.pem" "$WORK/$1/cert.pem"
  cp "$WORK/$3.key" "$WORK/$1/key.pem"
}
authority good
authority evil
certificate good server serverAuth
certificate good client clientAuth
certificate evil stranger clientAuth
certificates_of right good client
certificates_of stranger good stranger
certificates_of fooled evil client
ok "made by two authorities"

port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
ENGINE_OPTIONS=(--host "tcp://127.0.0.1:$port" --tlsverify --tlscacert "$WORK/good.pem"
  --tlscert "$WORK/server.pem" --tlskey "$WORK/server.key")
start_engine
here=$DOCKER_HOST
elsewhere() { # CERTIFICATES COMMAND...
  local certificates=$WORK/$1
  shift
  DOCKER_HOST=tcp://127.0.0.1:$port DOCKER_TLS_VERIFY=1 DOCKER_CERT_PATH=$certificates "$@"
}
run() { docker run -d --network none "$@" >/dev/null; }
volume() { docker volume inspect -f '{{.Mountpoint}}' "$1"; }

step "who is refused"
new_repository
expect 23 elsewhere stranger "$BYGONE" backup --all
says 'whether the engine accepts cert.pem'
expect 23 elsewhere fooled "$BYGONE" backup --all
says 'certificate'
expect 1 env DOCKER_HOST="tcp://127.0.0.1:$port" "$BYGONE" backup --all
says 'TLS'

step "a container's volumes and a bare one"
mkdir -p "$WORK/bind"
echo bound >"$WORK/bind/file"
echo 'key = value' >"$WORK/app.conf"
run --name app -v data:/data -v inner:/data/inner -v /anonymous -v "$WORK/bind:/bind" \
  -v "$WORK/app.conf:/etc/app.conf:ro" -v "$WORK/e/docker.sock:/run/docker.sock" --tmpfs /scratch \
  tools bash -c 'echo inner >/data/inner/file; echo anon >/anonymous/file; while :; do date >/data/now; sleep 0.1; done'
docker volume create lonely >/dev/null
data=$(volume data)
quietly "$HERE/make-tree" "$data/tree" --sparse-mib 1000 --entries 1000
quietly "$HERE/make-tree" "$(volume lonely)/tree" --sparse-mib 1000 --entries 1000
rm "$data/tree/sparse/three-extents" "$(volume lonely)/tree/sparse/three-extents"
# What an engine's archive has not: sockets, most attributes (capabilities are there), fractions of
# a second.
find "$data" "$(volume lonely)" -type s -delete
find "$data" "$(volume lonely)" ! -type d -exec touch -hcd '2024-01-02 03:04:05' {} +
find "$data" "$(volume lonely)" -type d -exec touch -cd '2024-01-02 03:04:05' {} +
check "backup of a running container" elsewhere right "$BYGONE" backup app --max-freeze 60s
says 'docker.sock'
check_equal "consistent" "$(newest app consistency)" freeze
check_equal "it runs" "$(inspect '{{.State.Status}}' app)" running
check "backup of a bare volume" elsewhere right "$BYGONE" backup volume:lonely
check_equal "no container is left" "$(docker ps -aq | wc -l)" 1
check_equal "no image is left" "$(docker images -q bygone-reader)" ""
mount_repository
latest=$MNT/app/latest
check_equal "the volumes are folders" "$(find "$latest/" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort | tr '\n' ' ')" \
  ".bygone anonymous bind data etc-app.conf inner "
check_equal "a volume in a volume is there once" "$(find "$latest/" -path '*inner/file' | wc -l)" 1
check_equal "anonymous volume" "$(cat "$latest/anonymous/file")" anon
check_equal "bind" "$(cat "$latest/bind/file")" bound
check_equal "bind of a file is a file" "$(cat "$latest/etc-app.conf")" 'key = value'
check_silent "the volume is the same" tree_difference "$data/" "$latest/data/" --no-xattrs --no-acls \
  --exclude /now --exclude /inner
check_silent "the bare volume is the same" tree_difference "$(volume lonely)/" \
  "$MNT/@volumes/lonely/latest/" --no-xattrs --no-acls
check "verify --read-data" "$BYGONE" verify --read-data

step "too far for a freeze"
check "it is live" elsewhere right "$BYGONE" backup app --max-freeze 1ms
says 'captured live'
check_equal "live" "$(newest app consistency)" live
expect 1 elsewhere right "$BYGONE" backup app --max-freeze 1ms --consistency freeze
check_equal "nothing was frozen for it" "$(docker events --since 10m --until 0s --filter event=pause --format x | wc -l)" 1
check_equal "it runs" "$(inspect '{{.State.Status}}' app)" running

step "the second time"
# What a backup that must succeed adds to the repository: added_by COMMAND...
added_by() {
  "$@" --json >"$OUT" 2>"$ERR" || { show_output; fail "exit code $?: $*"; }
  python3 -c 'import json, sys
print([row["data_added"] for row in map(json.loads, sys.stdin) if row["message_type"] == "summary"][-1])' <"$OUT"
}
at_most() { # WHAT BYTES LIMIT
  [ "$2" -lt "$3" ] || fail "$1 adds $2 bytes, more than $3" 1
  ok "$1 adds $2 bytes"
}
docker stop -t 0 app >/dev/null
at_most "an unchanged volume" "$(added_by elsewhere right "$BYGONE" backup volume:lonely)" 100000
echo more >>"$(volume lonely)/tree/content/large"
at_most "a line more" "$(added_by elsewhere right "$BYGONE" backup volume:lonely)" 1000000
check "stopped" elsewhere right "$BYGONE" backup app
check_equal "idle" "$(newest app consistency)" idle
check_equal "it is still stopped" "$(inspect '{{.State.Status}}' app)" exited

step "beside a local backup"
at_most "the same, read on this host," \
  "$(added_by env DOCKER_HOST="$here" "$BYGONE" backup volume:lonely)" 2000000

step "commands in containers, and dumps"
# shellcheck disable=SC2016
run --name busy --label bygone.pre='bash -c "echo pre >/data/pre"' --label bygone.post='bash -c "echo post >/data/post"' \
  --label bygone.dump.command='bash -c "cat /data/n; seq 100000"' --label bygone.dump.file=busy.txt \
  --label bygone.schedule='every 3s' -v busy:/data tools bash -c 'for ((n = 1; ; n++)); do echo $n >/data/n; sleep 0.05; done'
wait_for 10 test -s "$(volume busy)/n"
check "backup" elsewhere right "$BYGONE" backup busy --max-freeze 60s
check_equal "consistent" "$(newest busy consistency)" freeze
check_equal "pre ran before the freeze" "$("$BYGONE" cat busy@latest:/busy/pre)" pre
check_equal "post ran" "$(cat "$(volume busy)/post")" post
is_whole_dump() { "$BYGONE" cat busy@latest:.bygone/dumps/busy.txt | tail -n +2 | cmp - <(seq 100000); }
check "the dump is whole" is_whole_dump
run --name failing --label bygone.dump.command='bash -c "seq 100000; exit 3"' -v failing:/data tools sleep infinity
expect 22 elsewhere right "$BYGONE" backup failing --max-freeze 60s
says 'dump dump: exit code 3'
check "there is no dump, but its reason" "$BYGONE" ls failing@latest:.bygone/dumps
check_equal "dump.failed" "$(cat "$OUT")" dump.failed
docker rm -f failing >/dev/null

step "the daemon far from its engine"
printf 'defaults: {max-freeze: 60s, jitter: 0}\ncontainers: {app: {schedule: none}}\n' >"$BYGONE_CONFIG"
env DOCKER_HOST="tcp://127.0.0.1:$port" DOCKER_TLS_VERIFY=1 DOCKER_CERT_PATH="$WORK/right" \
  "$BYGONE" daemon >"$WORK/daemon.log" 2>&1 </dev/null &
DAEMON=$!
PIDS+=("$DAEMON")
has_snapshots() { [ "$("$BYGONE" snapshots "$1" --json 2>/dev/null | wc -l)" -ge "$2" ]; } # SOURCE NUMBER
awaits_snapshots() {
  wait_for 40 has_snapshots "$@" || { tail -n 30 "$WORK/daemon.log"; fail "$1 is not backed up" 1; }
  ok "$1 is backed up $2 times"
}
awaits_snapshots busy 3
check_equal "consistent" "$(newest busy consistency)" freeze
check "with its dump" is_whole_dump
# Heard of by an event.
run --name newcomer --label bygone.schedule=@yearly -v newcomer:/data tools bash -c 'echo new >/data/file; sleep infinity'
awaits_snapshots newcomer 1
check_equal "with its data" "$("$BYGONE" cat newcomer@latest:/newcomer/file)" new
kill "$DAEMON"
wait "$DAEMON" || fail "the daemon ends with $?"
check_equal "all run" "$(inspect '{{.State.Status}}' busy) $(inspect '{{.State.Status}}' newcomer)" "running running"
docker rm -f busy newcomer >/dev/null
: >"$BYGONE_CONFIG"

step "what is gone"
docker volume create gone >/dev/null
check "backup while it is there" elsewhere right "$BYGONE" backup volume:gone
docker volume rm gone >/dev/null
expect 1 elsewhere right "$BYGONE" backup volume:gone
check_equal "it did not come back" "$(docker volume ls -q --filter name=gone)" ""

step "the end of the repository"
check "verify --read-data" "$BYGONE" verify --read-data
