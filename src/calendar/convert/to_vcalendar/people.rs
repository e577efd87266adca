//! ORGANIZER and ATTENDEE said as ATTENDEE (bridge 2).

use std::collections::HashSet;

use super::super::lines;
use super::{Done, Job, Part, Why};
use crate::calendar::people::{self, Seat};
use crate::calendar::property::Content;
use crate::calendar::text;
use crate::ident::UserId;

/// Parameters that the line says in its own way.
const SAID: [&str; 12] =
    ["CN", "EMAIL", "ROLE", "PARTSTAT", "STATUS", "RSVP", "CUTYPE", OWN_ROLE, OWN_STATUS, OWN_EXPECT, OWN_TYPE, OWN_RSVP];

/// Words of vCalendar that iCalendar does not have, carried beside the nearest one that it has.
const OWN_ROLE: &str = "X-CIP-ROLE";
const OWN_STATUS: &str = "X-CIP-STATUS";
const OWN_EXPECT: &str = "X-CIP-EXPECT";
const OWN_TYPE: &str = "X-CIP-TYPE";
const OWN_RSVP: &str = "X-CIP-RSVP";

impl Job<'_> {
    /// The owner first, then attendees in their order, then delegates who are not listed otherwise.
    pub(super) fn write_people(&mut self, part: &Part) {
        let mut listed: HashSet<UserId> = HashSet::new();
        let mut delegates: Vec<UserId> = Vec::new();
        // Of several organizers the one with an address is the owner.
        let (known, nobody): (Vec<_>, Vec<_>) = part.all("ORGANIZER").map(|c| (c, people::seat(c))).partition(|(_, seat)| seat.is_some());
        let attendees = part.all("ATTENDEE").map(|c| (c, people::seat(c)));
        for (content, seat) in known.into_iter().chain(nobody).chain(attendees) {
            self.write_person(content, seat.as_ref());
            if let Some(seat) = seat {
                listed.insert(seat.person.address);
                let to = lines::addresses(content.param("DELEGATED-TO").unwrap_or_default());
                delegates.extend(to.filter_map(people::read_user).map(|(user, _)| user));
            }
        }
        for user in delegates {
            if !listed.contains(&user) {
                self.out.attendee(";ROLE=DELEGATE", None, &user);
                listed.insert(user);
            }
        }
    }

    fn write_person(&mut self, content: &Content, seat: Option<&Seat>) {
        let owner = content.name == "ORGANIZER" || seat.is_some_and(|s| s.owner);
        let mut params = String::from(";ROLE=");
        params.push_str(if owner { "OWNER" } else { own_role(content) });
        self.answer_params(content, &mut params, owner);
        params.push_str(&self.params(content, &SAID));
        let value = text::raw(content);
        let value = value.trim();
        let Some(seat) = seat else {
            if value.is_empty() {
                self.losses.push(&content.name, "", Why::Unreadable, Done::LeftOut);
                return;
            }
            if let Some(name) = content.param("CN") {
                params.push_str(";CN=");
                params.push_str(&text::param_value(name));
            }
            params.push_str(";VALUE=URL");
            self.out.raw("ATTENDEE", &params, value);
            return;
        };
        let person = &seat.person;
        if people::read_user(value).is_none() {
            // The address stands in EMAIL; what the value names is a principal of one server.
            self.losses.push(&content.name, value, Why::NoCounterpart, Done::Approximated(person.address.to_string()));
        } else if let Some(email) = content.param("EMAIL")
            && UserId::parse(email.trim()).ok().as_ref() != Some(&person.address)
        {
            self.losses.push(&content.name, &format!("EMAIL={email}"), Why::NoCounterpart, Done::LeftOut);
        }
        self.out.attendee(&params, person.name.as_deref(), &person.address);
    }

    /// STATUS, RSVP, EXPECT and TYPE.
    fn answer_params(&mut self, content: &Content, params: &mut String, owner: bool) {
        let word = |name: &str| content.param(name).map(|v| v.trim().to_ascii_uppercase()).filter(|v| !v.is_empty());
        let own = |name: &str| content.param(name).map(str::trim).filter(|v| !v.is_empty());
        self.status_param(content, params, word("PARTSTAT"), own(OWN_STATUS));
        match word("RSVP").as_deref() {
            Some("TRUE" | "YES") => params.push_str(";RSVP=YES"),
            Some(_) => params.push_str(";RSVP=NO"),
            None => own(OWN_RSVP).into_iter().for_each(|v| self.push_param(params, &content.name, "RSVP", v)),
        }
        if let Some(role) = word("ROLE").filter(|r| !owner || r != "OWNER") {
            match role.as_str() {
                "REQ-PARTICIPANT" if own(OWN_EXPECT).is_some_and(|e| e.eq_ignore_ascii_case("IMMEDIATE")) => {
                    params.push_str(";EXPECT=IMMEDIATE");
                }
                "REQ-PARTICIPANT" => params.push_str(";EXPECT=REQUIRE"),
                "OPT-PARTICIPANT" => params.push_str(";EXPECT=REQUEST"),
                "NON-PARTICIPANT" => params.push_str(";EXPECT=FYI"),
                "CHAIR" => params.push_str(";EXPECT=REQUIRE;X-CIP-ROLE=CHAIR"),
                other => self.push_param(params, &content.name, &format!("{}ROLE", lines::PARAMETER), other),
            }
        }
        let kind = word("CUTYPE").or_else(|| own(OWN_TYPE).map(str::to_owned));
        if let Some(kind) = kind {
            self.push_param(params, &content.name, "TYPE", &kind);
        }
    }

    fn status_param(&mut self, content: &Content, params: &mut String, status: Option<String>, own: Option<&str>) {
        let Some(status) = status else {
            // A word that is no answer in either format.
            let unread = own.filter(|o| people::part_stat(o).is_none());
            return unread.into_iter().for_each(|o| self.push_param(params, &content.name, "STATUS", o));
        };
        let Some(known) = people::part_stat(&status) else {
            return self.losses.push(&content.name, &format!("PARTSTAT={status}"), Why::NoCounterpart, Done::LeftOut);
        };
        let exact = own.filter(|o| o.eq_ignore_ascii_case("SENT") && status == "NEEDS-ACTION");
        params.push_str(";STATUS=");
        params.push_str(if exact.is_some() { "SENT" } else { known.vcalendar() });
        if status == "IN-PROCESS" {
            self.losses.push(&content.name, "PARTSTAT=IN-PROCESS", Why::NoCounterpart, Done::Approximated("CONFIRMED".to_owned()));
        }
    }
}

/// ROLE of an attendee. Who owns the event is never said by a carried word.
fn own_role(content: &Content) -> &'static str {
    match content.param(OWN_ROLE).map(str::trim) {
        Some(role) if role.eq_ignore_ascii_case("DELEGATE") => "DELEGATE",
        _ => "ATTENDEE",
    }
}
