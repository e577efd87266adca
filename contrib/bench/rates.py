#!/usr/bin/env python3
"""cip-relay and Postfix side by side: rates, latency, syncs, bytes written and memory, and their ratios.

Both take the same messages from the same source (contrib/load) over the same number of sessions, and pass them on to a sink
on loopback. The runs are interleaved, round by round, with the disk's own limit measured in each round, so that what else
the machine does meets all of them; the medians of the rounds are printed. Root and the Debian packages postfix and gcc
are needed. Postfix runs with a spool, a configuration and ports of its own, and is stopped at the end; one that runs
already is left alone.

    cargo build --release --bin cip-relay --example load
    python3 contrib/bench/rates.py

What is measured:
- accepted/s: acknowledged messages by the time of the source's run, while deliveries go on beside it;
- delivered/s: all of these messages by the time from the source's start until the sink had the last of them;
- p50, p99: from the first octet of a message to the last one of its acknowledgement, microseconds;
- syncs: calls of fsync and fdatasync per message, accepting and delivering (contrib/bench/syncs.c);
- written: octets handed to the disk per message, accepting and delivering (write_bytes of /proc/PID/io), in KiB;
- CPU: processor time of the server per message, accepting and delivering, user and system, microseconds: what is least
  disturbed by whatever else the machine does;
- memory: the peak of the resident memory (VmHWM) in MiB, for Postfix the sum over its processes, of the whole run.
"""

import argparse
import collections
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WAIT = 600

RELAY = """
server-id = "load.example"
hostname = "relay.load.example"
data-dir = "{base}/data"
[cip]
listen = ["127.0.0.1:{cip_in}"]
relay-networks = ["127.0.0.0/8"]
[mail]
smtp-listen = ["127.0.0.1:{smtp_in}"]
smarthost = "smtp://127.0.0.1:{smtp_out}?tls=none"
[[domain]]
name = "load.example"
users = "any"
[[peer]]
server-id = "*.cip.example"
via = "127.0.0.1:{cip_out}"
route = "cip"
[[peer]]
server-id = "*.mail.example"
route = "mail"
"""

# A durable relay: each queue file is synced before 250, as Postfix always does. Its processes live as long as the run, so
# that what they wrote can be read.
MAIN_CF = """
compatibility_level = 3.6
queue_directory = {base}/spool
data_directory = {base}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
meta_directory = /etc/postfix
shlib_directory = /usr/lib/postfix
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = postfix.load.example
mydestination =
alias_maps =
local_recipient_maps =
mynetworks = 127.0.0.0/8
relayhost = [127.0.0.1]:{out}
smtpd_tls_security_level = none
smtp_tls_security_level = none
smtp_dns_support_level = disabled
smtpd_peername_lookup = no
smtpd_relay_restrictions = permit_mynetworks, reject
default_process_limit = 250
max_use = 1000000
max_idle = 3600s
import_environment = MAIL_CONFIG TZ LANG=C LD_PRELOAD SYNCS_FILE
"""

MASTER_CF = """
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
"""

Case = collections.namedtuple("Case", "name system inward outward to")
CASES = [
    Case("cip-relay, CIP to CIP", "relay", "cip", "cip", "user@d0.cip.example"),
    Case("cip-relay, SMTP to SMTP", "relay", "smtp", "smtp", "user@d0.mail.example"),
    Case("cip-relay, SMTP to CIP", "relay", "smtp", "cip", "user@d0.cip.example"),
    Case("Postfix, SMTP to SMTP", "postfix", "smtp", "smtp", "user@d0.mail.example"),
]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(what, check):
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        if check():
            return
        time.sleep(0.02)
    sys.exit(f"waited in vain for {what}")


def listens(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


class System:
    """A server under test: its processes, and what they have written and synced so far."""

    def __init__(self, base, syncs):
        base.mkdir(mode=0o755)
        self.base = base
        self.counter = base / "syncs"
        self.counter.write_bytes(bytes(8))
        self.counter.chmod(0o666)
        self.environment = dict(os.environ, LD_PRELOAD=str(syncs), SYNCS_FILE=str(self.counter))

    def syncs(self):
        return struct.unpack("=Q", self.counter.read_bytes())[0]

    def each(self, file, field):
        total = 0
        for pid in self.pids():
            try:
                text = pathlib.Path(f"/proc/{pid}/{file}").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith(field + ":"))
        return total

    def written(self):
        return self.each("io", "write_bytes")

    def processor(self):
        """Seconds of processor time, user and system."""
        ticks = 0
        for pid in self.pids():
            try:
                fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory(self):
        return self.each("status", "VmHWM") / 1024


class Relay(System):
    def __init__(self, base, syncs, program, outs):
        super().__init__(base, syncs)
        self.ports = {"cip": free_port(), "smtp": free_port()}
        config = base / "cip-relay.toml"
        ports = dict(cip_in=self.ports["cip"], smtp_in=self.ports["smtp"], cip_out=outs["cip"], smtp_out=outs["smtp"])
        config.write_text(RELAY.format(base=base, **ports))
        with open(base / "log", "wb") as log:
            command = [program, "--config", config, "serve"]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=self.environment)
        wait_for("the relay", lambda: all(listens(port) for port in self.ports.values()))

    def pids(self):
        return [self.process.pid]

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Postfix(System):
    def __init__(self, base, syncs, out):
        super().__init__(base, syncs)
        self.ports = {"smtp": free_port()}
        for name in ("etc", "spool", "data"):
            (base / name).mkdir()
        shutil.chown(base / "data", "postfix")
        (base / "etc/main.cf").write_text(MAIN_CF.format(base=base, out=out["smtp"]))
        (base / "etc/master.cf").write_text(MASTER_CF.format(port=self.ports["smtp"]))
        self.command("start")
        wait_for("Postfix", lambda: listens(self.ports["smtp"]))

    def command(self, word):
        subprocess.run(["postfix", "-c", self.base / "etc", word], check=True, env=self.environment, stderr=subprocess.DEVNULL)

    def pids(self):
        master = int((self.base / "spool/pid/master.pid").read_text())
        children = pathlib.Path(f"/proc/{master}/task/{master}/children").read_text().split()
        return [master, *map(int, children)]

    def stop(self):
        self.command("stop")


def lines_in(file):
    with open(file, "rb") as f:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: f.read(1 << 20), b""))


class Bench:
    def __init__(self, options, base):
        self.options, self.base = options, base
        self.outs = {"cip": free_port(), "smtp": free_port()}
        syncs = base / "syncs.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", syncs, HERE / "syncs.c", "-ldl"], check=True)
        self.systems = {"relay": Relay(base / "relay", syncs, options.relay, self.outs)}
        if not options.without_postfix:
            self.systems["postfix"] = Postfix(base / "postfix", syncs, self.outs)
        self.cases = [case for case in CASES if case.system in self.systems and options.case in case.name]
        self.syncs_library = syncs

    def load(self, *arguments):
        done = subprocess.run([self.options.load, "--json", *map(str, arguments)], check=True, stdout=subprocess.PIPE)
        return json.loads(done.stdout)

    def run(self, case, sessions, seconds):
        """One source and one sink; the figures of this run."""
        system = self.systems[case.system]
        sent, received = self.base / "sent", self.base / "received"
        for ledger in (sent, received):
            ledger.unlink(missing_ok=True)
        command = [self.options.load, "--json", "sink", "--protocol", case.outward, f"127.0.0.1:{self.outs[case.outward]}"]
        sink = subprocess.Popen([*command, "--ledger", received], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        wait_for("the sink", lambda: listens(self.outs[case.outward]))
        syncs, written, processor = system.syncs(), system.written(), system.processor()
        source = self.load("source", "--protocol", case.inward, f"127.0.0.1:{system.ports[case.inward]}", "--sessions", sessions,
                           "--messages", 10**9, "--time", f"{int(seconds * 1000)}ms", "--size", self.options.size,
                           "--to", case.to, "--ledger", sent)
        count = source["acknowledged"]
        wait_for(f"{count} deliveries by {case.name}", lambda: lines_in(received) >= count)
        # The last outcomes are still being recorded.
        time.sleep(0.5)
        syncs, written, processor = system.syncs() - syncs, system.written() - written, system.processor() - processor
        sink.send_signal(signal.SIGTERM)
        taken = json.loads(sink.communicate()[0])
        compared = subprocess.run([self.options.load, "compare", sent, received], stdout=subprocess.PIPE)
        if compared.returncode:
            sys.exit(f"{case.name}: {compared.stdout.decode()}")
        return {
            "accepted": source["rate"],
            "delivered": count / (taken["last"] - source["began"]),
            "p50": source["p50"],
            "p99": source["p99"],
            "syncs": syncs / count,
            "written": written / count / 1024,
            "processor": processor / count * 1e6,
            "memory": system.memory(),
        }

    def raw(self):
        return self.load("raw", self.base / "raw", "--writers", 64, "--size", 4096, "--time", "2s")["rate"]

    def waiting(self, count):
        """The peak memory of a relay that has started with nothing and holds so many messages that cannot go out."""
        nobody = {"cip": free_port(), "smtp": free_port()}
        relay = Relay(self.base / "waiting", self.syncs_library, self.options.relay, nobody)
        self.load("source", "--protocol", "cip", f"127.0.0.1:{relay.ports['cip']}", "--sessions", 50, "--messages", count,
                  "--size", self.options.size, "--to", "user@d0.cip.example")
        time.sleep(2)
        memory = relay.memory()
        relay.stop()
        return memory

    def stop(self):
        for system in self.systems.values():
            system.stop()


def median(runs):
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def table(sessions, figures):
    print(f"\n{sessions} session{'s' if sessions > 1 else ''}")
    print(f"{'':26}{'accepted/s':>11}{'delivered/s':>12}{'p50 us':>9}{'p99 us':>9}{'syncs':>8}{'KiB':>7}{'CPU us':>8}{'MiB':>6}")
    for name, f in figures.items():
        print(f"{name:26}{f['accepted']:11.0f}{f['delivered']:12.0f}{f['p50']:9.0f}{f['p99']:9.0f}"
              f"{f['syncs']:8.3f}{f['written']:7.1f}{f['processor']:8.0f}{f['memory']:6.0f}")
    base = figures.get(CASES[-1].name)
    for name, f in figures.items():
        if base and f is not base:
            print(f"  {name} to Postfix: accepted {f['accepted'] / base['accepted']:.2f}, "
                  f"delivered {f['delivered'] / base['delivered']:.2f}, p99 {f['p99'] / base['p99']:.2f}")


def targets(figures, raw, memory):
    cip, smtp, bridged, postfix = (figures.get(case.name) for case in CASES)
    if not (cip and smtp and bridged and postfix):
        return
    print("\ntargets at 50 sessions")
    rows = [
        ("accepted over CIP to Postfix's", cip["accepted"] / postfix["accepted"], ">=", 10),
        ("accepted over SMTP to Postfix's, out by SMTP", smtp["accepted"] / postfix["accepted"], ">=", 6),
        ("accepted over SMTP to Postfix's, out by CIP", bridged["accepted"] / postfix["accepted"], ">=", 6),
        ("delivered CIP to CIP to Postfix's", cip["delivered"] / postfix["delivered"], ">=", 8),
        ("accepted over CIP to the raw limit", cip["accepted"] / raw, ">=", 0.12),
        ("syncs per message, CIP to CIP", cip["syncs"], "<=", 0.1),
        ("p99 over CIP to Postfix's", cip["p99"] / postfix["p99"], "<=", 1),
        ("peak MiB with 1000 waiting", memory, "<=", 150),
    ]
    for what, value, relation, target in rows:
        met = value >= target if relation == ">=" else value <= target
        print(f"  {what:46}{value:8.3f} {relation} {target:<5}{'met' if met else 'MISSED'}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--relay", default=ROOT / "target/release/cip-relay", type=pathlib.Path)
    parser.add_argument("--load", default=ROOT / "target/release/examples/load", type=pathlib.Path)
    parser.add_argument("--dir", default=tempfile.gettempdir(), help="a folder on the disk to be measured")
    parser.add_argument("--sessions", default="1,10,50,100", help="numbers of sessions, comma-separated")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3, help="length of one source's run")
    parser.add_argument("--size", type=int, default=4096, help="octets of a message")
    parser.add_argument("--case", default="", help="only the cases with this in their names")
    parser.add_argument("--without-postfix", action="store_true")
    options = parser.parse_args()
    # So that what was started is stopped also then.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    base = pathlib.Path(tempfile.mkdtemp(prefix="rates-", dir=options.dir))
    base.chmod(0o755)
    bench = Bench(options, base)
    try:
        raws = []
        for case in bench.cases:
            # Connections, caches and processes are there before anything counts.
            bench.run(case, 10, 0.5)
        for sessions in map(int, options.sessions.split(",")):
            runs = {case.name: [] for case in bench.cases}
            for _ in range(options.rounds):
                raws.append(bench.raw())
                for case in bench.cases:
                    runs[case.name].append(bench.run(case, sessions, options.seconds))
            figures = {name: median(found) for name, found in runs.items()}
            table(sessions, figures)
            if sessions == 50:
                raw = statistics.median(raws[-options.rounds:])
                print(f"  raw limit: {raw:.0f}/s")
                targets(figures, raw, bench.waiting(1000))
        sys.stdout.flush()
    finally:
        bench.stop()
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    main()
