//! How four mail programs write: the objects and the mails of Outlook with Exchange, Gmail, Apple Mail and Thunderbird as
//! they differ in the world. Sources: bridge 4 and 6, and mails that people published; the texts here are written for
//! these scenarios.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::calendar::Event;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// UTC offsets by a Windows zone with a VTIMEZONE, base64, `MAILTO:`, and a REPLY without ORGANIZER.
    Outlook,
    /// UTC, text/calendar nested in a multipart/mixed beside an attachment, X-NUM-GUESTS, `Sender` of its own.
    Gmail,
    /// The object is an attachment in quoted-printable whose MIME type has no method.
    Apple,
    /// An IANA zone with its VTIMEZONE, 8bit, the attachment repeats the object.
    Thunderbird,
}

pub const SHAPES: [Shape; 4] = [Shape::Outlook, Shape::Gmail, Shape::Apple, Shape::Thunderbird];

/// Who writes, and when.
pub struct Writer<'a> {
    pub shape: Shape,
    pub address: &'a str,
    pub name: &'a str,
    /// Counted by this person's mails, for DTSTAMP and Message-ID.
    pub tick: u32,
}

/// What an attendee says.
pub struct Saying<'a> {
    pub uid: &'a str,
    pub event: &'a Event,
    pub partstat: &'a str,
    /// Another time, which makes it a COUNTER.
    pub proposed: Option<(&'a str, &'a str)>,
    pub comment: &'a str,
}

impl Shape {
    /// Whether it can write a COUNTER. With the others a person answers in words.
    pub fn counters(self) -> bool {
        matches!(self, Self::Outlook | Self::Gmail)
    }

    pub fn uid(self, n: usize) -> String {
        match self {
            Self::Outlook => format!("040000008200E00074C5B7101A82E00800000000C05145B31939C9010000000000000000{n:032X}"),
            Self::Gmail => format!("{n:026x}@google.com"),
            Self::Apple => format!("1E71F9C8-AEDA-48EB-98D0-{n:012X}"),
            Self::Thunderbird => format!("0f1a2b3c-4d5e-4f60-8a7b-{n:012x}"),
        }
    }

    fn prodid(self) -> &'static str {
        match self {
            Self::Outlook => "Microsoft Exchange Server 2010",
            Self::Gmail => "-//Google Inc//Google Calendar 70.9054//EN",
            Self::Apple => "-//Apple Inc.//macOS 14.5//EN",
            Self::Thunderbird => "-//Mozilla.org/NONSGML Mozilla Calendar V1.1//EN",
        }
    }

    /// `;TZID=…:local` or `:UTC`.
    fn time(self, utc: &str) -> String {
        let zone = match self {
            Self::Outlook => "W. Europe Standard Time",
            Self::Gmail => return format!(":{utc}"),
            Self::Apple | Self::Thunderbird => "Europe/Berlin",
        };
        let time = chrono::NaiveDateTime::parse_from_str(utc, "%Y%m%dT%H%M%SZ").unwrap() + chrono::TimeDelta::hours(1);
        format!(";TZID={zone}:{}", time.format("%Y%m%dT%H%M%S"))
    }

    fn zone(self) -> &'static str {
        match self {
            Self::Outlook => {
                "BEGIN:VTIMEZONE\nTZID:W. Europe Standard Time\n\
                 BEGIN:STANDARD\nDTSTART:16010101T030000\nTZOFFSETFROM:+0200\nTZOFFSETTO:+0100\n\
                 RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=10\nEND:STANDARD\n\
                 BEGIN:DAYLIGHT\nDTSTART:16010101T020000\nTZOFFSETFROM:+0100\nTZOFFSETTO:+0200\n\
                 RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=3\nEND:DAYLIGHT\nEND:VTIMEZONE\n"
            }
            Self::Gmail => "",
            Self::Apple | Self::Thunderbird => {
                "BEGIN:VTIMEZONE\nTZID:Europe/Berlin\n\
                 BEGIN:DAYLIGHT\nTZOFFSETFROM:+0100\nTZOFFSETTO:+0200\nTZNAME:CEST\nDTSTART:19700329T020000\n\
                 RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3\nEND:DAYLIGHT\n\
                 BEGIN:STANDARD\nTZOFFSETFROM:+0200\nTZOFFSETTO:+0100\nTZNAME:CET\nDTSTART:19701025T030000\n\
                 RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10\nEND:STANDARD\nEND:VTIMEZONE\n"
            }
        }
    }

    fn mailto(self) -> &'static str {
        if matches!(self, Self::Outlook) { "MAILTO:" } else { "mailto:" }
    }
}

impl Writer<'_> {
    fn stamp(&self) -> String {
        format!("20261122T12{:02}{:02}Z", self.tick / 60, self.tick % 60)
    }

    /// A state of an event of the writer's own: a REQUEST or a CANCEL.
    pub fn state(&self, uid: &str, event: &Event) -> (String, Vec<u8>) {
        let method = if event.cancelled { "CANCEL" } else { "REQUEST" };
        let mailto = self.shape.mailto();
        let mut text = self.head(method);
        text.push_str(&format!("ORGANIZER;CN={}:{mailto}{}\n", self.name, self.address));
        for (address, status) in &event.attendees {
            text.push_str(&format!("ATTENDEE;ROLE=REQ-PARTICIPANT;PARTSTAT={status};RSVP=TRUE;CN={address}:{mailto}{address}\n"));
        }
        let language = if self.shape == Shape::Outlook { ";LANGUAGE=en-US" } else { "" };
        text.push_str(&format!("UID:{uid}\nSUMMARY{language}:{}\n", event.summary));
        self.times(&mut text, &event.start, &event.end);
        let status = if event.cancelled { "CANCELLED" } else { "CONFIRMED" };
        text.push_str(&format!("SEQUENCE:{}\nSTATUS:{status}\nTRANSP:OPAQUE\nEND:VEVENT\nEND:VCALENDAR\n", event.sequence));
        let subject = if event.cancelled { format!("Canceled: {}", event.summary) } else { event.summary.clone() };
        let to: Vec<&str> = event.attendees.keys().map(String::as_str).collect();
        (text.clone(), self.mail(method, &subject, &to.join(", "), &text))
    }

    /// An answer or a proposal.
    pub fn saying(&self, say: &Saying<'_>) -> Vec<u8> {
        let method = if say.proposed.is_some() { "COUNTER" } else { "REPLY" };
        let (event, shape) = (say.event, self.shape);
        let mailto = shape.mailto();
        let mut text = self.head(method);
        // Outlook leaves ORGANIZER out of its answers (bridge 4).
        if shape != Shape::Outlook {
            text.push_str(&format!("ORGANIZER;CN=The organizer:{mailto}{}\n", event.organizer));
        }
        let parameters = match shape {
            Shape::Outlook => format!("PARTSTAT={};CN={}", say.partstat, self.name),
            Shape::Gmail => format!("CUTYPE=INDIVIDUAL;ROLE=REQ-PARTICIPANT;PARTSTAT={};CN={};X-NUM-GUESTS=0", say.partstat, self.address),
            Shape::Apple => format!("CN=\"{}\";CUTYPE=INDIVIDUAL;EMAIL=\"{}\";PARTSTAT={}", self.name, self.address, say.partstat),
            Shape::Thunderbird => format!("CN=\"{}\";PARTSTAT={};CUTYPE=INDIVIDUAL;ROLE=REQ-PARTICIPANT", self.name, say.partstat),
        };
        text.push_str(&format!("ATTENDEE;{parameters}:{mailto}{}\n", self.address));
        if !say.comment.is_empty() {
            text.push_str(&format!("COMMENT:{}\n", say.comment));
        }
        let verb = match (say.proposed, say.partstat) {
            (Some(_), _) => "New Time Proposed",
            (None, "ACCEPTED") => "Accepted",
            (None, "DECLINED") => "Declined",
            _ => "Tentative",
        };
        let summary = if shape == Shape::Outlook { format!("{verb}: {}", event.summary) } else { event.summary.clone() };
        text.push_str(&format!("UID:{}\nSUMMARY:{summary}\n", say.uid));
        let (start, end) = say.proposed.unwrap_or((&event.start, &event.end));
        self.times(&mut text, start, end);
        text.push_str(&format!("SEQUENCE:{}\nSTATUS:CONFIRMED\nEND:VEVENT\nEND:VCALENDAR\n", event.sequence));
        self.mail(method, &format!("{verb}: {}", event.summary), &event.organizer, &text)
    }

    /// Words of a person's own.
    pub fn words(&self, to: &str, words: &str) -> Vec<u8> {
        let head = self.header("Re: your invitation", to);
        format!("{head}Content-Type: text/plain; charset=UTF-8\n\n{words}\n").replace('\n', "\r\n").into_bytes()
    }

    fn head(&self, method: &str) -> String {
        let (zone, prodid, stamp) = (self.shape.zone(), self.shape.prodid(), self.stamp());
        format!("BEGIN:VCALENDAR\nMETHOD:{method}\nPRODID:{prodid}\nVERSION:2.0\n{zone}BEGIN:VEVENT\nDTSTAMP:{stamp}\n")
    }

    fn times(&self, text: &mut String, start: &str, end: &str) {
        text.push_str(&format!("DTSTART{}\nDTEND{}\n", self.shape.time(start), self.shape.time(end)));
    }

    fn header(&self, subject: &str, to: &str) -> String {
        let sender = if self.shape == Shape::Gmail { "Sender: Google Calendar <calendar-notification@google.com>\n" } else { "" };
        format!(
            "From: {} <{}>\n{sender}To: {to}\nSubject: {subject}\nMessage-ID: <{}.{}>\nDate: Sun, 22 Nov 2026 12:00:00 +0000\nMIME-Version: 1.0\n",
            self.name, self.address, self.tick, self.address
        )
    }

    fn mail(&self, method: &str, subject: &str, to: &str, object: &str) -> Vec<u8> {
        let object = object.replace('\n', "\r\n");
        let body = match self.shape {
            Shape::Outlook => format!(
                "Content-Type: multipart/alternative;\n\tboundary=\"_000_OUT_\"\n\n\
                 --_000_OUT_\nContent-Type: text/plain; charset=\"iso-8859-1\"\nContent-Transfer-Encoding: quoted-printable\n\n=20\n\
                 --_000_OUT_\nContent-Type: text/calendar; charset=\"utf-8\"; method={method}\nContent-Transfer-Encoding: base64\n\n{}\n\
                 --_000_OUT_--\n",
                base64_lines(&object)
            ),
            Shape::Gmail => format!(
                "Content-Type: multipart/mixed; boundary=\"gm1\"\n\n\
                 --gm1\nContent-Type: multipart/alternative; boundary=\"gm2\"\n\n\
                 --gm2\nContent-Type: text/plain; charset=\"UTF-8\"; format=flowed; delsp=yes\nContent-Transfer-Encoding: base64\n\nSGVsbG8=\n\
                 --gm2\nContent-Type: text/html; charset=\"UTF-8\"\nContent-Transfer-Encoding: quoted-printable\n\n<p>Hello</p>\n\
                 --gm2\nContent-Type: text/calendar; charset=\"UTF-8\"; method={method}\nContent-Transfer-Encoding: 7bit\n\n{object}\n\
                 --gm2--\n\
                 --gm1\nContent-Type: application/ics; name=\"invite.ics\"\nContent-Disposition: attachment; filename=\"invite.ics\"\n\
                 Content-Transfer-Encoding: base64\n\n{}\n--gm1--\n",
                base64_lines(&object)
            ),
            Shape::Apple => format!(
                "Content-Type: multipart/alternative;\n\tboundary=\"Apple-Mail=_1\"\n\n\
                 --Apple-Mail=_1\nContent-Transfer-Encoding: 7bit\nContent-Type: text/plain;\n\tcharset=us-ascii\n\nSee the attachment.\n\
                 --Apple-Mail=_1\nContent-Type: multipart/mixed;\n\tboundary=\"Apple-Mail=_2\"\n\n\
                 --Apple-Mail=_2\nContent-Transfer-Encoding: 7bit\nContent-Type: text/html;\n\tcharset=us-ascii\n\n<html><body></body></html>\n\
                 --Apple-Mail=_2\nContent-Disposition: attachment;\n\tfilename=iCal-20261122.ics\nContent-Type: text/calendar;\n\t\
                 x-unix-mode=0644;\n\tname=\"iCal-20261122.ics\"\nContent-Transfer-Encoding: quoted-printable\n\n{}\n\
                 --Apple-Mail=_2--\n\n--Apple-Mail=_1--\n",
                quoted_printable(&object)
            ),
            Shape::Thunderbird => format!(
                "User-Agent: Mozilla Thunderbird\nContent-Type: multipart/mixed; boundary=\"tb1\"\n\n\n\
                 --tb1\nContent-Type: multipart/alternative;\n boundary=\"tb2\"\n\n\n\
                 --tb2\nContent-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: 8bit\n\nAn answer – from {}.\n\n\n\
                 --tb2\nContent-Type: text/calendar; method={method}; charset=UTF-8\nContent-Transfer-Encoding: 8bit\n\n{object}\n\n\
                 --tb2--\n\n\
                 --tb1\nContent-Type: application/ics; name=invite.ics\nContent-Transfer-Encoding: 8bit\n\
                 Content-Disposition: attachment; filename=invite.ics\n\n{object}\n\n--tb1--\n",
                self.name
            ),
        };
        let mail = self.header(subject, to) + &body;
        mail.replace("\r\n", "\n").replace('\n', "\r\n").into_bytes()
    }
}

fn base64_lines(text: &str) -> String {
    let encoded = STANDARD.encode(text);
    encoded.as_bytes().chunks(76).map(|c| std::str::from_utf8(c).unwrap()).collect::<Vec<_>>().join("\n")
}

/// Every line end written as `=0D=0A` and a soft break, as Apple Mail does.
fn quoted_printable(text: &str) -> String {
    text.replace('=', "=3D").replace("\r\n", "=0D=0A=\n")
}
