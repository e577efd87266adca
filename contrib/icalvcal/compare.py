#!/usr/bin/env python3
"""Compares libical's vCalendar conversion with cip-relay's, file by file: compare.py DRIVER CIP-RELAY CORPUS

Both conversions are expanded by libical (`driver expand`). Each difference in instances or attendees needs an entry in
explained.tsv (file, what differs, reason); an entry that nothing needs is said. Ends with 1 when a difference has none.
"""

import re
import subprocess
import sys
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

LIMIT = 20


def run(command):
    """Output and, when it failed, how."""
    try:
        done = subprocess.run(command, capture_output=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return b"", "takes too long"
    if done.returncode < 0:
        return done.stdout, f"crash (signal {-done.returncode})"
    return done.stdout, "refused" if done.returncode else None


def expanded(driver, text):
    """[(kind, people, instances)] of an iCalendar text, in its order."""
    with tempfile.NamedTemporaryFile(suffix=".ics") as file:
        file.write(text)
        file.flush()
        out, fault = run([driver, "expand", file.name])
    if fault:
        return None
    events = []
    for line in out.decode("utf-8", "replace").splitlines():
        word, _, rest = line.partition(" ")
        if word in ("VEVENT", "VTODO"):
            events.append((word, set(), set()))
        elif word == "WHO" and events:
            events[-1][1].add(address(rest))
        elif word == "AT" and events:
            events[-1][2].add(moment(rest))
    return events


def address(text):
    found = re.search(r"[^\s<>:;\"',()]+@[^\s<>:;\"',()]+", text)
    return found.group(0).lower() if found else text.strip().lower().removeprefix("mailto:")


def moment(text):
    """A date is its midnight: vCalendar has no dates of their own."""
    text = text.strip()
    return text + "T000000" if len(text) == 8 else text


def offsets(text):
    """What TZ and DAYLIGHT of a vCalendar file may put between local time and UTC."""
    found = set()
    for line in text.decode("latin-1").splitlines():
        if re.match(r"\s*(TZ|DAYLIGHT)\s*[:;]", line, re.I):
            for sign, hours, minutes in re.findall(r"[:;]\s*([+-]?)(\d\d?):?(\d\d)?(?=$|;|\s)", line):
                by = timedelta(hours=int(hours), minutes=int(minutes or 0))
                found.add(-by if sign == "-" else by)
    return found


def same_but_for_zone(theirs, ours, zones):
    """libical leaves TZ and DAYLIGHT unread and its times local: ours in UTC are the same by one of the file's offsets."""
    pairs = list(zip(sorted(theirs), sorted(ours)))
    if len(theirs) != len(ours) or not pairs:
        return False
    read = lambda t: datetime.strptime(t.rstrip("Z"), "%Y%m%dT%H%M%S")
    try:
        return all(a == b or (a[-1] != "Z" and b[-1] == "Z" and read(a) - read(b) in zones) for a, b in pairs)
    except ValueError:
        return False


def differences(theirs, ours, zones):
    """What differs between two lists of events, in words by kind of difference."""
    if len(theirs) != len(ours):
        yield "events", f"{len(theirs)} against {len(ours)}"
        return
    for (kind, who, at), (our_kind, our_who, our_at) in zip(theirs, ours):
        if kind != our_kind:
            yield "events", f"{kind} against {our_kind}"
        if who != our_who:
            yield "attendees", f"{sorted(who)} against {sorted(our_who)}"
        if at != our_at and same_but_for_zone(at, our_at, zones):
            yield "zone", "local against UTC"
        elif at != our_at:
            yield "instances", f"{len(at)} against {len(our_at)}: first {sorted(at ^ our_at)[:2]}"


def explanations():
    table = {}
    for line in (Path(__file__).parent / "explained.tsv").read_text().splitlines():
        if line and not line.startswith("#"):
            file, what, reason = line.split("\t")
            table[file, what] = reason
    return table


def main():
    driver, relay, corpus = sys.argv[1:]
    explained, used = explanations(), set()
    files = sorted(p for p in (Path(corpus) / "vcalendar").iterdir() if p.suffix.lower() == ".vcs")
    equal = explained_files = unexplained = 0
    for path in files:
        text, fault = run([driver, "convert", path])
        found = []
        if fault:
            found.append(("libical", fault))
        ours, our_fault = run([relay, "convert", "--to", "icalendar", path])
        theirs = None if fault else expanded(driver, text)
        mine = expanded(driver, ours)
        # What stands beside the objects is said and refused; the objects are there.
        if our_fault and not ours:
            found.append(("cip-relay", our_fault))
        elif not fault:
            found.extend(differences(theirs or [], mine or [], offsets(path.read_bytes())))
        missing = False
        for what in sorted({what for what, _ in found}):
            detail = "; ".join(d for w, d in found if w == what)
            # A kind of difference that stands in many files for one reason.
            key = next((k for k in ((path.name, what), ("*", what)) if k in explained), None)
            if key:
                used.add(key)
                print(f"{path.name}: {what}: {explained[key]}")
            else:
                missing = True
                print(f"UNEXPLAINED {path.name}: {what}: {detail}")
        unexplained += missing
        equal += not found
        explained_files += bool(found) and not missing
    for file, what in sorted(set(explained) - used):
        print(f"an explanation that nothing needs any more: {file} {what}")
    print(f"{len(files)} files: {equal} with the same instances and attendees, {explained_files} differ for a reason, {unexplained} unexplained")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
