//! One event, to-do or journal entry, property by property.

use std::rc::Rc;

use sha2::{Digest, Sha256};

use super::times::{self, By, Form, Given, When, ZoneUse};
use super::values::{self, Attached};
use super::{Done, Job, Reader, Restored, Why, alarms, lines, people, recurrence};
use crate::calendar::error::clip;
use crate::calendar::event::Format;
use crate::calendar::property::{Content, Document};
use crate::calendar::recur::ical;
use crate::calendar::text;
use crate::calendar::time;
use crate::calendar::writer::Writer;
use crate::calendar::zone::Zones;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Event,
    Todo,
    Journal,
    FreeBusy,
    /// A component of iCalendar that holds no people or times of its own.
    Known,
    Unknown,
}

impl Kind {
    pub fn of(name: &str) -> Self {
        match name {
            "VEVENT" => Self::Event,
            "VTODO" => Self::Todo,
            "VJOURNAL" => Self::Journal,
            "VFREEBUSY" => Self::FreeBusy,
            "VTIMEZONE" => Self::Known,
            _ => Self::Unknown,
        }
    }

    pub fn is_event(self) -> bool {
        matches!(self, Self::Event | Self::Todo | Self::Journal | Self::FreeBusy)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Todo => "VTODO",
            Self::Journal => "VJOURNAL",
            Self::FreeBusy => "VFREEBUSY",
            Self::Event | Self::Known | Self::Unknown => "VEVENT",
        }
    }
}

/// UID and RECURRENCE-ID out of X-CIP-SERIES.
pub(super) fn series(content: &Content) -> Option<(String, String)> {
    let value = text::readable(content, Format::VCalendar);
    let (uid, id) = value.rsplit_once(';')?;
    let (uid, id) = (uid.trim(), id.trim());
    (!uid.is_empty() && time::parse(id).is_some()).then(|| (uid.to_owned(), id.to_owned()))
}

/// What is known of a component while its lines are written.
pub(super) struct Part<'c> {
    pub kind: Kind,
    pub contents: &'c [Content],
    pub form: Form,
    pub start: Option<When>,
    /// Index of the line that `start` came from.
    start_line: Option<usize>,
    end: Option<(usize, When)>,
    pub summary: Option<String>,
    summary_line: Option<usize>,
    pub owner: Option<people::Owner>,
    pub uid: String,
    pub recurring: bool,
    /// Instances of the series that came as events of their own: their EXDATEs are theirs.
    pub moved: Vec<When>,
    /// Lines whose carried rule comes back, by index.
    pub restored_rules: Vec<usize>,
    /// RDATEs that a carried rule says.
    pub restored_dates: Vec<chrono::NaiveDateTime>,
    /// What is to be said in DESCRIPTION.
    pub notes: Vec<String>,
    /// Where DESCRIPTION goes in the body, its parameters and text.
    description: Option<(usize, String, String)>,
    /// Once-only properties that were written.
    seen: Vec<(&'c str, usize)>,
}

impl Part<'_> {
    /// What rules and alarms count from: the start, or the end of what has none.
    pub fn anchor(&self) -> Option<&When> {
        self.start.as_ref().or(self.end.as_ref().map(|(_, when)| when))
    }
}

impl Job<'_> {
    pub(super) fn component(&mut self, place: usize, kind: Kind) {
        let document = self.document;
        let of_event = |name: &str| place != 0 || !super::of_calendar(name);
        let contents: Vec<Content> = document.lines_of(place).filter(|(_, l)| of_event(&l.name)).map(|(_, l)| self.content(l)).collect();
        let outer = own_zones(&contents).filter(|_| place != 0).map(|own| std::mem::replace(&mut self.zones, Rc::new(own)));
        let mut part = self.part(&contents, kind);
        self.losses.uid = Some(part.uid.clone());
        self.body.line(&format!("BEGIN:{}", kind.name()));
        let uid = part.uid.clone();
        self.body.text("UID", &uid);
        self.stamp(&part);
        self.restored_rules(&mut part);
        for (index, content) in contents.iter().enumerate() {
            self.property(&mut part, index, content);
        }
        self.describe(&mut part);
        for child in std::mem::take(&mut self.children[place]) {
            let component = &document.components[child];
            match component.name.as_str() {
                "VALARM" => self.alarm_component(child),
                name if name.starts_with("X-") => self.copy(child),
                name if Kind::of(name).is_event() => {}
                name => {
                    let name = name.to_owned();
                    self.losses.push(&name, "", Why::NoCounterpart, Done::LeftOut);
                }
            }
        }
        self.write_alarms();
        self.body.line(&format!("END:{}", kind.name()));
        self.cancelled(&part);
        if let Some(outer) = outer {
            self.zones = outer;
        }
    }

    /// Instances of the series that were exceptions of their own, cancelled.
    fn cancelled(&mut self, part: &Part<'_>) {
        for content in part.contents.iter().filter(|c| c.name == lines::CANCELLED) {
            let value = text::readable(content, Format::VCalendar);
            let mut fields = value.split(';').map(str::trim);
            let id = fields.next().and_then(|id| Some(When { stamp: time::parse(id)?, zone: None }));
            let Some(id) = id.filter(|id| part.moved.contains(id)) else {
                self.losses.push(lines::CANCELLED, &value, Why::Contradiction, Done::LeftOut);
                continue;
            };
            let sequence = fields.next().and_then(|n| n.parse::<u32>().ok());
            let stamp = fields.next().and_then(time::parse).filter(|t| t.zulu).map(|t| format!("{}Z", time::basic_local(t.local())));
            let wall = part.form.wall(&id, &self.zones);
            self.body.line(&format!("BEGIN:{}", part.kind.name()));
            self.body.text("UID", &part.uid);
            self.body.line(&format!("DTSTAMP:{}", stamp.unwrap_or_else(|| time::basic_utc(self.options.now))));
            self.body.line(&part.form.line("RECURRENCE-ID", wall));
            self.body.line(&part.form.line("DTSTART", wall));
            if let Some(sequence) = sequence {
                self.body.line(&format!("SEQUENCE:{sequence}"));
            }
            self.body.line("STATUS:CANCELLED");
            self.body.line(&format!("END:{}", part.kind.name()));
        }
    }

    /// What must be known before the first line is written.
    fn part<'c>(&mut self, contents: &'c [Content], kind: Kind) -> Part<'c> {
        let find = |names: &[&str]| {
            contents.iter().enumerate().filter(|(_, c)| names.contains(&c.name.as_str())).find_map(|(i, c)| Some((i, When::read(c)?)))
        };
        let start = find(&["DTSTART"]);
        let end = find(if kind == Kind::Todo { &["DUE", "DTEND"] } else { &["DTEND", "DUE"] });
        let rule = |c: &Content| match c.name.as_str() {
            "RRULE" => recurrence::is_rule(&text::raw(c)),
            "RDATE" => !c.value.is_empty(),
            lines::OF_ICALENDAR => text::raw(c).get(..5).is_some_and(|p| p.eq_ignore_ascii_case("RRULE")),
            _ => false,
        };
        let recurring = contents.iter().any(rule);
        let zone = contents.iter().find(|c| c.name == lines::ZONE).map(|c| text::readable(c, Format::VCalendar)).filter(|z| !z.is_empty());
        // A to-do may have its DUE alone.
        let anchor = start.as_ref().or(end.as_ref()).map(|(_, w)| w);
        let given = Given {
            start: anchor,
            end: end.as_ref().map(|(_, w)| w),
            todo: kind == Kind::Todo,
            recurring: recurring && start.is_some(),
            whole_days: contents.iter().any(says_whole_days),
            zone: zone.as_deref(),
        };
        let mut lost_zone = false;
        let startless = start.is_none() && kind != Kind::Todo;
        let (mut form, contradicts) = Form::of(&given, &self.zones);
        self.distinguish(&mut form);
        if let Some(at) = anchor.map(|a| form.wall(a, &self.zones))
            && (startless || !self.has_rules(&form, at))
        {
            // An end alone needs no zone.
            form = if matches!(form, Form::Zone { .. }) { Form::Utc } else { form };
            lost_zone = recurring && !startless;
        }
        let named = |name: &str| contents.iter().enumerate().rev().find(|(_, c)| c.name == name && !c.value.is_empty()).map(|(i, _)| i);
        let summary_line = named("SUMMARY").or_else(|| contents.iter().position(|c| c.name == "SUBJECT"));
        let (uid, moved) = self.identity(contents);
        if lost_zone {
            self.losses.uid = Some(uid.clone());
            self.losses.push("TZ", zone.as_deref().unwrap_or_default(), Why::Zone, Done::Approximated("UTC".to_owned()));
        }
        if contradicts {
            self.losses.uid = Some(uid.clone());
            self.losses.push(lines::ZONE, zone.as_deref().unwrap_or_default(), Why::Contradiction, Done::LeftOut);
        }
        Part {
            kind,
            contents,
            form,
            start_line: start.as_ref().map(|(i, _)| *i),
            start: start.map(|(_, w)| w),
            end,
            summary: summary_line.map(|i| text::readable(&contents[i], self.document.format)),
            summary_line,
            owner: people::owner(contents),
            uid,
            recurring,
            moved,
            restored_rules: Vec::new(),
            restored_dates: Vec::new(),
            notes: Vec::new(),
            description: None,
            seen: Vec::new(),
        }
    }

    /// Whether a VTIMEZONE can say the zone. An unknown one stays what it is, for its reader to know it.
    fn has_rules(&self, form: &Form, at: chrono::NaiveDateTime) -> bool {
        let Form::Zone { id, by } = form else { return true };
        if *by == By::Nobody || self.used.contains_key(id) || self.given.contains(&id.to_lowercase()) {
            return true;
        }
        !ZoneUse::new(*by, at, Rc::clone(&self.zones)).lines(id).is_empty()
    }

    /// Two events with zones of their own may have the same offsets on different days of the year.
    fn distinguish(&self, form: &mut Form) {
        let Form::Zone { id, by: By::Rules } = form else { return };
        let name = id.clone();
        let mut count = 1;
        while self.used.get(id).is_some_and(|used| !used.is_of(&self.zones)) {
            count += 1;
            *id = format!("{name}-{count}");
        }
    }

    /// The UID, and which instances of this series are events of their own.
    fn identity(&mut self, contents: &[Content]) -> (String, Vec<When>) {
        if let Some((uid, _)) = contents.iter().find(|c| c.name == lines::SERIES).and_then(series) {
            return (uid, Vec::new());
        }
        let uid = contents.iter().filter(|c| c.name == "UID").map(|c| text::unescape(&text::raw(c), false));
        let uid = uid.map(|u| u.trim().to_owned()).find(|u| !u.is_empty());
        let Some(uid) = uid else {
            let uid = self.derived_uid(contents);
            self.losses.uid = Some(uid.clone());
            self.losses.push("UID", "", Why::Required, Done::Approximated(uid.clone()));
            return (uid, Vec::new());
        };
        let own = contents.iter().filter(|c| c.name == lines::CANCELLED).map(|c| text::readable(c, Format::VCalendar));
        let own = own.filter_map(|v| v.split(';').next().map(|id| id.trim().to_owned()));
        let ids: Vec<String> = self.series.get(&uid).into_iter().flatten().cloned().chain(own).collect();
        let moved = ids.iter().filter_map(|id| Some(When { stamp: time::parse(id)?, zone: None })).collect();
        (uid, moved)
    }

    /// The same content always gets the same UID; the same content again in one object gets another.
    fn derived_uid(&mut self, contents: &[Content]) -> String {
        let mut hash = Sha256::new();
        for content in contents.iter().filter(|c| !matches!(c.name.as_str(), "DTSTAMP" | "UID") && !c.name.starts_with(lines::PARAMETER)) {
            hash.update(content.name.as_bytes());
            hash.update(b":");
            hash.update(&content.value);
            hash.update(b"\n");
        }
        let digest: [u8; 32] = hash.finalize().into();
        let count = self.nameless.entry(digest).or_default();
        *count += 1;
        let hex: String = digest[..16].iter().map(|b| format!("{b:02x}")).collect();
        if *count == 1 { format!("{hex}@vcalendar.invalid") } else { format!("{hex}-{count}@vcalendar.invalid") }
    }

    /// DTSTAMP, which iCalendar requires.
    fn stamp(&mut self, part: &Part<'_>) {
        let at = ["DTSTAMP", "LAST-MODIFIED", "DCREATED", "CREATED"].iter().find_map(|name| {
            let content = part.contents.iter().find(|c| c.name == *name)?;
            let when = When::read(content)?;
            Some(times::instant(&when, &self.zones).unwrap_or_else(|| when.stamp.local()))
        });
        match at {
            Some(utc) => self.body.line(&format!("DTSTAMP:{}Z", time::basic_local(utc))),
            None => self.body.line(&format!("DTSTAMP:{}", time::basic_utc(self.options.now))),
        }
    }

    /// Whether a once-only property comes again; what says something else then is listed.
    fn again<'c>(&mut self, part: &mut Part<'c>, index: usize, content: &'c Content) -> bool {
        let Some(&(_, first)) = part.seen.iter().find(|(n, _)| *n == content.name) else {
            part.seen.push((&content.name, index));
            return false;
        };
        if part.contents[first].value != content.value && !content.value.is_empty() {
            self.losses.push(&content.name, &text::raw(content), Why::OnlyOne, Done::LeftOut);
        }
        true
    }

    fn property<'c>(&mut self, part: &mut Part<'c>, index: usize, content: &'c Content) {
        let name = content.name.as_str();
        match name {
            // Written already, or said by what is written.
            "UID" | "DTSTAMP" | "RNUM" | lines::CANCELLED | "BEGIN" | "END" | "PRODID" | "VERSION" | lines::ZONE => {}
            "TZ" | "DAYLIGHT" if self.zones.local.is_some() || content.value.is_empty() => {}
            "SUMMARY" | "SUBJECT" => self.summary(part, index, content),
            "DESCRIPTION" => self.description(part, content),
            "LOCATION" | "COMMENT" | "CONTACT" | "RELATED-TO" => self.text(part, index, content),
            "DTSTART" | "DTEND" | "DUE" => self.moment(part, index, content),
            "DURATION" => self.duration(part, content),
            "RECURRENCE-ID" => self.recurrence_id(part, content),
            lines::SERIES => self.recurrence_id(part, content),
            "RRULE" | "EXRULE" if !content.value.is_empty() => self.rule(part, content),
            "RDATE" | "EXDATE" if !content.value.is_empty() => self.dates(part, content),
            "RRULE" | "EXRULE" | "RDATE" | "EXDATE" => {}
            "ATTENDEE" | "ORGANIZER" => self.attendee(part, index, content),
            "DALARM" | "AALARM" | "MALARM" | "PALARM" => self.alarm(part, content),
            "ATTACH" => self.attachment(part, content),
            lines::OF_ICALENDAR => self.restore_in_event(part, index, content),
            "CATEGORIES" | "RESOURCES" => {
                let list = values::list(&text::raw(content));
                if !list.is_empty() {
                    self.body.line(&format!("{name}{}:{list}", values::params(content)));
                }
            }
            "" => self.losses.push("", &text::raw(content), Why::Unreadable, Done::LeftOut),
            name if name.starts_with("X-") => {
                let mut out = std::mem::take(&mut self.body);
                self.extension(content, &mut out);
                self.body = out;
            }
            _ => self.word(part, index, content),
        }
    }

    /// A line that iCalendar has no place for: carried.
    pub(super) fn carry_here(&mut self, content: &Content, why: Why) {
        let mut out = std::mem::take(&mut self.body);
        self.carry(content, why, &mut out);
        self.body = out;
    }

    fn restore_in_event(&mut self, part: &Part<'_>, index: usize, content: &Content) {
        if let Some(alarm) = alarms::carried(content) {
            return self.add_alarm(&alarm);
        }
        if let Some(rule) = recurrence::carried_rule(content) {
            // See `restored_rules`.
            if part.restored_rules.contains(&index) {
                self.body.line(&format!("RRULE:{rule}"));
            }
            return;
        }
        if let Some(Restored::Refining { name, line }) = lines::restored(&text::readable(content, Format::VCalendar)) {
            // A word that vCalendar does not have, and nothing near it; or dates left out that no rule of it says.
            let exclusion = || line.split_once(':').is_some_and(|(_, rule)| ical::Rule::parse(rule).is_ok());
            let comes_back = if name == "EXRULE" { part.recurring && exclusion() } else { !part.contents.iter().any(|c| c.name == name) };
            if comes_back {
                return self.body.line(&line);
            }
        }
        let mut out = std::mem::take(&mut self.body);
        self.restore(content, &mut out);
        self.body = out;
    }

    /// Properties of one word, number or time.
    fn word<'c>(&mut self, part: &mut Part<'c>, index: usize, content: &'c Content) {
        let raw = text::raw(content);
        let value = raw.trim();
        if value.is_empty() || self.again(part, index, content) {
            return;
        }
        let todo = part.kind == Kind::Todo;
        let number = || value.parse::<u32>().ok();
        let written = match content.name.as_str() {
            "SEQUENCE" => number().filter(|n| *n <= i32::MAX.unsigned_abs()).map(|n| format!("SEQUENCE:{}", n.saturating_sub(1))),
            "RESPONSE-SEQUENCE" => number().map(|n| format!("RESPONSE-SEQUENCE:{n}")),
            "CLASS" => match values::word(value) {
                Some(word) => Some(format!("CLASS:{word}")),
                None => {
                    self.body.line("CLASS:PRIVATE");
                    return self.carry_here(content, Why::Unreadable);
                }
            },
            "PRIORITY" => match number() {
                Some(n) if n > 9 => {
                    self.body.line("PRIORITY:9");
                    return self.carry_here(content, Why::NoCounterpart);
                }
                n => n.map(|n| format!("PRIORITY:{n}")),
            },
            "TRANSP" if part.kind == Kind::Event => match value.to_ascii_uppercase().as_str() {
                "0" | "OPAQUE" => Some("TRANSP:OPAQUE".to_owned()),
                "1" | "TRANSPARENT" => Some("TRANSP:TRANSPARENT".to_owned()),
                _ if number().is_some() => {
                    self.body.line("TRANSP:TRANSPARENT");
                    return self.carry_here(content, Why::NoCounterpart);
                }
                _ => None,
            },
            "TRANSP" => return self.carry_here(content, Why::NoCounterpart),
            "STATUS" => return self.status(content, value, todo),
            "GEO" => values::geo(value).map(|geo| format!("GEO:{geo}")),
            "URL" => (!value.contains(char::is_whitespace)).then(|| format!("URL:{value}")),
            "LAST-MODIFIED" => return self.utc("LAST-MODIFIED", content),
            "DCREATED" | "CREATED" => return self.utc("CREATED", content),
            "COMPLETED" if todo => return self.utc("COMPLETED", content),
            name if is_icalendar(name) => Some(format!("{name}{}:{value}", values::params(content))),
            _ => return self.carry_here(content, Why::NoCounterpart),
        };
        match written {
            Some(line) => self.body.line(&line),
            None => self.carry_here(content, Why::Unreadable),
        }
    }

    /// STATUS in the words that its component has; what says more is carried beside it (bridge 2).
    fn status(&mut self, content: &Content, value: &str, todo: bool) {
        let word: String = value.chars().filter(|c| !matches!(c, ' ' | '-' | '_')).map(|c| c.to_ascii_uppercase()).collect();
        let (written, exact) = match (word.as_str(), todo) {
            ("CANCELLED" | "CANCELED", _) => ("CANCELLED", true),
            ("TENTATIVE", false) => ("TENTATIVE", true),
            ("CONFIRMED", false) => ("CONFIRMED", true),
            ("ACCEPTED", false) => ("CONFIRMED", false),
            ("NEEDSACTION", true) => ("NEEDS-ACTION", true),
            ("SENT", true) => ("NEEDS-ACTION", false),
            ("COMPLETED", true) => ("COMPLETED", true),
            ("INPROCESS", true) => ("IN-PROCESS", true),
            ("ACCEPTED" | "CONFIRMED", true) => ("IN-PROCESS", false),
            _ => ("", false),
        };
        if !written.is_empty() {
            self.body.line(&format!("STATUS:{written}"));
        }
        if !exact {
            self.carry_here(content, Why::NoCounterpart);
        }
    }

    /// A property that iCalendar wants in UTC; a local time without zone is read as UTC.
    fn utc(&mut self, name: &str, content: &Content) {
        let Some(when) = When::read(content) else { return self.carry_here(content, Why::Unreadable) };
        let at = times::instant(&when, &self.zones);
        let value = time::basic_local(at.unwrap_or_else(|| when.stamp.local()));
        if at.is_none() {
            self.losses.push(&content.name, &text::raw(content), Why::Zone, Done::Approximated(format!("{value}Z")));
        }
        self.body.line(&format!("{name}:{value}Z"));
    }

    fn summary<'c>(&mut self, part: &mut Part<'c>, index: usize, content: &'c Content) {
        if part.summary_line == Some(index) {
            let (params, value) = (values::params(content), text::escape(part.summary.as_deref().unwrap_or_default()));
            self.body.line(&format!("SUMMARY{params}:{value}"));
        } else if !content.value.is_empty() && part.summary_line.is_none_or(|i| part.contents[i].value != content.value) {
            self.losses.push(&content.name, &text::raw(content), Why::OnlyOne, Done::LeftOut);
        }
    }

    fn description<'c>(&mut self, part: &mut Part<'c>, content: &'c Content) {
        let value = text::readable(content, self.document.format);
        match &part.description {
            Some((_, _, first)) if !first.is_empty() => {
                if *first != value && !value.is_empty() {
                    self.losses.push("DESCRIPTION", &value, Why::OnlyOne, Done::LeftOut);
                }
            }
            Some((at, ..)) => part.description = Some((*at, values::params(content), value)),
            None => part.description = Some((self.body.0.len(), values::params(content), value)),
        }
    }

    /// Writes DESCRIPTION with what a person would miss, where it stood.
    fn describe(&mut self, part: &mut Part<'_>) {
        let notes = if self.options.notes { part.notes.join("; ") } else { String::new() };
        let (at, params, mut value) = match part.description.take() {
            Some(description) => description,
            None if notes.is_empty() => return,
            None => (self.body.0.len(), String::new(), String::new()),
        };
        if !notes.is_empty() {
            let notes = format!("Not shown in your calendar: {notes}");
            // It may have been said at an earlier translation.
            if !value.ends_with(&notes) {
                value.push_str(if value.is_empty() { "" } else { "\n\n" });
                value.push_str(&notes);
            }
        }
        let mut out = Writer::default();
        out.line(&format!("DESCRIPTION{params}:{}", text::escape(&value)));
        let rest = self.body.0.split_off(at);
        self.body.0.extend_from_slice(&out.0);
        self.body.0.extend_from_slice(&rest);
    }

    fn text<'c>(&mut self, part: &mut Part<'c>, index: usize, content: &'c Content) {
        let often = matches!(content.name.as_str(), "COMMENT" | "CONTACT" | "RELATED-TO");
        if !often && (content.value.is_empty() || self.again(part, index, content)) {
            return;
        }
        let value = text::escape(&text::readable(content, self.document.format));
        if !value.is_empty() {
            self.body.line(&format!("{}{}:{value}", content.name, values::params(content)));
        }
    }

    pub(super) fn uses(&mut self, form: &Form, at: chrono::NaiveDateTime) {
        let Form::Zone { id, by } = form else { return };
        if let Some(used) = self.used.get_mut(id) {
            return used.widen(at);
        }
        self.used.insert(id.clone(), ZoneUse::new(*by, at, Rc::clone(&self.zones)));
    }

    fn moment<'c>(&mut self, part: &mut Part<'c>, index: usize, content: &'c Content) {
        if content.name == "DTSTART" && part.start_line == Some(index) {
            let Some(start) = &part.start else { return };
            let (wall, form) = (part.form.wall(start, &self.zones), part.form.clone());
            if let Form::Zone { id, by: By::Nobody } = &form {
                self.losses.push("DTSTART", id, Why::Zone, Done::Approximated("a zone without rules".to_owned()));
            }
            self.uses(&form, wall);
            self.body.line(&form.line("DTSTART", wall));
            return;
        }
        if let Some((_, end)) = part.end.clone().filter(|(i, _)| *i == index) {
            self.end(part, content, &end);
            return;
        }
        let first = if content.name == "DTSTART" { part.start.as_ref() } else { part.end.as_ref().map(|(_, w)| w) };
        if content.value.is_empty() || first.is_some() && When::read(content).as_ref() == first {
            return;
        }
        let raw = text::raw(content);
        match first {
            Some(_) => self.losses.push(&content.name, &raw, Why::OnlyOne, Done::LeftOut),
            None => self.unreadable(part, content, &format!("the time \"{}\", which cannot be read", clip(raw.trim()))),
        }
    }

    /// Lists what cannot be read, and says it to people.
    pub(super) fn unreadable(&mut self, part: &mut Part<'_>, content: &Content, note: &str) {
        let done = if self.options.notes { Done::Said } else { Done::LeftOut };
        self.losses.push(&content.name, &text::raw(content), Why::Unreadable, done);
        part.notes.push(note.to_owned());
    }

    fn end(&mut self, part: &Part<'_>, content: &Content, end: &When) {
        let name = if part.kind == Kind::Todo { "DUE" } else { "DTEND" };
        let Some(start) = &part.start else {
            // A to-do with its DUE alone; an event cannot end without having started.
            let wall = part.form.wall(end, &self.zones);
            self.uses(&part.form, wall);
            return self.body.line(&part.form.line(name, wall));
        };
        let starts = part.form.wall(start, &self.zones);
        if part.form == Form::Date {
            let after = if part.kind == Kind::Todo && start.stamp.has_time { None } else { times::day_after(end) };
            let whole =
                !end.stamp.has_time || end.stamp.time == chrono::NaiveTime::MIN || end.stamp.local().format("%H%M").to_string() == "2359";
            match after.filter(|a| whole && *a >= starts) {
                // A day that ends on itself is what the date alone says.
                Some(after) if after == starts && part.kind != Kind::Todo => {}
                Some(after) => self.body.line(&part.form.line(name, after)),
                None => self.losses.push(&content.name, &text::raw(content), Why::Contradiction, Done::LeftOut),
            }
            return;
        }
        let wall = part.form.wall(end, &self.zones);
        if !end.stamp.has_time || self.before(part, end, start) {
            return self.losses.push(&content.name, &text::raw(content), Why::Contradiction, Done::LeftOut);
        }
        let floats = times::instant(end, &self.zones).is_none();
        match &part.form {
            Form::Utc if floats => self.body.line(&Form::Floating.line(name, wall)),
            Form::Floating if !floats => self.body.line(&Form::Utc.line(name, end_utc(end, self))),
            form => {
                self.uses(form, wall);
                self.body.line(&form.line(name, wall));
            }
        }
    }

    fn before(&self, part: &Part<'_>, end: &When, start: &When) -> bool {
        match (times::instant(end, &self.zones), times::instant(start, &self.zones)) {
            (Some(end), Some(start)) => end < start,
            _ => part.form.wall(end, &self.zones) < part.form.wall(start, &self.zones),
        }
    }

    fn duration(&mut self, part: &Part<'_>, content: &Content) {
        let raw = text::raw(content);
        match time::duration_seconds(&raw) {
            Some(_) if part.end.is_some() => self.losses.push("DURATION", &raw, Why::OnlyOne, Done::LeftOut),
            Some(seconds) if seconds >= 0 => self.body.line(&format!("DURATION:{}", alarms::duration(seconds))),
            _ => self.carry_here(content, Why::Unreadable),
        }
    }

    fn recurrence_id(&mut self, part: &Part<'_>, content: &Content) {
        let when = if content.name == lines::SERIES {
            series(content).and_then(|(_, id)| Some(When { stamp: time::parse(&id)?, zone: None }))
        } else {
            When::read(content)
        };
        let Some(when) = when else { return self.carry_here(content, Why::Unreadable) };
        let wall = part.form.wall(&when, &self.zones);
        let form = match &part.form {
            // An instance that was a day and now has a time, or the other way round, keeps its own name.
            Form::Date if when.stamp.has_time && when.stamp.zulu => Form::Utc,
            Form::Date if when.stamp.has_time => Form::Floating,
            _ if !when.stamp.has_time => Form::Date,
            Form::Floating if when.stamp.zulu => Form::Utc,
            form => form.clone(),
        };
        let wall = if matches!(part.form, Form::Date) { when.stamp.local() } else { wall };
        self.uses(&form, wall);
        let range = content
            .param("RANGE")
            .or_else(|| content.param("X-CIP-RANGE"))
            .filter(|r| r.eq_ignore_ascii_case("THISANDFUTURE"))
            .map_or("", |_| ";RANGE=THISANDFUTURE");
        self.body.line(&format!("{}{range}:{}", form.head("RECURRENCE-ID"), form.value(wall)));
    }

    fn attachment(&mut self, part: &mut Part<'_>, content: &Content) {
        if content.value.is_empty() {
            return;
        }
        let decoded = text::raw(content);
        let params = values::params(content);
        match values::attached(&content.params, &content.value, &decoded) {
            Some(Attached::Uri(uri)) => self.body.line(&format!("ATTACH{params}:{uri}")),
            Some(Attached::Binary(data, kind)) => {
                let kind = kind.filter(|_| content.param("FMTTYPE").is_none()).map(|k| format!(";FMTTYPE={k}")).unwrap_or_default();
                self.body.line(&format!("ATTACH{params}{kind};ENCODING=BASE64;VALUE=BINARY:{data}"));
            }
            Some(Attached::File(uri)) => {
                self.body.line(&format!("ATTACH{params}:{uri}"));
                self.losses.push("ATTACH", &decoded, Why::NoCounterpart, Done::Approximated(uri));
            }
            None if self.reader == Reader::Anybody => self.carry_here(content, Why::Unreadable),
            None => self.unreadable(part, content, "an attachment"),
        }
    }
}

fn end_utc(end: &When, job: &Job<'_>) -> chrono::NaiveDateTime {
    times::instant(end, &job.zones).unwrap_or_else(|| end.stamp.local())
}

/// TZ and DAYLIGHT inside the event, as some software has them.
fn own_zones(contents: &[Content]) -> Option<Zones> {
    let rules = || contents.iter().filter(|c| matches!(c.name.as_str(), "TZ" | "DAYLIGHT"));
    rules().find(|c| c.name == "TZ")?;
    let mut octets = b"BEGIN:VCALENDAR\r\nVERSION:1.0\r\n".to_vec();
    for content in rules() {
        octets.extend_from_slice(content.name.as_bytes());
        octets.push(b':');
        octets.extend_from_slice(&content.value);
        octets.extend_from_slice(b"\r\n");
    }
    let zones = Zones::read(&mut Document::parse(octets).ok()?);
    zones.local.is_some().then_some(zones)
}

/// Marks that software sets on an event of whole days.
fn says_whole_days(content: &Content) -> bool {
    let says = |words: &[&str]| words.iter().any(|w| text::raw(content).trim().eq_ignore_ascii_case(w));
    match content.name.as_str() {
        "X-FUNAMBOL-ALLDAY" | "X-ALLDAY" => says(&["1", "TRUE"]),
        "X-MICROSOFT-CDO-ALLDAYEVENT" => says(&["TRUE"]),
        "X-EPOCAGENDAENTRYTYPE" => says(&["ANNIVERSARY", "EVENT"]),
        _ => false,
    }
}

/// Registered properties of iCalendar that vCalendar does not have and that some of its writers use all the same: their
/// values stay as they are.
fn is_icalendar(name: &str) -> bool {
    matches!(
        name,
        "PERCENT-COMPLETE"
            | "REQUEST-STATUS"
            | "FREEBUSY"
            | "COLOR"
            | "IMAGE"
            | "CONFERENCE"
            | "NAME"
            | "REFRESH-INTERVAL"
            | "SOURCE"
            | "ACKNOWLEDGED"
    )
}
