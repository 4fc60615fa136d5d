#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What goes wrong is told by the exit code and by a message that names the object and what to do,
# and no secret is ever seen in `ps`, in a message or in the repository.
. "$(dirname "$0")/lib.sh"

secret='correct-horse-battery-staple'
mkdir -p "$WORK/data"
echo content >"$WORK/data/file"

step "no repository: 10"
expect 10 "$BYGONE" -r "$WORK/nothing" snapshots
says "$WORK/nothing"
says 'hint: '
mkdir "$WORK/empty"
expect 10 "$BYGONE" -r "$WORK/empty" ls
export BYGONE_REPOSITORY=$WORK/nothing BYGONE_PASSWORD=$secret
expect 10 "$BYGONE" backup --path "data=$WORK/data"

step "passphrases"
export BYGONE_REPOSITORY=$WORK/repository
check "init with BYGONE_PASSWORD" "$BYGONE" init
expect 1 "$BYGONE" init
says 'already'
quietly "$BYGONE" backup --path "data=$WORK/data"
export BYGONE_PASSWORD=wrong-$secret
expect 12 "$BYGONE" snapshots
says 'BYGONE_PASSWORD'
never_says "$secret"
unset BYGONE_PASSWORD
printf '%s\n' "$secret" >"$WORK/password"
check "BYGONE_PASSWORD_FILE" env BYGONE_PASSWORD_FILE="$WORK/password" "$BYGONE" snapshots
check "BYGONE_PASSWORD_COMMAND" env BYGONE_PASSWORD_COMMAND="cat $WORK/password" "$BYGONE" snapshots
expect 12 env BYGONE_PASSWORD_COMMAND="echo wrong" "$BYGONE" snapshots
expect 1 env BYGONE_PASSWORD_COMMAND="false" "$BYGONE" snapshots
expect 1 env BYGONE_PASSWORD_FILE="$WORK/no-such-file" "$BYGONE" snapshots
says "no-such-file"
# No secret at all, and no terminal to ask on.
code=0
"$BYGONE" snapshots </dev/null >"$OUT" 2>"$ERR" || code=$?
case $code in 1 | 2 | 12) ok "no passphrase and no terminal: $code" ;; *) fail "no passphrase: exit code $code" ;; esac
says 'BYGONE_PASSWORD'

step "a prompt without echo"
cat >"$WORK/prompt.py" <<'PYTHON'
import os, pty, sys, time
program, secret = sys.argv[1:]
pid, terminal = pty.fork()
if pid == 0:
    os.execv(program, [program, "snapshots"])
seen = b""
sent = False
while True:
    try:
        piece = os.read(terminal, 4096)
    except OSError:
        break
    if not piece:
        break
    seen += piece
    if not sent and b"assphrase" in seen:
        time.sleep(0.5)  # the echo is off once the prompt is there
        os.write(terminal, secret.encode() + b"\n")
        sent = True
_, status = os.waitpid(pid, 0)
sys.stdout.write(seen.decode(errors="replace"))
if not sent:
    sys.exit("nobody asked for the passphrase")
if secret.encode() in seen:
    sys.exit("the passphrase was echoed")
sys.exit(os.waitstatus_to_exitcode(status))
PYTHON
check "the prompt takes the passphrase and does not show it" python3 "$WORK/prompt.py" "$BYGONE" "$secret"
expect 12 python3 "$WORK/prompt.py" "$BYGONE" "wrong-one"

step "key file"
export BYGONE_KEY_FILE=$WORK/key
head -c 32 /dev/urandom >"$BYGONE_KEY_FILE"
check "init with a key file" "$BYGONE" -r "$WORK/keyed" init
head -c 32 /dev/urandom >"$WORK/other-key"
expect 12 env BYGONE_KEY_FILE="$WORK/other-key" "$BYGONE" -r "$WORK/keyed" snapshots
expect 1 env BYGONE_KEY_FILE="$WORK/no-such-key" "$BYGONE" -r "$WORK/keyed" snapshots
says 'no-such-key'
unset BYGONE_KEY_FILE

step "unknown names: 1, with those that exist"
export BYGONE_PASSWORD_FILE=$WORK/password
expect 1 "$BYGONE" ls dataa
says '\bdata\b'
expect 1 "$BYGONE" restore 'data@2001-01-01' "$WORK/restored"
says '[0-9]{4}-[0-9]{2}-[0-9]{2}T'
[ ! -e "$WORK/restored" ] || fail "a restore that failed made its target"
expect 1 "$BYGONE" cat data:/no-such-file
says 'no-such-file'
expect 1 "$BYGONE" backup --path "data=$WORK/no-such-folder"
says 'no-such-folder'
expect 1 "$BYGONE" mount "$WORK/no-such-mountpoint"
says 'no-such-mountpoint'

step "usage: 2"
expect 2 "$BYGONE"
expect 2 "$BYGONE" no-such-command
expect 2 "$BYGONE" ls --no-such-option
expect 2 "$BYGONE" restore
expect 2 "$BYGONE" backup
expect 2 "$BYGONE" backup --path "$WORK/data"
expect 2 "$BYGONE" backup --path "data=$WORK/data" --consistency sometimes
expect 2 "$BYGONE" restore data "$WORK/restored" --overwrite perhaps

step "Docker not reachable: 23"
expect 23 env DOCKER_HOST="unix://$WORK/no-such.sock" "$BYGONE" backup db
says "no-such.sock"
says 'DOCKER_HOST|hint'
expect 23 env DOCKER_HOST="unix://$WORK/no-such.sock" "$BYGONE" backup --all
expect 23 env DOCKER_HOST="tcp://127.0.0.1:1" "$BYGONE" backup db
code=0
env DOCKER_HOST="unix://$WORK/no-such.sock" "$BYGONE" backup db --path "data=$WORK/data" \
  >"$OUT" 2>"$ERR" || code=$?
check_equal "of several sources the gravest counts" "$code" 23
check_equal "the folder was saved all the same" \
  "$("$BYGONE" snapshots --json | grep -c '"source":"data"')" 2

step "help, version, completion, json"
check "--help" "$BYGONE" --help
says 'backup'
for command in init backup snapshots ls cat restore mount umount verify repair thaw completion version; do
  quietly "$BYGONE" "$command" --help
done
ok "every command has --help"
check "version" "$BYGONE" version
says '[0-9]+\.[0-9]+\.[0-9]+'
for shell in bash zsh fish; do quietly "$BYGONE" completion "$shell"; done
check "the bash completion loads" bash -c ". <('$BYGONE' completion bash)"
"$BYGONE" snapshots --json >"$WORK/json"
check "--json is one object a line" python3 -c '
import json, sys
assert len([json.loads(line) for line in sys.stdin]) == 2' <"$WORK/json"
"$BYGONE" backup --path "data=$WORK/data" --json >"$WORK/json"
check "a backup ends with a summary" python3 -c '
import json, sys
rows = [json.loads(line) for line in sys.stdin]
assert rows[-1]["message_type"] == "summary", rows[-1]' <"$WORK/json"

step "damage: 20"
pack=$(find "$BYGONE_REPOSITORY/packs" -type f -size +0 | head -n 1)
cp -a "$pack" "$WORK/pack"
printf 'garbage' | dd of="$pack" bs=1 seek=200 conv=notrunc status=none
expect 20 "$BYGONE" verify --read-data
says "$(basename "$pack" | cut -c1-8)"
cp -a "$WORK/pack" "$pack"
check "the pack put back is fine" "$BYGONE" verify --read-data
rm "$pack"
expect 20 "$BYGONE" verify
cp -a "$WORK/pack" "$pack"

step "no secret anywhere"
head -c $((80 << 20)) /dev/urandom >"$WORK/data/large"
env -u BYGONE_PASSWORD_FILE BYGONE_PASSWORD="$secret" "$BYGONE" -v backup --path "data=$WORK/data" >"$OUT" 2>"$ERR" &
backup=$!
for _ in $(seq 20); do
  ps -ewwo args >>"$WORK/ps" # arguments; the environment is the owner's alone to read
  sleep 0.02
done
wait "$backup"
grep -qF "$BYGONE" "$WORK/ps" || fail "the backup was never seen in ps: this proves nothing"
if grep -F "$secret" "$WORK/ps"; then fail "the passphrase is in ps"; fi
never_says "$secret"
if grep -rqF "$secret" "$BYGONE_REPOSITORY"; then fail "the passphrase is in the repository"; fi
if grep -rqlF 'content' "$BYGONE_REPOSITORY/packs"; then fail "content is stored in clear"; fi
ok "no secret in ps, messages or repository"
