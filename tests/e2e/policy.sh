#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What applies to whom: labels on containers and volumes, the configuration file and its tiers, the
# environment; volumes left out, groups, opt-in; and that a wrong value stops nobody.
. "$(dirname "$0")/lib.sh"

start_engine
new_repository

run() { docker run -d --network none "$@" >/dev/null; }
volume() { docker volume inspect -f '{{.Mountpoint}}' "$1"; }
# A value, or where it comes from, as `config show --json` has it.
setting() { # SOURCE SETTING [origin]
  "$BYGONE" config show "$1" --json 2>/dev/null | python3 -c '
import json, sys
for line in sys.stdin:
    policy = json.loads(line)
    if policy["message_type"] == "policy":
        print(policy["settings"].get(sys.argv[1], {}).get(sys.argv[2], "nothing"))' "$2" "${3:-value}"
}
configure() { cat >"$BYGONE_CONFIG"; }

step "the file"
check "an empty file is good" "$BYGONE" config check
expect 2 "$BYGONE" config check "$WORK/no-such-file"
configure <<'END'
repository: /srv
defaults:
  shedule: "@daily"
  keep-daily: many
  exclude: ["*.junk"]
END
expect 2 "$BYGONE" config check
says "config.yaml:3: shedule: there is no such setting; did you mean schedule\?"
says "config.yaml:4: keep-daily: 'many' is no number"
check "backup of a folder goes on all the same" "$BYGONE" backup --path etc=/etc/ssl
says "config.yaml:4: keep-daily"
printf 'a: [1,\nb: 2\n' >"$WORK/broken.yaml"
expect 2 "$BYGONE" config check "$WORK/broken.yaml"
says 'broken.yaml: line [23], column'
expect 2 "$BYGONE" --config "$WORK/broken.yaml" backup --path etc=/etc/ssl
printf 'x: &a [1]\ny: [*a, *a]\n' >"$WORK/broken.yaml"
expect 2 "$BYGONE" config check "$WORK/broken.yaml"
says 'aliases are not taken here'
chmod 666 "$WORK/broken.yaml"
expect 2 "$BYGONE" config check "$WORK/broken.yaml"
says 'anybody can write to it'
# The example in the README is one that works.
awk '/^```yaml/ { on = 1; next } /^```/ { on = 0 } on' "$TOP/README.md" >"$WORK/example.yaml"
[ -s "$WORK/example.yaml" ] || fail "the README has no example"
check "the README's example is valid" "$BYGONE" config check "$WORK/example.yaml"

step "repository and secret from the file"
configure <<END
repository: $BYGONE_REPOSITORY
key-file: $BYGONE_KEY_FILE
folders:
  ssl: {path: /etc/ssl, keep-daily: 3}
END
check "neither flag nor environment names them" env -u BYGONE_REPOSITORY -u BYGONE_KEY_FILE \
  "$BYGONE" backup ssl
check_equal "the folder is a source" "$(newest ssl sequence)" 1

step "labels on containers and volumes, and a tier"
configure <<'END'
defaults: {exclude: ["*.junk"], keep-yearly: 2}
tiers:
  critical: {keep-daily: 99}
containers:
  app: {keep-weekly: 6}
END
docker volume create --label bygone.enable=false scratch >/dev/null
# shellcheck disable=SC2016
run --name app --label bygone.tier=critical --label bygone.keep-hourly=5 \
  --label bygone.volumes.exclude='cache*' -v data:/data \
  -v scratch:/scratch -v cache1:/cache tools bash -c '
  for d in data scratch cache; do for s in txt junk log draft; do echo $s >/$d/a.$s; done; done
  sleep infinity'
wait_for 10 test -s "$(volume cache1)/a.draft"
check "backup" "$BYGONE" backup app
says '/cache: left out by container app, label bygone.volumes.exclude'
says 'scratch: left out by volume scratch, label bygone.enable'
mount_repository
appears app
check_equal "what is there" \
  "$(cd "$MNT/app/latest" && find . -path ./.bygone -prune -o -type f -print | sort | tr '\n' ' ')" \
  "./data/a.draft ./data/a.log ./data/a.txt "
check_equal "label over tier" "$(setting app keep-hourly)" 5
check_equal "tier, redefined" "$(setting app keep-daily)" 99
check_equal "and where" "$(setting app keep-daily origin)" "$BYGONE_CONFIG:3 (tier critical)"
check_equal "tier, built in" "$(setting app schedule origin)" "built in (tier critical)"
check_equal "a label's tier over the file's section" "$(setting app keep-weekly)" 12
check_equal "default" "$(setting app keep-yearly origin)" "$BYGONE_CONFIG:1"
check_equal "environment over file" "$(BYGONE_KEEP_YEARLY=7 setting app keep-yearly)" 7
check "config show for people" "$BYGONE" config show app
says 'keep-hourly +5 +container app, label bygone.keep-hourly'

step "wrong values stop nobody"
run --name wrong --label bygone.shedule=@daily --label bygone.keep-daily=x --label bygone.pre='a | b' \
  -v wrong:/data tools sleep infinity
check "backup" "$BYGONE" backup wrong
says 'container wrong, label bygone.shedule: there is no such label; did you mean bygone.schedule\?'
says "container wrong, label bygone.keep-daily: 'x' is no number"
says 'container wrong, label bygone.pre: '
check_equal "the default stays" "$(setting wrong keep-daily)" 14
docker volume create --label bygone.tier=critical --label bygone.keep-yearly=9 labelled >/dev/null
run --name mounts -v labelled:/data tools sleep infinity
check "what has no effect stops nobody" "$BYGONE" backup mounts
says 'volume labelled, label bygone.keep-yearly: has no effect while container mounts mounts volume labelled'
check "config show" "$BYGONE" config show mounts
says 'volume labelled, label bygone.tier: has no effect while container mounts mounts volume labelled'
docker rm -f mounts >/dev/null
check "of a volume alone it has one" "$BYGONE" config show volume:labelled
says 'keep-yearly +9 +volume labelled, label bygone.keep-yearly'
never_says 'no effect'
docker volume rm labelled >/dev/null
docker rm -f wrong >/dev/null
expect 1 "$BYGONE" backup ap
says 'did you mean app\? there are: app'

step "consistency and flags"
run --name calm --label bygone.consistency=live --label bygone.max-freeze=soon -v calm:/data tools sleep infinity
check "backup" "$BYGONE" backup calm
check_equal "live by its label" "$(newest calm consistency)" live
check "a flag wins" "$BYGONE" backup calm --consistency freeze --limit-read 50M
check_equal "frozen" "$(newest calm consistency)" freeze
expect 2 "$BYGONE" backup calm --limit-read soon

step "groups"
for name in one two; do
  run --name "$name" --label bygone.group=pair -v "$name:/data" tools sleep infinity
done
check "backup of both" "$BYGONE" backup one two
check_equal "one instant" "$(newest one instant)" "$(newest two instant)"
appears one
check "the record names the group" grep -q '"pair"' "$MNT/one/latest/.bygone/snapshot.json"
appears two
check_equal "the group's instant has both" "$(ls "$MNT/@groups/pair/latest")" $'one\ntwo'
check "and leads to each of them" cmp "$MNT/@groups/pair/latest/two/.bygone/snapshot.json" \
  "$MNT/two/latest/.bygone/snapshot.json"

step "opt-in"
configure <<'END'
enable: labelled
containers: {two: {enable: true}, twoo: {enable: true}}
END
docker volume create --label bygone.enable=true wanted >/dev/null
run --name half -v wanted:/wanted -v unwanted:/unwanted tools sleep infinity
run --name yes --label bygone.enable=true -v yes:/data tools sleep infinity
before=$(newest one sequence)
check "backup --all" "$BYGONE" backup --all
says 'not enabled'
check_equal "not enabled" "$(newest one sequence)" "$before"
check_equal "by section" "$(newest two sequence)" 2
check_equal "by label" "$(newest yes sequence)" 1
appears half
check_equal "by label of a volume, that volume" "$(find "$MNT/half/latest/" -mindepth 1 -maxdepth 1 -printf '%f ')" ".bygone wanted "
check "what is named itself is backed up" "$BYGONE" backup one
check "config show" "$BYGONE" config show
says 'container one: not backed up, by .*config.yaml:1 \(enable: labelled\)'
says 'there is no container twoo at present; did you mean two\?'

step "the end of the repository"
check "verify --read-data" "$BYGONE" verify --read-data
