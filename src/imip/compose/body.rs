//! What a person reads: the same words as plain text and as simple HTML (bridge 5).
//!
//! Invariants: both forms come from one [`Page`]; every value is escaped in HTML, which has no links, images, styles from
//! elsewhere or scripts; a value is bounded, and a line end inside it never forges a row of its own in the text form.

use crate::calendar::event::{Component, Event, PartStat, Person};
use crate::imip::compose::header::{is_invisible, visible};
use crate::imip::compose::when;
use crate::mime::transfer::clip;

/// Octets kept of a description or comment.
const MAX_DESCRIPTION: usize = 8 << 10;
/// Octets kept of a summary, a place or a name.
const MAX_WORDS: usize = 500;
/// With more attendees than this only owner and recipient are listed (bridge 5).
pub const MAX_LISTED: usize = 200;

/// A page of labelled rows between paragraphs.
#[derive(Default)]
pub struct Page {
    pub title: String,
    /// Before the rows; the first ones warn.
    pub intro: Vec<String>,
    pub rows: Vec<(&'static str, Vec<String>)>,
    /// After the rows, each under a heading or none.
    pub blocks: Vec<(Option<&'static str>, String)>,
}

impl Page {
    pub fn row(&mut self, label: &'static str, lines: Vec<String>) {
        if !lines.is_empty() {
            self.rows.push((label, lines));
        }
    }

    /// Mail programs make links of addresses that they find in plain text; so written they find none (bridge 5). To be
    /// called before the relay's own words are added.
    pub fn unlink(&mut self) {
        let values = self.rows.iter_mut().flat_map(|(_, lines)| lines).chain(self.blocks.iter_mut().map(|(_, block)| block));
        for value in values.chain(std::iter::once(&mut self.title)) {
            for (live, dead) in [("://", "[:]//"), ("www.", "www[.]"), ("WWW.", "WWW[.]")] {
                if value.contains(live) {
                    *value = value.replace(live, dead);
                }
            }
        }
    }

    pub fn text(&self) -> String {
        let mut out = format!("{}\n", self.title);
        for paragraph in &self.intro {
            put!(out, "\n{}\n", wrap(paragraph));
        }
        if !self.rows.is_empty() {
            out.push('\n');
        }
        for (label, lines) in &self.rows {
            for (i, line) in lines.iter().enumerate() {
                let head = if i == 0 { format!("{label}:") } else { String::new() };
                put!(out, "{head:<9}{line}\n");
            }
        }
        for (heading, block) in &self.blocks {
            let heading = heading.map(|h| format!("{h}:\n")).unwrap_or_default();
            put!(out, "\n{heading}{}\n", wrap(block));
        }
        out
    }

    pub fn html(&self) -> String {
        let mut out = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>{0}</title></head>\n<body>\n<h1>{0}</h1>\n",
            escape(&self.title)
        );
        for paragraph in &self.intro {
            put!(out, "<p>{}</p>\n", escape_lines(paragraph));
        }
        if !self.rows.is_empty() {
            out.push_str("<table>\n");
            for (label, lines) in &self.rows {
                let lines: Vec<_> = lines.iter().map(|l| escape(l)).collect();
                put!(
                    out,
                    "<tr><th scope=\"row\" align=\"left\" valign=\"top\">{}</th><td>{}</td></tr>\n",
                    escape(label),
                    lines.join("<br>\n")
                );
            }
            out.push_str("</table>\n");
        }
        for (heading, block) in &self.blocks {
            if let Some(heading) = heading {
                put!(out, "<h2>{}</h2>\n", escape(heading));
            }
            put!(out, "<p>{}</p>\n", escape_lines(block));
        }
        out.push_str("</body>\n</html>\n");
        out
    }
}

/// The rows that every mail about an event has: what, when, where.
pub fn event_rows(page: &mut Page, event: &Event) {
    page.row("What", vec![summary(event)]);
    if let Some(start) = &event.start {
        page.row("When", when::lines(start, event.end.as_ref()));
    }
    if !event.rules.is_empty() {
        page.row("Repeats", vec![repeats(&event.rules)]);
    }
    page.row("Where", event.location.iter().map(|l| words(l)).filter(|l| !l.is_empty()).collect());
}

/// SUMMARY in one line, or what stands for it.
pub fn summary(event: &Event) -> String {
    event.summary.as_deref().map(words).filter(|s| !s.is_empty()).unwrap_or_else(|| match event.component {
        Component::Todo => "a to-do without a title".to_owned(),
        _ => "an event without a title".to_owned(),
    })
}

/// `Mary Weaver <mary@tiny.com>`, or the address.
pub fn person(person: &Person) -> String {
    match person.name.as_deref().map(words).filter(|n| !n.is_empty()) {
        Some(name) if !name.eq_ignore_ascii_case(&person.address.to_string()) => format!("{name} <{}>", person.address),
        _ => person.address.to_string(),
    }
}

/// An attendee with what he has answered.
pub fn attendee(attendee: &Person) -> String {
    format!("{} ({})", person(attendee), answer(attendee.status))
}

pub const fn answer(status: Option<PartStat>) -> &'static str {
    match status {
        None | Some(PartStat::NeedsAction) => "has not answered yet",
        Some(PartStat::Accepted) => "accepted",
        Some(PartStat::Declined) => "declined",
        Some(PartStat::Tentative) => "tentative",
        Some(PartStat::Delegated) => "delegated",
        Some(PartStat::Completed) => "completed",
    }
}

/// One line of at most [`MAX_WORDS`] octets.
pub fn words(text: &str) -> String {
    clip(&visible(text), MAX_WORDS).trim_end().to_owned()
}

/// Several lines, without controls, bounded; `…` says that there was more.
pub fn paragraphs(text: &str) -> String {
    let text: String = text
        .replace("\r\n", "\n")
        .chars()
        .map(|c| if c == '\r' { '\n' } else { c })
        .filter(|c| *c == '\n' || *c == '\t' || !(c.is_control() || is_invisible(*c)))
        .collect();
    let text = text.trim();
    if text.len() <= MAX_DESCRIPTION { text.to_owned() } else { format!("{}…", clip(text, MAX_DESCRIPTION).trim_end()) }
}

/// A rule in words when it is a simple one; the calendar part has the whole.
fn repeats(rules: &[String]) -> String {
    let rule = rules[0].to_ascii_uppercase();
    let part = |name: &str| rule.split(';').find_map(|p| p.trim().strip_prefix(name).and_then(|p| p.strip_prefix('=')));
    let every = match part("FREQ") {
        Some("DAILY") => ("day", "days"),
        Some("WEEKLY") => ("week", "weeks"),
        Some("MONTHLY") => ("month", "months"),
        Some("YEARLY") => ("year", "years"),
        _ => return "yes, as your calendar program will show".to_owned(),
    };
    let mut text = match part("INTERVAL").and_then(|n| n.parse::<u32>().ok()).filter(|n| *n > 1) {
        Some(n) => format!("every {n} {}", every.1),
        None => format!("every {}", every.0),
    };
    if let Some(count) = part("COUNT").and_then(|n| n.parse::<u32>().ok()) {
        put!(text, ", {count} times");
    }
    let simple = ["FREQ", "INTERVAL", "COUNT", "WKST"];
    if rules.len() > 1 || rule.split(';').any(|p| !simple.contains(&p.split('=').next().unwrap_or_default().trim())) {
        text.push_str(" (your calendar program shows the exact dates)");
    }
    text
}

/// Columns of the text form; short of 76, so that quoted-printable need not break the lines again.
const WIDTH: usize = 72;

/// Lines broken at blanks; line ends are kept.
fn wrap(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 64);
    for (i, line) in text.split('\n').enumerate() {
        if i > 0 {
            out.push('\n');
        }
        let mut width = 0;
        for (j, word) in line.split(' ').enumerate() {
            let need = word.chars().count();
            if j > 0 {
                if width + 1 + need > WIDTH && width > 0 {
                    out.push('\n');
                    width = 0;
                } else {
                    out.push(' ');
                    width += 1;
                }
            }
            out.push_str(word);
            width += need;
        }
    }
    out
}

fn escape_lines(text: &str) -> String {
    escape(text).replace('\n', "<br>\n")
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_and_stay_in_their_rows() {
        let mut page = Page { title: "<b>&\"'".into(), ..Page::default() };
        page.row("What", vec![words("a\nWho:  \u{202e}evil\r\n<script>")]);
        page.blocks.push((Some("Notes"), paragraphs("one\r\ntwo <img src=x>")));
        assert_eq!(page.text(), "<b>&\"'\n\nWhat:    a Who: evil <script>\n\nNotes:\none\ntwo <img src=x>\n");
        let html = page.html();
        assert!(html.contains("<h1>&lt;b&gt;&amp;&quot;&#39;</h1>"), "{html}");
        assert!(html.contains("<td>a Who: evil &lt;script&gt;</td>"), "{html}");
        assert!(html.contains("<p>one<br>\ntwo &lt;img src=x&gt;</p>"), "{html}");
    }

    #[test]
    fn rules_in_words() {
        for (rules, expected) in [
            (vec!["FREQ=WEEKLY"], "every week"),
            (vec!["freq=daily;interval=2;count=5"], "every 2 days, 5 times"),
            (vec!["FREQ=MONTHLY;BYDAY=1MO"], "every month (your calendar program shows the exact dates)"),
            (vec!["FREQ=WEEKLY", "FREQ=DAILY"], "every week (your calendar program shows the exact dates)"),
            (vec!["D1 #10"], "yes, as your calendar program will show"),
        ] {
            let rules: Vec<String> = rules.into_iter().map(str::to_owned).collect();
            assert_eq!(repeats(&rules), expected);
        }
    }

    #[test]
    fn long_lines_are_broken_at_blanks() {
        let wrapped = wrap(&"word ".repeat(40));
        assert!(wrapped.lines().all(|l| l.chars().count() <= WIDTH), "{wrapped}");
        assert_eq!(wrapped.replace('\n', " "), "word ".repeat(40));
    }
}
