//! Where in the file a setting stands, and what is wrong with it.
//!
//! Invariant: a [`Problem`] reads `FILE:LINE:COLUMN: KEY: WHAT; REMEDY`, one line, so that editors jump to it; lines and
//! columns count from one, columns in characters.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

/// The text of a configuration file and its name.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// `None`: the built-in defaults.
    pub file: Option<PathBuf>,
    pub text: Arc<str>,
}

/// One thing wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub file: Option<PathBuf>,
    /// Line and column; `None` when the setting does not stand in the file (a default).
    pub position: Option<(usize, usize)>,
    /// `cip.listen`, `domain[0].users`; empty when the whole file is meant.
    pub key: String,
    /// What is wrong, and what to write instead.
    pub what: String,
    /// The relay starts all the same.
    pub warning: bool,
}

/// Everything that is wrong with a configuration; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ConfigErrors(pub Vec<Problem>);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{}:", file.display())?,
            None => f.write_str("(built-in defaults):")?,
        }
        if let Some((line, column)) = self.position {
            write!(f, "{line}:{column}:")?;
        }
        if self.warning {
            f.write_str(" warning:")?;
        }
        if !self.key.is_empty() {
            write!(f, " {}:", self.key)?;
        }
        write!(f, " {}", self.what)
    }
}

impl Source {
    pub fn new(file: &Path, text: &str) -> Self {
        Self { file: Some(file.to_owned()), text: text.into() }
    }

    /// A problem with a setting; `key` is looked up in the text, up to the part of it that is there.
    pub fn problem(&self, key: &str, what: impl Into<String>) -> Problem {
        Problem {
            file: self.file.clone(),
            position: self.find(key).map(|offset| self.line_column(offset)),
            key: key.to_owned(),
            what: what.into(),
            warning: false,
        }
    }

    pub fn warning(&self, key: &str, what: impl Into<String>) -> Problem {
        Problem { warning: true, ..self.problem(key, what) }
    }

    /// A problem at an octet offset of the text.
    pub(super) fn problem_at(&self, offset: usize, key: &str, what: impl Into<String>) -> Problem {
        Problem {
            file: self.file.clone(),
            position: Some(self.line_column(offset)),
            key: key.to_owned(),
            what: what.into(),
            warning: false,
        }
    }

    /// Line and column, from one, of an octet offset.
    fn line_column(&self, offset: usize) -> (usize, usize) {
        let end = (0..=offset.min(self.text.len())).rev().find(|&i| self.text.is_char_boundary(i)).unwrap_or(0);
        let before = &self.text[..end];
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// The offset of the value at a path such as `domain[1].users`, or of the deepest part of the path that is there.
    fn find(&self, key: &str) -> Option<usize> {
        let table = DeTable::parse(&self.text).ok()?;
        let mut found = None;
        let mut here: Option<&DeValue<'_>> = None;
        for part in key.split('.') {
            let (name, index) = match part.split_once('[') {
                Some((name, rest)) => (name, rest.trim_end_matches(']').parse::<usize>().ok()),
                None => (part, None),
            };
            let next = match here {
                None => table.get_ref().get(name),
                Some(DeValue::Table(table)) => table.get(name),
                Some(_) => None,
            };
            let Some(mut next) = next else { break };
            if let Some(item) = index.and_then(|i| next.get_ref().get(i)) {
                next = item;
            }
            found = Some(next.span().start);
            here = Some(next.get_ref());
        }
        found
    }
}
