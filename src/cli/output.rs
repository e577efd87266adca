//! What goes to the terminal: colour only where somebody looks, lines that fit, and nothing in them that a peer could
//! use to steer the terminal.
//!
//! Invariant: text that came from outside passes [`clean`] before it is printed for people.

use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::time::Duration;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Standard output, buffered, with what is known of who reads it.
pub struct Output {
    out: BufWriter<Stdout>,
    pub style: Style,
    /// Columns of the terminal; `None`: no terminal, lines are never cut.
    pub width: Option<usize>,
}

/// Whether to use colour.
#[derive(Clone, Copy, Debug)]
pub struct Style(pub bool);

#[derive(Clone, Copy, Debug)]
pub enum Colour {
    Bold,
    Dim,
    Red,
    Green,
    Yellow,
}

impl Style {
    pub fn paint(self, colour: Colour, text: &str) -> String {
        if !self.0 {
            return text.to_owned();
        }
        let code = match colour {
            Colour::Bold => 1,
            Colour::Dim => 2,
            Colour::Red => 31,
            Colour::Green => 32,
            Colour::Yellow => 33,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

impl Output {
    pub fn stdout() -> Self {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        let width = terminal_size::terminal_size().filter(|_| terminal).map(|(w, _)| usize::from(w.0));
        Self { out: BufWriter::new(stdout), style: Style(colour), width }
    }

    /// Whether there is a terminal to fit lines to.
    pub const fn is_terminal(&self) -> bool {
        self.width.is_some()
    }

    /// One line, cut to the terminal when there is one. `text` must be uncoloured and clean.
    pub fn fitted(&mut self, text: &str) -> io::Result<()> {
        match self.width {
            Some(width) => writeln!(self.out, "{}", fit(text, width)),
            None => writeln!(self.out, "{text}"),
        }
    }
}

impl Write for Output {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.out.write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Controls become blanks, so that no text of a peer moves the cursor or ends the line.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || is_direction(c) { ' ' } else { c }).collect()
}

/// Characters that turn the reading direction of what follows.
const fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `text` in at most `width` columns; what was cut off is shown by `…`.
pub fn fit(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut used = 0;
    let mut out = String::new();
    for c in text.chars() {
        let w = c.width().unwrap_or(0);
        if used + w + 1 > width {
            break;
        }
        used += w;
        out.push(c);
    }
    if width > 0 {
        out.push('…');
    }
    out
}

/// `text` in exactly `width` columns.
pub fn column(text: &str, width: usize) -> String {
    let text = fit(text, width);
    let pad = width.saturating_sub(text.width());
    text + &" ".repeat(pad)
}

/// A length of time in its largest unit: `45s`, `12m`, `7h`, `3d`.
pub fn span(d: Duration) -> String {
    let s = d.as_secs();
    match s {
        0..=99 => format!("{s}s"),
        100..=5_999 => format!("{}m", s / 60),
        6_000..=359_999 => format!("{}h", s / 3600),
        _ => format!("{}d", s / 86_400),
    }
}

/// A number of octets: `812`, `4.1K`, `2.0M`.
#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
pub fn octets(n: u64) -> String {
    match n {
        0..=1023 => n.to_string(),
        1024..=1_048_575 => format!("{:.1}K", n as f64 / 1024.0),
        _ => format!("{:.1}M", n as f64 / 1_048_576.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_by_columns_and_not_by_octets() {
        for (text, width, expected) in [
            ("abcdef", 6, "abcdef"),
            ("abcdefg", 6, "abcde…"),
            ("会議の案内", 6, "会議…"),
            ("e\u{301}e\u{301}", 2, "e\u{301}e\u{301}"),
            ("abc", 1, "…"),
            ("abc", 0, ""),
        ] {
            assert_eq!(fit(text, width), expected);
        }
        assert_eq!(column("会", 4), "会  ");
    }

    #[test]
    fn a_peer_cannot_steer_the_terminal() {
        assert_eq!(clean("a\x1b[2Jb\r\nc\u{9b}d\u{202e}e\tf"), "a [2Jb  c d e f");
    }

    #[test]
    fn times_and_sizes_are_short() {
        let shown: Vec<String> = [0, 99, 100, 3600, 6000, 86_400, 360_000, 432_000].map(|s| span(Duration::from_secs(s))).to_vec();
        assert_eq!(shown, ["0s", "99s", "1m", "60m", "1h", "24h", "4d", "5d"]);
        assert_eq!([1023, 1024, 4200, 2 << 20].map(octets), ["1023", "1.0K", "4.1K", "2.0M"]);
    }
}
