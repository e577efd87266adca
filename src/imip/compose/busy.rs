//! The answer to a question for free/busy times that came by mail (RFC 5546 3.3.3): one user, one VFREEBUSY.

use super::header::{self, Header};
use super::page::{Page, Section};
use super::when;
use super::words::Language;
use crate::calendar::busy::BusyTimes;
use crate::calendar::event::Moment;
use crate::clock::Timestamp;
use crate::ident::{ServerId, UserId};
use crate::mime::transfer;

/// Periods told in words; the calendar object has all of them.
const LISTED: usize = 100;

/// An answer to be written.
#[derive(Clone, Copy, Debug)]
pub struct BusyMail<'a> {
    /// The finished iCalendar object, METHOD:REPLY.
    pub calendar: &'a [u8],
    /// Whose times they are, under the address that the asker wrote.
    pub user: &'a UserId,
    pub times: &'a BusyTimes,
    /// An address in a domain of this organization's that reaches the user.
    pub from: &'a UserId,
    /// Who asked.
    pub to: &'a UserId,
    /// The question's Message-ID, without its angle brackets.
    pub question: Option<&'a str>,
    pub language: Language,
    /// The relay's server-id, and where Message-IDs end.
    pub site: &'a ServerId,
    pub mail_domain: &'a ServerId,
    pub now: Timestamp,
}

/// The message, `Auto-Submitted: auto-replied`. That it goes out with the null envelope sender, and never as the answer to
/// an automatic message, is its caller's task.
pub fn free_busy(mail: &BusyMail<'_>) -> Vec<u8> {
    let words = mail.language.words();
    let moment = |at: Timestamp| Moment::Utc { at, offset_minutes: None };
    let span = |start: Timestamp, end: Timestamp| when::lines(words, &moment(start), Some(&moment(end))).join("; ");
    let who = mail.user.to_string();
    let window = mail.times.window;
    let periods = mail.times.periods();
    let mut page = Page { language: words.tag(), title: words.busy_title(&who), ..Page::default() };
    page.intro.push(words.busy_opening(&who, &span(window.start, window.end), periods.is_empty()));
    let mut lines: Vec<String> =
        periods.iter().take(LISTED).map(|(kind, p)| format!("{}: {}", span(p.start, p.end), words.busy_type(*kind))).collect();
    if periods.len() > LISTED {
        lines.push(words.more_dates(periods.len() - LISTED));
    }
    if !lines.is_empty() {
        page.sections.push(Section::text(None, lines.join("\n")));
    }
    let ours = mail.from.server() == mail.mail_domain && mail.from != mail.user;
    let display = ours.then(|| words.name_via(&who, mail.site.as_str()));
    let id = header::fingerprint(&[b"free/busy", mail.to.key().as_bytes(), mail.calendar]);
    let mut head = Header::default();
    head.mailbox("From", display.as_deref(), mail.from)
        .mailbox("To", None, mail.to)
        .text("Subject", &page.title)
        .plain("Date", &header::date(mail.now))
        .plain("Message-ID", &header::message_id(&id, mail.mail_domain));
    if let Some(question) = mail.question.filter(|q| q.bytes().all(|b| b.is_ascii_graphic())) {
        head.plain("In-Reply-To", &format!("<{question}>"));
    }
    let mut out = head.plain("Auto-Submitted", "auto-replied").plain("MIME-Version", "1.0").finish();
    let boundary = format!("{id}.a");
    put!(
        out,
        "Content-Type: multipart/alternative;\r\n boundary=\"{boundary}\"\r\n\r\n\
         --{boundary}\r\nContent-Type: text/plain; charset=UTF-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{}\
         --{boundary}\r\nContent-Type: text/calendar; charset=UTF-8; method=REPLY; component=VFREEBUSY\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{}--{boundary}--\r\n",
        transfer::encode_quoted_printable(&page.text()),
        transfer::encode_base64(mail.calendar)
    );
    out.into_bytes()
}
