//! Rules that were made up once and said as something else than they mean.

use super::super::expand::Either;
use super::super::{ical, translate, vcal};
use super::made_up::{frames, from_icalendar, from_vcalendar};
use super::{at, days, floating, instances};

#[test]
fn rules_of_vcalendar_keep_their_instances() {
    for (start, text) in [
        // Minutes inside of minutes start anew at each of them.
        ("20000229T000000", "M12 #1 M1 #2"),
        // So they do at each of several times of a day.
        ("20000229T000000", "W1 MO 0000 #0 M1 #2"),
        ("20000229T000000", "MP1 1+ MO 0900 #0 M1 #2"),
        // The mark cuts the pass before DTSTART.
        ("20001102T000000", "MD1 1$ 10 #1"),
        // A fifth Tuesday, which few Februaries have.
        ("20000229T000000", "YM1 #0 MP1 #1"),
        ("20000229T000000", "YM1 #0 MP1 5+ TU #1"),
    ] {
        let rule = vcal::Rule::parse(text).unwrap();
        for frame in frames(at(start)) {
            from_vcalendar(&rule, &frame).unwrap_or_else(|e| panic!("{text}: {e}"));
        }
    }
}

#[test]
fn rules_of_icalendar_keep_their_instances() {
    for (start, text) in [
        // Looked for hour by hour, the work of ten years was more than is allowed; said as D1 it was not.
        ("20000229T000000", "FREQ=HOURLY;BYHOUR=9;BYDAY=MO;BYMONTH=2"),
        ("20000229T000000", "FREQ=HOURLY;BYHOUR=0;INTERVAL=1;BYMONTHDAY=29;BYMONTH=2"),
    ] {
        let rule = ical::Rule::parse(text).unwrap();
        for frame in frames(at(start)) {
            from_icalendar(&rule, &frame).unwrap_or_else(|e| panic!("{text}: {e}"));
        }
    }
}

/// In so many months, with or without such a day.
#[test]
fn a_month_without_the_day_is_not_made_up_for_by_the_next() {
    let rule = Either::VCal(vcal::Rule::parse("YM1 2 #0 MP1 5+ TU #1").unwrap());
    let found = instances(vec![rule], &floating(at("20000201T090000")), 10);
    assert_eq!(days(&found.starts), "000201 000229");
    assert!(found.complete);
}

#[test]
fn hours_are_reached_without_looking_at_each_between() {
    let rule = ical::Rule::parse("FREQ=HOURLY;BYHOUR=9;BYDAY=5MO").unwrap();
    let said = translate::to_vcal(&rule, &floating(at("20000229T000000")));
    assert!(matches!(said, super::super::Said::Rules(_)), "{said:?}");
    let hourly = ical::Rule::parse("FREQ=HOURLY;INTERVAL=5;BYHOUR=3;BYMINUTE=7").unwrap();
    let found = instances(vec![Either::ICal(hourly)], &floating(at("20000101T000000")), 2_000);
    assert!(found.complete && found.starts.len() == 1 + 3652 / 5, "{} {}", found.complete, found.starts.len());
}
