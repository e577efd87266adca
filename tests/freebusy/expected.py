"""What a calendar says of somebody's time, by recurring-ical-events: FROM UNTIL ZONE, the calendar on standard input.

Prints `TYPE FROM/UNTIL` in UTC, by type, periods joined. Times without a zone, and whole days, are read in ZONE.
"""

import sys
from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import icalendar
import recurring_ical_events

UTC = timezone.utc


def instant(at, zone):
    if not isinstance(at, datetime):
        at = datetime(at.year, at.month, at.day)
    if at.tzinfo is None:
        at = at.replace(tzinfo=zone)
    return at.astimezone(UTC)


def kind(event):
    if str(event.get("STATUS", "")).upper() == "CANCELLED" or str(event.get("TRANSP", "")).upper() == "TRANSPARENT":
        return None
    return "BUSY-TENTATIVE" if str(event.get("STATUS", "")).upper() == "TENTATIVE" else "BUSY"


def periods(calendar, start, end, zone):
    found = {"BUSY": [], "BUSY-TENTATIVE": []}
    # A day more on both sides: what is whole days there is not the same days in UTC.
    events = recurring_ical_events.of(calendar, components=["VEVENT"])
    for event in events.between(start - timedelta(days=2), end + timedelta(days=2)):
        if kind(event) is None:
            continue
        first = event["DTSTART"].dt
        last = event["DTEND"].dt if "DTEND" in event else first
        if last == first and isinstance(first, date) and not isinstance(first, datetime):
            last = first + timedelta(days=1)
        begin, finish = max(instant(first, zone), start), min(instant(last, zone), end)
        if begin < finish:
            found[kind(event)].append((begin, finish))
    return found


def joined(list_of_periods):
    out = []
    for begin, finish in sorted(list_of_periods):
        if out and begin <= out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], finish))
        else:
            out.append((begin, finish))
    return out


def main():
    start, end = (datetime.strptime(word, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) for word in sys.argv[1:3])
    calendar = icalendar.Calendar.from_ical(sys.stdin.read())
    for name, list_of_periods in periods(calendar, start, end, ZoneInfo(sys.argv[3])).items():
        for begin, finish in joined(list_of_periods):
            print(f"{name} {begin:%Y%m%dT%H%M%SZ}/{finish:%Y%m%dT%H%M%SZ}")


main()
