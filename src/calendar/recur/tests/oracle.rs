//! Our walk of iCalendar rules against the crate `rrule`.
//!
//! Compared is what the rule itself produces, in UTC and up to ten years. Left out are what that crate refuses, and
//! BYWEEKNO alone, for which it gives all seven days of the week where the RFC takes DTSTART's weekday.

use chrono::{Duration, NaiveDateTime};
use proptest::prelude::*;

use super::super::Until;
use super::super::expand::{Either, Role, alone};
use super::super::ical::{Frequency, Rule};
use super::floating;
use super::made_up::{ical_rule, start};

const LIMIT: usize = 60;

fn theirs(rule: &Rule, start: NaiveDateTime) -> Option<Vec<NaiveDateTime>> {
    let text = format!("DTSTART:{}\nRRULE:{rule}", start.format("%Y%m%dT%H%M%SZ"));
    let all = text.parse::<rrule::RRuleSet>().ok()?.all(u16::try_from(LIMIT).unwrap());
    Some(all.dates.into_iter().map(|d| d.naive_utc()).collect())
}

proptest! {
    #![proptest_config(crate::calendar::tests::cases(150))]

    #[test]
    fn the_same_instances_as_another_implementation(mut rule in ical_rule(), start in start(), days in 1i64..3653) {
        (rule.count, rule.until) = (None, Some(Until::Utc(start + Duration::days(days))));
        // A position in a week or day, which the RFC forbids: we take every such weekday, they drop the part.
        let in_month = rule.frequency >= Frequency::Monthly && rule.by_week_no.is_empty();
        prop_assume!(in_month || rule.by_day.iter().all(|(nth, _)| *nth == 0));
        // They see a week 53 in 2010 too.
        prop_assume!(!rule.by_week_no.contains(&53) && !rule.by_week_no.contains(&-1));
        // They start the first week with DTSTART.
        prop_assume!(rule.frequency != Frequency::Weekly || rule.by_set_pos.is_empty());
        // They lose minutes when the hours are limited too, and give up over those that match nothing.
        prop_assume!(rule.frequency > Frequency::Minutely || rule.by_set_pos.is_empty() && rule.by_month.is_empty() && rule.by_hour.is_empty());
        prop_assume!(rule.by_week_no.is_empty() || !rule.by_day.is_empty() || !rule.by_month_day.is_empty() || !rule.by_year_day.is_empty());
        let ours = alone(&Either::ICal(rule.clone()), &floating(start), Role::TakesOut, LIMIT);
        if let Some(theirs) = theirs(&rule, start) {
            prop_assert_eq!(&ours.starts, &theirs, "{} from {}", rule, start);
        }
    }
}

/// RFC 5545 3.8.5.3, where the answer is there in words.
#[test]
fn examples_of_the_rfc() {
    for (start, text, first) in [
        (
            "19970902T090000",
            "FREQ=YEARLY;INTERVAL=2;BYMONTH=1;BYDAY=SU;BYHOUR=8,9;BYMINUTE=30",
            "990103 990103 990110 990110 990117 990117",
        ),
        ("19970512T090000", "FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO", "970512 980511 990517 000515 010514 020513"),
        ("19970512T090000", "FREQ=YEARLY;BYWEEKNO=20", "970512 980511 990517 000515 010514 020513"),
        ("19970519T090000", "FREQ=YEARLY;BYDAY=20MO", "970519 980518 990517 000515 010514 020520"),
        ("19970902T090000", "FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13", "980213 980313 981113 990813 001013 010413"),
        (
            "19961105T090000",
            "FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8",
            "961105 001107 041102 081104 121106 161108",
        ),
        ("19970904T090000", "FREQ=MONTHLY;COUNT=3;BYDAY=TU,WE,TH;BYSETPOS=3", "970904 971007 971106"),
        ("19970929T090000", "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2", "970929 971030 971127 971230 980129 980226"),
        ("19970805T090000", "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=MO", "970805 970810 970819 970824"),
        ("19970805T090000", "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU", "970805 970817 970819 970831"),
        ("20070115T090000", "FREQ=MONTHLY;BYMONTHDAY=15,30;COUNT=5", "070115 070130 070215 070315 070330"),
        ("19970101T090000", "FREQ=YEARLY;INTERVAL=3;COUNT=10;BYYEARDAY=1,100,200", "970101 970410 970719 000101 000409 000718"),
    ] {
        let rule = Rule::parse(text).unwrap();
        let found = alone(&Either::ICal(rule), &floating(super::at(start)), Role::TakesOut, 6);
        assert_eq!(super::days(&found.starts), first, "{text}");
    }
}

/// A rule that never matches, or nearly so, ends the walk and says that it did.
#[test]
fn work_is_bounded_and_the_bound_is_told() {
    for text in ["FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "FREQ=DAILY;BYMONTH=4;BYMONTHDAY=31", "FREQ=SECONDLY;BYMONTH=2;BYMONTHDAY=30"] {
        let own = Either::ICal(Rule::parse(text).unwrap());
        let found = super::super::expand::expand(
            &super::super::expand::Series { rules: vec![own.clone()], ..Default::default() },
            &floating(super::at("20000103T090000")),
            NaiveDateTime::MAX,
            100,
        );
        assert!(!found.complete && found.starts.len() == 1, "{text}: {found:?}");
        let ten_years = super::instances(vec![own], &floating(super::at("20000103T090000")), 100);
        assert!(ten_years.complete && ten_years.starts.len() == 1, "{text}");
    }
    // Every second of the year, of which only a few are asked for.
    let every = format!("FREQ=YEARLY;BYHOUR={0};BYMINUTE={1};BYSECOND={1};BYDAY=MO,TU,WE,TH,FR,SA,SU", list(24), list(60));
    let found = super::instances(vec![Either::ICal(Rule::parse(&every).unwrap())], &floating(super::at("20000103T090000")), 100);
    assert!(!found.complete);
}

fn list(n: u8) -> String {
    (0..n).map(|n| n.to_string()).collect::<Vec<_>>().join(",")
}
