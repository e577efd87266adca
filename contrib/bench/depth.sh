#!/usr/bin/env bash
# Depth: the relay with few and with very many entries waiting, on this machine's disk.
#
#     cargo build --release --bin cip-relay --example load
#     contrib/bench/depth.sh [DEPTH [SAMPLE]]
#
# Fills the queue to 1,000 and to DEPTH entries of 4 KiB (100,000 unless said otherwise) for 100 destinations of one sink
# that does not answer, and prints for each: the rate at which SAMPLE further ones are accepted, the time of `queue summary`,
# the time from a start to the first delivery once the sink answers, the rate of SAMPLE deliveries, and memory. DEPTH_DIR is
# where all of it happens (a folder of its own below it is removed at the end); DEPTH_BIN where the two programs are.
set -euo pipefail
depth=${1:-100000} sample=${2:-10000}
root=$(cd "$(dirname "$0")/../.." && pwd)
bin=${DEPTH_BIN:-$root/target/release}
relay=$bin/cip-relay load=$bin/load
[ -x "$load" ] || load=$bin/examples/load
work=$(mktemp -d "${DEPTH_DIR:-${TMPDIR:-/tmp}}/depth.XXXXXX")
cip=127.0.0.1:${DEPTH_PORT:-16047} sink=127.0.0.1:${DEPTH_SINK_PORT:-17047}
pid='' sink_pid=''
clean() {
    [ -z "$pid" ] || kill "$pid" 2>/dev/null || true
    [ -z "$sink_pid" ] || kill "$sink_pid" 2>/dev/null || true
    wait
    rm -rf "$work"
}
trap clean EXIT

cat >"$work/relay.toml" <<EOF
server-id = "load.example"
data-dir = "$work/data"
[cip]
listen = ["$cip"]
relay-networks = ["127.0.0.0/8"]
[mail]
smtp-listen = []
lmtp-listen = []
[[domain]]
name = "load.example"
users = "any"
[[peer]]
server-id = "*.example"
via = "$sink"
route = "cip"
[delivery]
retry = { initial = "1s", max = "2s" }
[log]
level = "warn"
EOF

now() { date +%s.%N; }
since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.2f", b - a }'; }

start() {
    "$relay" --config "$work/relay.toml" serve 2>>"$work/log" &
    pid=$!
    until (exec 3<>"/dev/tcp/${cip/:/\/}") 2>/dev/null; do
        kill -0 "$pid" 2>/dev/null || { cat "$work/log"; exit 1; }
        sleep 0.02
    done
}
stop() { kill "$pid"; wait "$pid" || true; pid=''; }
accept() { # messages -> per second
    local from=$(now)
    "$load" source --protocol cip "$cip" --sessions 50 --messages "$1" --size 4096 --destinations 100 --patience 30s >"$work/source"
    awk -v n="$1" -v t="$(since "$from")" 'BEGIN { printf "%.0f", n / t }'
}
memory() { awk '/VmHWM|VmRSS/ { printf "%s %d MiB  ", $1, $2 / 1024 }' "/proc/$pid/status"; }
size() { du -sm "$work/data/queue" | cut -f1; }

at() { # depth
    local begun=$(now) before
    echo "--- $1 waiting"
    echo "filled              $(accept "$1")/s"
    before=$(size)
    echo "accepted            $(accept "$sample")/s   ($sample further ones)"
    echo "data directory      $(size) MiB ($before MiB before these)"
    echo "memory              $(memory)"
    begun=$(now)
    "$relay" --config "$work/relay.toml" queue summary >"$work/summary"
    echo "queue summary       $(since "$begun") s"
    stop
    rm -f "$work/received"
    "$load" sink --protocol cip "$sink" --expect "$sample" --ledger "$work/received" >"$work/sink" &
    sink_pid=$!
    begun=$(now)
    start
    echo "listening after     $(since "$begun") s"
    until [ -s "$work/received" ]; do sleep 0.02; done
    echo "first delivery at   $(since "$begun") s after the start"
    begun=$(now)
    wait "$sink_pid"
    sink_pid=''
    echo "delivered           $(awk -v n="$sample" -v t="$(since "$begun")" 'BEGIN { printf "%.0f", n / t }')/s   (the first $sample)"
    echo "memory              $(memory)"
    stop
    rm -rf "$work/data"
}

for waiting in 1000 "$depth"; do
    start
    at "$waiting"
done
