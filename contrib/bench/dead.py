#!/usr/bin/env python3
"""Dead destinations: what a thousand destinations of which half are black holes cost the live half.

Each round runs a fresh relay twice, in turn: with messages for 500 live destinations alone, and with messages for 500
destinations beside them whose server accepts connections and never says a word, in the queue before the first message
for a live one. Measured is the rate at which the live half is delivered, from the first of its messages on.

    cargo build --release --bin cip-relay --example load
    python3 contrib/bench/dead.py
"""

import argparse
import json
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
from rates import ROOT, free_port, lines_in, listens, wait_for  # noqa: E402

RELAY = """
server-id = "load.example"
hostname = "relay.load.example"
data-dir = "{base}/data"
[cip]
listen = ["127.0.0.1:{inward}"]
relay-networks = ["127.0.0.0/8"]
[[domain]]
name = "load.example"
users = "any"
[[peer]]
server-id = "*.live.example"
via = "127.0.0.1:{live}"
route = "cip"
[[peer]]
server-id = "*.hole.example"
via = "127.0.0.1:{hole}"
route = "cip"
"""


class Run:
    """One relay with its sinks."""

    def __init__(self, options):
        self.options = options
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="dead-", dir=options.dir))
        self.inward, live, hole = free_port(), free_port(), free_port()
        self.received = self.base / "received"
        self.processes = []
        self.sink = self.start([options.load, "--json", "sink", "--protocol", "cip", f"127.0.0.1:{live}", "--ledger", self.received])
        self.start([options.load, "sink", "--protocol", "cip", f"127.0.0.1:{hole}", "--black-hole"])
        config = self.base / "cip-relay.toml"
        config.write_text(RELAY.format(base=self.base, inward=self.inward, live=live, hole=hole))
        with open(self.base / "log", "wb") as log:
            self.relay = self.start([options.relay, "--config", config, "serve"], log)
        wait_for("the relay and its sinks", lambda: all(listens(port) for port in (self.inward, live, hole)))

    def start(self, command, errors=subprocess.DEVNULL):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)
        self.processes.append(process)
        return process

    def source(self, to, messages):
        command = [self.options.load, "--json", "source", "--protocol", "cip", f"127.0.0.1:{self.inward}", "--sessions", "50",
                   "--messages", str(messages), "--destinations", str(self.options.destinations // 2), "--to", to]
        report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        if report["acknowledged"] != messages:
            sys.exit(f"the relay did not take everything: {report}")
        return report

    def live_rate(self, holes):
        """Deliveries a second to the live half; `holes`: messages for the other half beforehand."""
        if holes:
            self.source("user@d%d.hole.example", holes)
        began = self.source("user@d%d.live.example", self.options.messages)["began"]
        wait_for("the live half", lambda: lines_in(self.received) >= self.options.messages)
        self.sink.send_signal(signal.SIGTERM)
        last = json.loads(self.sink.communicate()[0])["last"]
        return self.options.messages / (last - began)

    def stop(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        shutil.rmtree(self.base, ignore_errors=True)


def rate(options, holes):
    run = Run(options)
    try:
        return run.live_rate(holes)
    finally:
        run.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--relay", default=ROOT / "target/release/cip-relay", type=pathlib.Path)
    parser.add_argument("--load", default=ROOT / "target/release/examples/load", type=pathlib.Path)
    parser.add_argument("--dir", default=tempfile.gettempdir(), help="a folder on the disk to be measured")
    parser.add_argument("--destinations", type=int, default=1000)
    parser.add_argument("--messages", type=int, default=10000, help="for the live half")
    parser.add_argument("--holes", type=int, default=2000, help="messages for the other half")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    # So that what was started is stopped also then.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    ratios = []
    for _ in range(options.rounds):
        without, with_holes = rate(options, 0), rate(options, options.holes)
        ratios.append(with_holes / without)
        print(f"live half delivered: {without:.0f}/s without black holes, {with_holes:.0f}/s with them, ratio {ratios[-1]:.2f}", flush=True)
    ratio = statistics.median(ratios)
    print(f"median ratio {ratio:.2f} >= 0.90 {'met' if ratio >= 0.9 else 'MISSED'}")


if __name__ == "__main__":
    main()
