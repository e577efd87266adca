//! How the demo speaks: steps, conversations, and checks that end it when they fail.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicUsize, Ordering};

static STEPS: AtomicUsize = AtomicUsize::new(0);
static CHECKS: AtomicUsize = AtomicUsize::new(0);

fn paint(code: &str, text: &str) -> String {
    let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

pub fn step(title: &str) {
    let n = STEPS.fetch_add(1, Ordering::Relaxed) + 1;
    println!("\n{}", paint("1", &format!("{n}. {title}")));
}

pub fn narrate(text: &str) {
    println!("   {text}");
}

/// One line of a conversation or a message; `who` is `C:`, `S:` or a field name.
pub fn quote(who: &str, line: &str) {
    println!("     {} {line}", paint("36", who));
}

pub fn command(line: &str) {
    println!("   {}", paint("1", &format!("$ {line}")));
}

/// Says what holds, or ends the demo.
#[track_caller]
pub fn check(what: &str, holds: bool) {
    assert!(holds, "this does not hold: {what}");
    CHECKS.fetch_add(1, Ordering::Relaxed);
    println!("   {} {what}", paint("32", "ok:"));
}

/// How many checks have held.
pub fn checks() -> usize {
    CHECKS.load(Ordering::Relaxed)
}
