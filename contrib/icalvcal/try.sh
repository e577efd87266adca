#!/usr/bin/env bash
# libical's vCalendar conversion beside ours, over a corpus: contrib/icalvcal/try.sh CIP-RELAY CORPUS
# Needs a C compiler, python3 and libical with its headers (Debian: libical-dev), installed here where that is possible.
# Without them it says so and ends with 0; a difference without explanation ends it with 1.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
relay=$(realpath "${1:?usage: contrib/icalvcal/try.sh CIP-RELAY CORPUS}")
corpus=$(realpath "${2:?usage: contrib/icalvcal/try.sh CIP-RELAY CORPUS}")

header() { echo '#include <libical/icalvcal.h>' | cc -E - >/dev/null 2>&1; }
command -v cc >/dev/null && command -v python3 >/dev/null || { echo "skipped: cc and python3 are needed"; exit 0; }
if ! header && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends libical-dev >/dev/null 2>&1 || true
fi
header || { echo "skipped: libical's headers are missing: apt-get install libical-dev"; exit 0; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cc -O1 -Wall -Wextra -o "$work/driver" "$here/driver.c" -licalvcal -lical
python3 "$here/compare.py" "$work/driver" "$relay" "$corpus"
