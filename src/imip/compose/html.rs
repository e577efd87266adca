//! A [`Page`] as HTML that mail programs of every kind show and screen readers read.
//!
//! Invariants: every value is escaped; nothing is fetched from elsewhere, nothing runs, nothing is linked; what a colour or
//! a line through a text says is said in words too; text keeps the reader's own colours, so that light and dark both
//! stay readable; all style is inline, since mail programs drop the rest.

use crate::imip::compose::page::{Change, Item, Page, Row, Section};

const BODY: &str = "margin:0;padding:16px;font-family:Arial,Helvetica,sans-serif;font-size:16px;line-height:1.5";
const FRAME: &str = "max-width:640px;margin:0 auto";
const TITLE: &str = "margin:0 0 16px;font-size:22px;line-height:1.3";
const HEADING: &str = "margin:24px 0 8px;font-size:17px;line-height:1.3";
const PARAGRAPH: &str = "margin:0 0 16px";
/// #b45309 on white and on black has a contrast of more than 3 to 1, which is what a border needs (WCAG 1.4.11).
const WARNING: &str = "margin:0 0 16px;padding:8px 12px;border:2px solid #b45309;font-weight:bold";
const TABLE: &str = "width:100%;border-collapse:collapse;margin:0 0 16px";
const LABEL: &str = "text-align:left;vertical-align:top;white-space:nowrap;padding:6px 16px 6px 0;border-top:1px solid #808080";
const VALUE: &str = "text-align:left;vertical-align:top;padding:6px 0;border-top:1px solid #808080;overflow-wrap:anywhere";
const LIST: &str = "margin:0;padding:0 0 0 20px";

impl Page {
    /// A whole document; lines end in LF.
    pub fn html(&self) -> String {
        let mut out = format!(
            "<!DOCTYPE html>\n<html lang=\"{0}\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>{1}</title>\n</head>\n\
             <body style=\"{BODY}\">\n<div lang=\"{0}\" style=\"{FRAME}\">\n<h1 dir=\"auto\" style=\"{TITLE}\">{1}</h1>\n",
            self.language,
            escape(&self.title)
        );
        if let Some(warning) = &self.warning {
            put!(out, "<p dir=\"auto\" style=\"{WARNING}\">{}</p>\n", escape_lines(warning));
        }
        for paragraph in &self.intro {
            put!(out, "<p dir=\"auto\" style=\"{PARAGRAPH}\">{}</p>\n", escape_lines(paragraph));
        }
        if !self.rows.is_empty() {
            put!(out, "<table style=\"{TABLE}\">\n");
            for row in &self.rows {
                write_row(&mut out, row);
            }
            out.push_str("</table>\n");
        }
        for section in &self.sections {
            write_section(&mut out, section);
        }
        out.push_str("</div>\n</body>\n</html>\n");
        out
    }
}

fn write_row(out: &mut String, row: &Row) {
    put!(out, "<tr>\n<th scope=\"row\" style=\"{LABEL}\">{}</th>\n<td dir=\"auto\" style=\"{VALUE}\">", escape(row.label));
    if row.list && row.lines.len() > 1 {
        put!(out, "\n<ul style=\"{LIST}\">\n");
        for line in &row.lines {
            put!(out, "<li>{}</li>\n", escape(line));
        }
        out.push_str("</ul>\n");
    } else {
        let lines: Vec<String> = row.lines.iter().map(|l| escape(l)).collect();
        let value = lines.join("<br>\n");
        match &row.change {
            Some(change) => write_changed(out, &value, change),
            None => out.push_str(&value),
        }
    }
    out.push_str("</td>\n</tr>\n");
}

/// The new value, that it is new, and what it takes the place of.
fn write_changed(out: &mut String, value: &str, change: &Change) {
    if !value.is_empty() {
        put!(out, "<ins style=\"text-decoration:none;font-weight:bold\">{value}</ins> ");
    }
    put!(out, "({})", escape(change.how));
    if let Some((was, old)) = &change.old {
        put!(out, "<br>\n{} <del>{}</del>", escape(was), escape(old));
    }
}

fn write_section(out: &mut String, section: &Section) {
    if let Some(heading) = section.heading {
        let how = section.change.as_ref().map(|c| format!(" ({})", escape(c.how))).unwrap_or_default();
        put!(out, "<h2 style=\"{HEADING}\">{}{how}</h2>\n", escape(heading));
    }
    if !section.text.is_empty() {
        put!(out, "<p dir=\"auto\" style=\"{PARAGRAPH};overflow-wrap:anywhere\">{}</p>\n", escape_lines(&section.text));
    }
    if !section.items.is_empty() {
        put!(out, "<ul style=\"{LIST}\">\n");
        for item in &section.items {
            write_item(out, item);
        }
        out.push_str("</ul>\n");
    }
}

fn write_item(out: &mut String, item: &Item) {
    put!(out, "<li dir=\"auto\" style=\"margin:0 0 8px;overflow-wrap:anywhere\"><strong>{}</strong>", escape(&item.title));
    if let Some(change) = &item.change {
        put!(out, " ({})", escape(change.how));
    }
    match item.lines.as_slice() {
        [] => {}
        [line] => put!(out, ": {}", escape(line)),
        lines => {
            for line in lines {
                put!(out, "<br>\n{}", escape(line));
            }
        }
    }
    out.push_str("</li>\n");
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
    use crate::imip::compose::page::{paragraphs, words};

    #[test]
    fn values_are_escaped_and_stay_in_their_rows() {
        let mut page = Page { title: "<b>&\"'".into(), language: "en", ..Page::default() };
        page.row("What", vec![words("a\nWho:  \u{202e}evil\r\n<script>")], None);
        let change = Change { how: "changed", old: Some(("was:", "<i>".into())) };
        page.row("Where", vec!["<u>".into()], Some(change));
        page.sections.push(Section::text(Some("Notes"), paragraphs("one\r\ntwo <img src=x>")));
        let text = "<b>&\"'\n\nWhat:  a Who: evil <script>\nWhere: <u>\n       (changed; was: <i>)\n\nNotes:\none\ntwo <img src=x>\n";
        assert_eq!(page.text(), text);
        let html = page.html();
        for expected in [
            ">&lt;b&gt;&amp;&quot;&#39;</h1>",
            ">a Who: evil &lt;script&gt;</td>",
            ">&lt;u&gt;</ins> (changed)<br>\nwas: <del>&lt;i&gt;</del></td>",
            ">one<br>\ntwo &lt;img src=x&gt;</p>",
        ] {
            assert!(html.contains(expected), "{expected}\n{html}");
        }
    }
}
