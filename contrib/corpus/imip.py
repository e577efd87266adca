#!/usr/bin/env python3
"""Compares what cip-relay reads in mails with what Python's `email` and `icalendar` find in them.

    python3 contrib/corpus/imip.py CORPUS target/debug/cip-relay

CORPUS is a folder of mails (*.eml), or one that holds them in a folder `imip`. Of each mail are compared: METHOD, and of
each event in it UID, organizer and attendees. A difference that EXPLAINED does not name ends the run with 1.

Needs PyPI's icalendar: python3 -m pip install icalendar
"""

import email
import email.policy
import fnmatch
import json
import pathlib
import re
import subprocess
import sys
import urllib.parse

try:
    import icalendar
except ImportError:
    sys.exit("imip.py: needs PyPI's icalendar; python3 -m pip install icalendar")

# (file name pattern, field, why the two differ). Fields: kind, method, events, uid, organizer, attendees.
REFUSED = "its MIME parameter and its METHOD differ: the relay refuses it (RFC 6047 2.4), Python compares nothing"
TEMPLATE = "a template, not a mail: where base64 belongs stands {{#base64Encode}}, of which no text comes"
EXPLAINED = [
    ("aspose__Meeting_with_Recurring_Occurrences.mhtml.eml", "organizer", "ORGANIZER without a value names nobody"),
    ("libical__mail-examples.eml", "events", "an mbox of many mails: to both one mail, whose rest Python refuses and the relay reads"),
    *(
        (name, field, REFUSED)
        for field in ("method", "events")
        for name in (
            "cyrus-imapd__calendareventnotification_imip_3.eml",
            "cyrus-imapd__imip_invite_single_then_master_2.eml",
            "cyrus-imapd__imip_override_2.eml",
            "cyrus-imapd__imip_preserve_alerts_2.eml",
            "cyrus-imapd__imip_update_master_and_add_override_2.eml",
            "tmail-backend__emailWithAliceCancelEventIcsAttachment.eml",
        )
    ),
    ("tmail-backend__*.mustache.eml", "method", TEMPLATE),
]


def calendar_part(message):
    """text/calendar before application/ics before a .ics attachment, as RFC 6047 and practice have it."""
    parts = [p for p in message.walk() if not p.is_multipart() and p.get_payload(decode=True).strip()]
    kinds = (
        lambda p: p.get_content_type() == "text/calendar",
        lambda p: p.get_content_type() == "application/ics",
        lambda p: (p.get_filename() or "").strip().lower().endswith(".ics"),
    )
    return next((p for kind in kinds for p in parts if kind(p)), None)


def text_of(part):
    octets = part.get_payload(decode=True)
    try:
        return octets.decode(part.get_content_charset() or "utf-8")
    except (LookupError, UnicodeDecodeError):
        return octets.decode("utf-8", "replace")


def address(value):
    """A calendar address without its scheme."""
    text = str(value).strip()
    if text[:7].lower() == "mailto:":
        text = urllib.parse.unquote(text[7:])
    return text.strip().strip("<>").strip()


def people(component):
    """Addresses in their order, nobody twice."""
    lines = component.get("ATTENDEE", [])
    seen = {}
    for line in lines if isinstance(lines, list) else [lines]:
        seen.setdefault(address(line).lower(), address(line))
    return list(seen.values())


def events(calendars):
    """The events and to-dos, the series before its exceptions; without any, the free/busy times."""
    found = [c for calendar in calendars for c in calendar.subcomponents if c.name in ("VEVENT", "VTODO")]
    found = found or [c for calendar in calendars for c in calendar.subcomponents if c.name == "VFREEBUSY"]
    return sorted(found, key=lambda c: "RECURRENCE-ID" in c)


def calendars_in(text):
    """Without the zones where Python cannot build one: nothing that is compared depends on them."""
    try:
        found = icalendar.Calendar.from_ical(text, multiple=True)
    except (ValueError, IndexError):
        text = re.sub(r"^BEGIN:VTIMEZONE.*?^END:VTIMEZONE\r?\n", "", text, flags=re.DOTALL | re.MULTILINE)
        found = icalendar.Calendar.from_ical(text, multiple=True)
    return [calendar for calendar in found if calendar.name == "VCALENDAR"]


def by_python(octets):
    part = calendar_part(email.message_from_bytes(octets, policy=email.policy.compat32))
    if part is None:
        return {"method": None, "events": []}
    try:
        calendars = calendars_in(text_of(part))
    except (ValueError, IndexError) as error:
        return {"method": part.get_param("method"), "events": [], "error": str(error).replace("\n", " ")[:100]}
    method = part.get_param("method") or next((c["METHOD"] for c in calendars if "METHOD" in c), None)
    return {
        "method": method and str(method).strip().upper(),
        "events": [
            {
                "uid": str(event["UID"]).strip() if "UID" in event else None,
                "organizer": address(event["ORGANIZER"]) if "ORGANIZER" in event else None,
                "attendees": people(event),
            }
            for event in events(calendars)
        ],
    }


def by_relay(program, path):
    run = subprocess.run([program, "inspect", "--json", str(path)], capture_output=True, timeout=60)
    if run.returncode not in (0, 65):
        sys.exit(f"imip.py: {path.name}: {program} ended with {run.returncode}: {run.stderr.decode('utf-8', 'replace')}")
    read = json.loads(run.stdout)
    return {
        "kind": read["kind"],
        "method": read["method"],
        "problems": read["problems"],
        "events": [
            {
                "uid": event["uid"],
                "organizer": event["organizer"] and event["organizer"]["address"],
                "attendees": [person["address"] for person in event["attendees"]],
            }
            for event in read["objects"]
        ],
    }


def differences(relay, python):
    """(field, what the relay reads, what Python finds)."""
    if relay["kind"] != "mail":
        yield "kind", relay["kind"], "mail"
    if relay["method"] != python["method"]:
        yield "method", relay["method"], python["method"]
    if len(relay["events"]) != len(python["events"]):
        reason = relay["problems"][:2] if not relay["events"] else python.get("error", "")
        yield "events", f"{len(relay['events'])} events", f"{len(python['events'])} events {reason}"
        return
    for ours, theirs in zip(relay["events"], python["events"]):
        for field in ("uid", "organizer", "attendees"):
            if ours[field] != theirs[field]:
                yield field, ours[field], theirs[field]


def explanation(name, field):
    return next((entry for entry in EXPLAINED if entry[1] == field and fnmatch.fnmatch(name, entry[0])), None)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__.strip())
    corpus, program = pathlib.Path(sys.argv[1]), sys.argv[2]
    corpus = corpus / "imip" if (corpus / "imip").is_dir() else corpus
    mails = sorted(corpus.glob("*.eml"))
    if not mails:
        sys.exit(f"imip.py: no *.eml in {corpus}")
    equal, explained, unexplained, used = 0, 0, 0, set()
    for path in mails:
        found = list(differences(by_relay(program, path), by_python(path.read_bytes())))
        equal += not found
        for field, ours, theirs in found:
            entry = explanation(path.name, field)
            if entry:
                explained += 1
                used.add(entry)
                print(f"explained  {path.name}: {field}: {entry[2]}")
            else:
                unexplained += 1
                print(f"DIFFERENT  {path.name}: {field}: relay {ours!r}, Python {theirs!r}")
    for entry in EXPLAINED:
        if entry not in used:
            print(f"unused     {entry[0]}: {entry[1]}: no such difference any more")
    print(f"{len(mails)} mails: {equal} read alike, {explained} explained differences, {unexplained} unexplained")
    sys.exit(1 if unexplained else 0)


if __name__ == "__main__":
    main()
