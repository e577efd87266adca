//! The place of the full translation between vCalendar 1.0 and iCalendar 2.0: recurrence rules, exceptions, alarms,
//! zones in both directions (bridge 7 and 8). Until it stands here, `compose::icalendar` says what a single event can
//! say and lists the rest as losses.
