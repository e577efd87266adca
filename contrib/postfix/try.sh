#!/usr/bin/env bash
# Tries the files of this folder: a real Postfix with them (private spool, ports above 1024 on loopback), the relay beside
# it, and contrib/postfix/try.py, which plays Mary's mail program, jumbo.com's calendar server and the mailboxes.
# Usage: try.sh [PATH-OF-CIP-RELAY]. Needs root, because Postfix does. Exit 0: all well, or skipped (it says why).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
relay=${1:-$here/../../target/debug/cip-relay}

skip() { echo "skipped: $*"; exit 0; }
[ "$(id -u)" = 0 ] || skip "Postfix must be started by root"
command -v python3 >/dev/null || skip "no python3"
if ! command -v postfix >/dev/null; then
  command -v apt-get >/dev/null || skip "no Postfix, and no apt-get to install it with"
  echo "installing Postfix"
  export DEBIAN_FRONTEND=noninteractive
  # Only programs and the user are wanted: no service, no site configuration.
  { apt-get update -q && apt-get install -qy --no-install-recommends postfix; } >/dev/null 2>&1 </dev/null ||
    skip "Postfix cannot be installed here"
fi
case $(postconf -h mail_version) in 2.*) skip "Postfix 3.0 or later is needed";; esac
[ -x "$relay" ] || { echo "no program at $relay: cargo build"; exit 1; }

base=$(mktemp -d /tmp/cip-postfix.XXXXXX)
chmod 755 "$base"
stop() {
  status=$?
  [ -z "${relay_pid:-}" ] || kill "$relay_pid" 2>/dev/null || true
  postfix -c "$base/etc" stop >/dev/null 2>&1 || true
  if [ $status -ne 0 ]; then
    for log in relay.log maillog; do echo "--- $log"; tail -n 60 "$base/$log" 2>/dev/null || true; done
  fi
  rm -rf "$base"
  exit $status
}
trap stop EXIT

# Seven ports that nobody uses, each known by the role that it has in the files.
read -r submission back smtp inbound cip sink peer < <(python3 - <<'PY'
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(7)]
print(*(s.getsockname()[1] for s in sockets))
PY
)
# The files as they are shipped, but for ports, folders, and mail servers found by DNS: one sink stands for all of them.
adapt() {
  sed -e "s|/etc/postfix/|$base/etc/|g" -e "s|127.0.0.1:10025|127.0.0.1:$back|g" \
      -e "s|\[127.0.0.1\]:2525|[127.0.0.1]:$smtp|g" -e "s|\[127.0.0.1\]:2526|[127.0.0.1]:$inbound|g" \
      -e "s|127.0.0.1:2525|127.0.0.1:$smtp|g" -e "s|127.0.0.1:2526|127.0.0.1:$inbound|g" \
      -e "s|static:{FILTER smtp:}|static:{FILTER smtp:[127.0.0.1]:$sink}|" \
      -e "s|\[::\]:6047|127.0.0.1:$cip|" -e "s|/var/lib/cip-relay|$base/relay|" -e "s|/run/cip-relay/|$base/relay/|" "$1"
}
mkdir -p "$base"/{etc,spool,data,relay,mail}
# Mailboxes belong to a user without rights, as on a real mail host; nobody is one that every system has.
chown postfix "$base/data"
chown nobody "$base/mail"
cat >"$base/etc/main.cf" <<CF
compatibility_level = 3.6
queue_directory = $base/spool
data_directory = $base/data
maillog_file_prefixes = $base
maillog_file = $base/maillog
mail_owner = postfix
setgid_group = postdrop
myhostname = mail.tiny.com
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
virtual_mailbox_domains = tiny.com
virtual_mailbox_base = $base/mail
virtual_mailbox_maps = inline:{ {mary@tiny.com = mary/} }
virtual_uid_maps = static:$(id -u nobody)
virtual_gid_maps = static:$(id -g nobody)
virtual_minimum_uid = 1
relayhost = [127.0.0.1]:$sink
smtp_dns_support_level = disabled
smtpd_peername_lookup = no
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
minimal_backoff_time = 2s
queue_run_delay = 2s
CF
adapt "$here/main.cf" >>"$base/etc/main.cf"
cat >"$base/etc/master.cf" <<CF
127.0.0.1:$submission inet n - n - - smtpd
postlog   unix-dgram n  -       n       -       1       postlogd
cleanup   unix  n       -       n       -       0       cleanup
qmgr      unix  n       -       n       300     1       qmgr
rewrite   unix  -       -       n       -       -       trivial-rewrite
bounce    unix  -       -       n       -       0       bounce
defer     unix  -       -       n       -       0       bounce
trace     unix  -       -       n       -       0       bounce
flush     unix  n       -       n       1000?   0       flush
verify    unix  -       -       n       -       1       verify
proxymap  unix  -       -       n       -       -       proxymap
smtp      unix  -       -       n       -       -       smtp
relay     unix  -       -       n       -       -       smtp
showq     unix  n       -       n       -       -       showq
error     unix  -       -       n       -       -       error
retry     unix  -       -       n       -       -       error
virtual   unix  -       n       n       -       -       virtual
anvil     unix  -       -       n       -       1       anvil
scache    unix  -       -       n       -       1       scache
CF
adapt "$here/master.cf" >>"$base/etc/master.cf"
for table in cip-own cip-known cip-outside; do adapt "$here/$table" >"$base/etc/$table"; done
# One more organization on the list, which turns out to have no calendar server: its invitations come back as mail.
echo "mailonly.example smtp:[127.0.0.1]:$smtp" >>"$base/etc/cip-known"

adapt "$here/cip-relay.toml" >"$base/cip-relay.toml"
cat >>"$base/cip-relay.toml" <<TOML

[[peer]]
server-id = "jumbo.com"
via = "127.0.0.1:$peer"

[[peer]]
server-id = "mailonly.example"
route = "mail"
TOML

postfix -c "$base/etc" check
postfix -c "$base/etc" start >/dev/null 2>&1
"$relay" --config "$base/cip-relay.toml" check-config
"$relay" --config "$base/cip-relay.toml" serve >"$base/relay.log" 2>&1 &
relay_pid=$!
python3 "$here/try.py" --submission "$submission" --relay-cip "$cip" --peer "$peer" --sink "$sink" --maildir "$base/mail/mary"
