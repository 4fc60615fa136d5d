#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Containers that write, finish and vanish (`docker run --rm`), with a daemon beside them: the last
# bytes of each are in a snapshot, and nothing of its holders remains.
#   BYGONE_E2E_EPHEMERAL   how many, one after the other; 20 without it
#   BYGONE_E2E_BURST       how many at once; 30 without it
. "$(dirname "$0")/lib.sh"

MANY=${BYGONE_E2E_EPHEMERAL:-20}
BURST=${BYGONE_E2E_BURST:-30}
LOG=$WORK/daemon.log
runs=()

start_engine
new_repository
cat >"$BYGONE_CONFIG" <<END
notify:
  - command: [bash, -c, 'echo "\$BYGONE_EVENT \$BYGONE_SOURCE: \$BYGONE_MESSAGE" >>$WORK/told']
END
"$BYGONE" daemon >"$LOG" 2>&1 </dev/null &
PIDS+=("$!")
wait_for 10 grep -q 'connected to' "$LOG" || fail "the daemon does not connect"

step "$MANY containers that vanish"
for i in $(seq "$MANY"); do
  docker run --rm --name "once$i" -v /data tools \
    bash -c "sleep 0.4; echo 'the last words of $i' >/data/words" >/dev/null 2>&1 || fail "container $i fails"
done
all_saved() { [ "$("$BYGONE" snapshots --json | grep -c '"once[0-9]*"')" -ge "$MANY" ]; }
wait_for 60 all_saved || { cat "$LOG"; fail "only $("$BYGONE" snapshots --json | grep -c once) of $MANY are saved"; }
good=0
for i in $(seq "$MANY"); do
  [ "$("$BYGONE" cat "once$i@latest:/data/words" 2>&1)" = "the last words of $i" ] && good=$((good + 1))
done
check_equal "all last words are in a snapshot" "$good" "$MANY"
all_told() { [ "$(grep -cE '^success once[0-9]+: saved as ' "$WORK/told")" -ge "$MANY" ]; }
wait_for 20 all_told || { cat "$WORK/told"; fail "not all of them are told"; }
ok "and told"

step "$BURST at once"
for i in $(seq "$BURST"); do
  docker run --rm --network none --name "burst$i" -v /data tools \
    bash -c "echo first >/data/words; sleep 0.4; echo 'the last words of $i' >/data/words" >"$WORK/burst$i" 2>&1 &
  runs[i]=$!
done
for i in $(seq "$BURST"); do
  wait "${runs[i]}" || { cat "$WORK/burst$i"; fail "container $i fails"; }
done
burst_saved() { [ "$("$BYGONE" snapshots --json | grep -c '"burst[0-9]*"')" -ge "$BURST" ]; }
wait_for 60 burst_saved || { cat "$LOG"; fail "only $("$BYGONE" snapshots --json | grep -c '"burst') of $BURST are saved"; }
good=0
for i in $(seq "$BURST"); do
  [ "$("$BYGONE" cat "burst$i@latest:/data/words" 2>&1)" = "the last words of $i" ] && good=$((good + 1))
done
check_equal "all last words are in a snapshot" "$good" "$BURST"
no_holders() { [ -z "$(docker ps -aq)$(docker volume ls -q)" ]; }
wait_for 30 no_holders || { docker ps -a; docker volume ls; fail "something of a holder remains"; }
ok "no holder and no volume remains"

step "held always, with a tmpfs among the mounts"
docker volume create kept >/dev/null
docker run -d --name always --network none --label bygone.hold=always --mount type=tmpfs,dst=/scratch \
  -v /anonymous -v kept:/named tools \
  bash -c 'echo without a name >/anonymous/words; echo with one >/named/words; exec sleep 1000' >/dev/null
holder=bygone-holder-$(inspect '{{.Id}}' always)
wait_for 10 docker inspect "$holder" || { cat "$LOG"; fail "it is not held"; }
check_equal "both volumes are held" "$(inspect '{{len .Mounts}}' "$holder")" 2
docker rm -fv always >/dev/null
always_saved() { [ "$("$BYGONE" cat always@latest:/anonymous/words 2>/dev/null)" = "without a name" ]; }
wait_for 30 always_saved || { cat "$LOG"; fail "it is not saved"; }
check_equal "the volume with a name is saved, too" "$("$BYGONE" cat always@latest:/kept/words)" "with one"
only_kept() { [ -z "$(docker ps -aq)" ] && [ "$(docker volume ls -q)" = kept ]; }
wait_for 30 only_kept || { docker ps -a; docker volume ls; fail "something of a holder remains"; }
ok "the holder and the anonymous volume are gone, that with a name is not"
check_equal "and is as it was" "$(cat "$(docker volume inspect -f '{{.Mountpoint}}' kept)/words")" "with one"
docker volume rm kept >/dev/null

step "what cannot be saved for a while"
mv "$BYGONE_REPOSITORY" "$WORK/away"
docker run --rm --name later -v /data tools bash -c 'sleep 0.4; echo late >/data/words' >/dev/null 2>&1
wait_for 20 grep -q '^failure later: it has ended and is not saved yet, its data is held: ' "$WORK/told" ||
  { cat "$LOG" "$WORK/told"; fail "nobody is told"; }
ok "$(grep later "$WORK/told")"
check "it is an error in the log" grep -q 'error: container later: it has ended' "$LOG"
mv "$WORK/away" "$BYGONE_REPOSITORY"
wait_for 60 grep -q '^success later: ' "$WORK/told" || { cat "$LOG" "$WORK/told"; fail "it is not saved later"; }
check_equal "its data is saved when that can be done again" "$("$BYGONE" cat later@latest:/data/words)" late
check_equal "and told once" "$(grep -c '^failure later: ' "$WORK/told")" 1

step "what remains"
nothing_left() { [ -z "$(docker ps -aq)$(docker volume ls -q)" ]; }
wait_for 30 nothing_left || { docker ps -a; docker volume ls; fail "something of a holder remains"; }
ok "no container and no volume remains"
no_image() { ! docker image ls --format '{{.Repository}}' | grep -qv '^tools$'; }
wait_for 40 no_image || { docker image ls; fail "the holders' image remains"; }
ok "the holders' image is gone"
