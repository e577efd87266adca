#!/usr/bin/env bash
# Fuzzes reading and translating: tests/fuzz/run.sh SECONDS [CORPUS]
# SECONDS for each target; CORPUS is a folder with further calendar files as seeds. Needs cargo-fuzz and a nightly
# toolchain (cargo install cargo-fuzz; rustup toolchain install nightly). Ends with 1 when a target finds something; what
# it found is then in tests/fuzz/artifacts.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:?usage: tests/fuzz/run.sh SECONDS [CORPUS]}
more=${2:-}
if [ -n "$more" ]; then more=$(cd "$OLDPWD" && cd "$more" && pwd); fi
command -v cargo-fuzz >/dev/null || { echo "cargo-fuzz is missing: cargo install cargo-fuzz"; exit 69; }

failed=0
for target in property vcalendar bare translate; do
  mkdir -p "corpus/$target"
  cp ../fixtures/calendar/* ../fixtures/found/*/* "corpus/$target/"
  if [ -n "$more" ]; then find "$more" -type f \( -iname '*.ics' -o -iname '*.vcs' \) -size -64k -exec cp {} "corpus/$target/" \; ; fi
  printf '\n=== %s, %s s\n' "$target" "$seconds"
  # Without the sanitizer, which has nothing to find in code that forbids unsafe.
  cargo +nightly fuzz run --fuzz-dir . --sanitizer none "$target" "corpus/$target" -- \
    -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=16384 -dict=words.dict -print_final_stats=1 || failed=1
done
exit $failed
