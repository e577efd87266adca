//! A [`Page`] as plain text of 72 columns.
//!
//! Invariant: a line of a value never looks like a row of its own: what follows its first line is indented.

use crate::imip::compose::page::{Change, Item, Page, Row};

/// Columns; short of 76, so that quoted-printable need not break the lines again.
const WIDTH: usize = 72;

impl Page {
    /// Lines end in LF.
    pub fn text(&self) -> String {
        let mut out = format!("{}\n", wrap(&self.title, "", ""));
        for paragraph in self.warning.iter().chain(&self.intro) {
            put!(out, "\n{}\n", wrap(paragraph, "", ""));
        }
        if !self.rows.is_empty() {
            out.push('\n');
        }
        let column = self.rows.iter().map(|r| r.label.chars().count() + 2).max().unwrap_or(0);
        for row in &self.rows {
            write_row(&mut out, row, column);
        }
        for section in &self.sections {
            out.push('\n');
            if let Some(heading) = section.heading {
                let how = section.change.as_ref().map(|c| format!(" ({})", c.how)).unwrap_or_default();
                put!(out, "{heading}{how}:\n");
            }
            if !section.text.is_empty() {
                put!(out, "{}\n", wrap(&section.text, "", ""));
            }
            for item in &section.items {
                write_item(&mut out, item);
            }
        }
        out
    }
}

fn write_row(out: &mut String, row: &Row, column: usize) {
    let indent = " ".repeat(column);
    let mut head = format!("{:<column$}", format!("{}:", row.label));
    let change = row.change.as_ref().map(marked);
    let lines = row.lines.iter().chain(&change);
    for line in lines {
        // A list's longer entries hang, so that each is seen to be one.
        let hanging = if row.list { format!("{indent}  ") } else { indent.clone() };
        put!(out, "{}\n", wrap(line, &head, &hanging).trim_end());
        head.clone_from(&indent);
    }
}

fn write_item(out: &mut String, item: &Item) {
    let how = item.change.as_ref().map(|c| format!(" {}", marked(c))).unwrap_or_default();
    let title = format!("{}{how}", item.title);
    match item.lines.as_slice() {
        [] => put!(out, "{}\n", wrap(&title, "  * ", "    ")),
        [line] => put!(out, "{}\n", wrap(&format!("{title}: {line}"), "  * ", "    ")),
        lines => {
            put!(out, "{}\n", wrap(&format!("{title}:"), "  * ", "    "));
            for line in lines {
                put!(out, "{}\n", wrap(line, "    ", "      "));
            }
        }
    }
}

/// `(changed; was: Room 4)`.
fn marked(change: &Change) -> String {
    match &change.old {
        Some((was, old)) => format!("({}; {was} {old})", change.how),
        None => format!("({})", change.how),
    }
}

/// Lines broken at blanks; line ends are kept. The first line begins with `head`, every other one with `indent`.
fn wrap(text: &str, head: &str, indent: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 64 + head.len());
    out.push_str(head);
    let mut width = head.chars().count();
    for (i, line) in text.split('\n').enumerate() {
        if i > 0 {
            out.push('\n');
            out.push_str(indent);
            width = indent.chars().count();
        }
        let mut first = true;
        for (j, word) in line.split(' ').enumerate() {
            let need = word.chars().count();
            if j > 0 {
                if width + 1 + need > WIDTH && !first {
                    out.push('\n');
                    out.push_str(indent);
                    width = indent.chars().count();
                } else {
                    out.push(' ');
                    width += 1;
                }
            }
            first &= word.is_empty();
            out.push_str(word);
            width += need;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_at_blanks() {
        let wrapped = wrap(&"word ".repeat(40), "", "");
        assert!(wrapped.lines().all(|l| l.chars().count() <= WIDTH), "{wrapped}");
        assert_eq!(wrapped.replace('\n', " "), "word ".repeat(40));
        let hanging = wrap(&"word ".repeat(40), "What:  ", "       ");
        assert!(hanging.lines().all(|l| l.chars().count() <= WIDTH), "{hanging}");
        assert!(hanging.lines().skip(1).all(|l| l.starts_with("       word")), "{hanging}");
        assert_eq!(wrap(&"x".repeat(100), "a: ", "   "), format!("a: {}", "x".repeat(100)));
    }
}
