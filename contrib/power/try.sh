#!/usr/bin/env bash
# Power loss, played (main.rs says how): nothing acknowledged may be lost; and without the sync filter something must be,
# or the player is blind. Exit 0: both came out so, or skipped for want of a C compiler.
# POWER_OPERATIONS (default 600), POWER_CUTS (30; 0: at every sync), POWER_SEEDS ("1"), POWER_PROFILE (dev; release).
# The long run: POWER_PROFILE=release POWER_OPERATIONS=4000 POWER_CUTS=0 POWER_SEEDS="1 2 3" contrib/power/try.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
profile=${POWER_PROFILE:-dev}
case $profile in dev) place=debug ;; *) place=$profile ;; esac
operations=${POWER_OPERATIONS:-600} cuts=${POWER_CUTS:-30}

command -v cc >/dev/null || { echo "skipped: no C compiler (cc) to build the recorder with"; exit 0; }
cargo build --locked --quiet --profile "$profile" --example power
for seed in ${POWER_SEEDS:-1}; do
  echo "--- seed $seed"
  "${CARGO_TARGET_DIR:-target}/$place/examples/power" --operations "$operations" --cuts "$cuts" --seed "$seed"
done
echo "--- without the sync filter"
"${CARGO_TARGET_DIR:-target}/$place/examples/power" --operations "$operations" --cuts "$(((cuts + 1) / 2))" --without-filter
