#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# Reads `bygone snapshots --json` and prints one field of the newest snapshot of a source:
# newest.py SOURCE FIELD. Beside the fields there is `instant_ns`, its time in nanoseconds.
import datetime
import json
import sys

source, field = sys.argv[1:]
rows = [json.loads(line) for line in sys.stdin if line.strip()]
rows = [row for row in rows if row.get("source") == source]
if not rows:
    sys.exit(f"no snapshot of {source}")
newest = max(rows, key=lambda row: row["sequence"])
if field == "instant_ns":
    print(int(datetime.datetime.fromisoformat(newest["time"]).timestamp()) * 10**9)
else:
    print(newest[field])
