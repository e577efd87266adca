#!/usr/bin/env bash
# Checks the units of systemd/: that systemd reads them without complaint, that the service is shut in well enough, and
# that its filter lets the store install its own. Nothing is started. Exit 0: all well, or no systemd-analyze here.
set -euo pipefail
cd "$(dirname "$0")/../.."
most=2.0

if ! command -v systemd-analyze >/dev/null; then
  echo "skipped: no systemd-analyze on this machine (Debian: apt-get install systemd)"
  exit 0
fi

# `verify` wants every program and manual page that a unit names to exist; here they are not installed.
units=$(mktemp -d)
trap 'rm -rf "$units"' EXIT
for unit in systemd/*.service systemd/*.socket; do
  sed -e 's|^ExecStart=/usr/bin/cip-relay |ExecStart=/bin/true |' -e '/^Documentation=/d' "$unit" >"$units/${unit##*/}"
done
complaints=$(systemd-analyze verify "$units"/* 2>&1 | grep -F "$units" || true)
if [ -n "$complaints" ]; then
  printf 'systemd-analyze verify:\n%s\n' "$complaints"
  exit 1
fi
echo "verify: $(ls "$units" | wc -l) units read without complaint"

report=$(systemd-analyze security --offline=true systemd/cip-relay.service)
level=$(sed -n 's/.*Overall exposure level for [^:]*: \([0-9.]*\).*/\1/p' <<<"$report")
awk -v level="$level" -v most="$most" 'BEGIN { exit !(level != "" && level + 0 <= most + 0) }' || {
  printf '%s\nexposure %s, more than %s\n' "$report" "${level:-unknown}" "$most"
  exit 1
}
echo "security: exposure $level, at most $most"

grep -q '^SystemCallFilter=@system-service.*[[:space:]]seccomp\b' systemd/cip-relay.service || {
  echo "the service's SystemCallFilter must name seccomp besides @system-service: the store installs a filter of its own"
  exit 1
}
echo "filter: seccomp allowed"

# The two lists that systemd-sysusers and systemd-tmpfiles read; a dry run into an empty folder.
root=$(mktemp -d)
trap 'rm -rf "$units" "$root"' EXIT
if command -v systemd-sysusers >/dev/null && command -v systemd-tmpfiles >/dev/null; then
  mkdir -p "$root/etc"
  systemd-sysusers --root="$root" "$PWD/systemd/cip-relay.sysusers" 2>/dev/null
  grep -q '^cip-relay:' "$root/etc/passwd" || { echo "sysusers made no user cip-relay"; exit 1; }
  systemd-tmpfiles --root="$root" --create "$PWD/systemd/cip-relay.tmpfiles"
  [ "$(stat -c %a "$root/var/lib/cip-relay")" = 700 ] || { echo "tmpfiles made no private /var/lib/cip-relay"; exit 1; }
  echo "sysusers, tmpfiles: applied in an empty folder"
fi
