//! `inspect`, of mails, objects, and files that hold several.

use serde_json::{Value, json};

use super::{BARE, MAIL, code, stdout};
use crate::support::relay::Settings;

#[test]
fn inspect_shows_what_is_read_in_a_mail_and_in_an_object() {
    let settings = Settings::new("tiny.com");
    let inspect = |text: &str| {
        let output = settings.run(&["inspect", "--json", "-"], text.as_bytes());
        assert_eq!(code(&output), 0, "{output:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let mail = inspect(MAIL);
    assert_eq!((mail["kind"].as_str(), mail["method"].as_str()), (Some("mail"), Some("REQUEST")));
    assert_eq!(mail["mail"]["from"][0], "tom@jumbo.com");
    let object = &mail["objects"][0];
    assert_eq!(object["component"], "VEVENT");
    assert_eq!((&object["uid"], &object["sequence"], &object["version"]), (&"lunch-1".into(), &2.into(), &3.into()));
    assert_eq!(object["organizer"], json!({"address": "tom@jumbo.com", "name": "Tom Jones"}));
    let mary = json!({"address": "mary@tiny.com", "name": "Mary", "status": "NEEDS-ACTION", "role": "OPT-PARTICIPANT"});
    assert_eq!(object["attendees"], json!([mary]));
    assert_eq!((&object["start"], &object["end"]), (&"2026-12-01T11:30:00Z".into(), &"2026-12-01T12:30:00Z".into()));
    assert!(mail["problems"].is_array() && mail["losses"].is_array());

    let calendar = MAIL.split_once("\n\n").unwrap().1;
    assert_eq!((&inspect(calendar)["kind"], &inspect(calendar)["method"]), (&"icalendar".into(), &"REQUEST".into()));

    let bare = inspect(BARE);
    assert_eq!((&bare["kind"], &bare["method"]), (&"bare".into(), &Value::Null));
    assert_eq!((&bare["objects"][0]["start"], &bare["objects"][0]["summary"]), (&"1997-01-01T01:00:00Z".into(), &"New Year's Eve".into()));
    assert_eq!(bare["action"], "take it by SENDEVENT for 1 recipients");
    let vcalendar = inspect(&format!("BEGIN:VCALENDAR\nVERSION:1.0\nBEGIN:VEVENT\n{BARE}END:VEVENT\nEND:VCALENDAR\n"));
    assert_eq!(vcalendar["kind"], "vcalendar");

    let text = stdout(&settings.run(&["inspect", "-"], MAIL.as_bytes()));
    assert!(text.starts_with("a mail, METHOD REQUEST\n"), "{text}");
    let broken = settings.run(&["inspect", "--json", "-"], b"BEGIN:VCALENDAR\nVERSION:2.0\nEND:VCALENDAR\n");
    assert_eq!(code(&broken), 65);
    let broken: Value = serde_json::from_slice(&broken.stdout).unwrap();
    assert_eq!((&broken["kind"], broken["problems"].as_array().map(Vec::len)), (&"icalendar".into(), Some(1)));
}

const SEVERAL: &str = "BEGIN:VCALENDAR
VERSION:1.0
BEGIN:VEVENT
UID:1@a.com
SUMMARY:one
TRANSP:2
END:VEVENT
BEGIN:VTODO
SUMMARY:without UID
DUE:soon
END:VTODO
END:VCALENDAR

BEGIN:VCALENDAR
VERSION:2.0
BEGIN:VEVENT
UID:2@a.com
SUMMARY:two
COLOR:red
END:VEVENT
END:VCALENDAR
";

#[test]
fn inspect_shows_every_event_of_a_file() {
    let settings = Settings::new("tiny.com");
    let file = settings.path("several.vcs");
    std::fs::write(&file, SEVERAL).unwrap();
    for words in [&["inspect", "--json"][..], &["inspect", "--json", file.to_str().unwrap()]] {
        let output = settings.run(words, SEVERAL.as_bytes());
        assert_eq!(code(&output), 0, "{output:?}");
        let read: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(read["kind"], "vcalendar");
        let objects: Vec<Value> =
            read["objects"].as_array().unwrap().iter().map(|o| json!([o["component"], o["uid"], o["summary"]])).collect();
        assert_eq!(
            objects,
            [json!(["VEVENT", "1@a.com", "one"]), json!(["VTODO", null, "without UID"]), json!(["VEVENT", "2@a.com", "two"])]
        );
        let problems: Vec<&str> = read["problems"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert!(problems[0].starts_with("UID is missing"), "{problems:?}");
        assert_eq!(problems[1], "line 10: DUE is not a time that can be read");
        let losses: Vec<Value> = read["losses"].as_array().unwrap().iter().map(|l| json!([l["to"], l["uid"], l["property"]])).collect();
        assert!(losses.contains(&json!(["icalendar", "1@a.com", "TRANSP"])), "{losses:?}");
        assert!(losses.contains(&json!(["vcalendar", "2@a.com", "COLOR"])), "{losses:?}");
        assert!(read["action"].as_str().unwrap().starts_with("answer NO 001 ("), "{read}");
    }
    let text = stdout(&settings.run(&["inspect"], SEVERAL.as_bytes()));
    assert!(text.contains("VTODO without UID\n") && text.contains("lost in vcalendar: 2@a.com: COLOR \"red\""), "{text}");
}

#[test]
fn inspect_lists_instances() {
    let settings = Settings::new("tiny.com");
    // Nine o'clock stays nine o'clock across the change of clocks on 25 October.
    let weekly = "BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VEVENT\nUID:weekly\nDTSTART;TZID=Europe/Berlin:20261019T090000\n\
                  RRULE:FREQ=WEEKLY\nEXDATE;TZID=Europe/Berlin:20261102T090000\nEND:VEVENT\nEND:VCALENDAR\n";
    let all_day = "BEGIN:VCALENDAR\nVERSION:1.0\nBEGIN:VEVENT\nUID:daily\nDTSTART:20261024\nRRULE:D1 #2\nEND:VEVENT\nEND:VCALENDAR\n";
    let read = |input: &str, until: &str| -> Value {
        let output = settings.run(&["inspect", "--json", "--until", until], input.as_bytes());
        assert_eq!(code(&output), 0, "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let two = read(weekly, "2026-11-02");
    assert_eq!((&two["instances"], &two["instances_complete"]), (&json!(["2026-10-19T07:00:00Z", "2026-10-26T08:00:00Z"]), &json!(true)));
    let mail = format!("From: a@b.com\nMIME-Version: 1.0\nContent-Type: text/calendar\n\n{weekly}");
    for input in [weekly, &mail] {
        let three = read(input, "2026-11-09T08:00:01Z");
        assert_eq!(three["instances"], json!(["2026-10-19T07:00:00Z", "2026-10-26T08:00:00Z", "2026-11-09T08:00:00Z"]));
    }
    let both = read(&format!("{weekly}{all_day}"), "2026-11-02");
    assert_eq!(both["instances"], json!(["2026-10-19T07:00:00Z", "2026-10-24", "2026-10-25", "2026-10-26T08:00:00Z"]));

    let cut = read(&weekly.replace("WEEKLY", "HOURLY"), "2029-01-01");
    assert_eq!((cut["instances"].as_array().map(Vec::len), &cut["instances_complete"]), (Some(10_000), &json!(false)));
    assert!(cut["problems"].to_string().contains("not all instances are listed"), "{}", cut["problems"]);

    let text = stdout(&settings.run(&["inspect", "--until", "2026-11-02"], weekly.as_bytes()));
    assert!(text.contains("  instance    2026-10-19T07:00:00Z\n  instance    2026-10-26T08:00:00Z\n"), "{text}");
    let without: Value = serde_json::from_slice(&settings.run(&["inspect", "--json"], weekly.as_bytes()).stdout).unwrap();
    assert_eq!(without.get("instances"), None);
    assert_eq!(code(&settings.run(&["inspect", "--until", "tomorrow"], weekly.as_bytes())), 64);
}
