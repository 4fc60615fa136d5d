#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# Reads `bygone snapshots --json` and prints one field of the newest snapshot of a source:
# newest.py SOURCE FIELD
import json
import sys

source, field = sys.argv[1:]
rows = [json.loads(line) for line in sys.stdin if line.strip()]
rows = [row for row in rows if row.get("source") == source]
if not rows:
    sys.exit(f"no snapshot of {source}")
newest = max(rows, key=lambda row: row["sequence"])
print(newest[field])
