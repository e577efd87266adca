//! Reading the configuration: text to [`Config`], with every mistake at its place.
//!
//! serde stops at the first mistake. Here the offending entry is struck out and the rest read again, until nothing is
//! left to complain about, so that one run of `check-config` shows all of them. Invariant: each round either ends or
//! makes the tree smaller, and at most [`MAX_PROBLEMS`] are reported.

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::de::{DeTable, DeValue, Deserializer};

use super::check::rules;
use super::source::{ConfigErrors, Problem, Source};
use super::{Config, Domain, Listen, Users};

/// Read when no file is named.
pub const DEFAULT_PATH: &str = "/etc/cip-relay/cip-relay.toml";

/// Where data is kept when a file exists and does not say.
const DEFAULT_DATA_DIR: &str = "/var/lib/cip-relay";

const MAX_PROBLEMS: usize = 50;
const MAX_FILE: u64 = 4 << 20;

/// Reads a configuration file: the one named, else [`DEFAULT_PATH`] when it exists, else the built-in defaults.
///
/// What needs the machine rather than the text (files, folders) is [`super::check`]'s.
pub fn load(path: Option<&Path>) -> Result<Config, ConfigErrors> {
    let file = match path {
        Some(path) => path,
        None if Path::new(DEFAULT_PATH).exists() => Path::new(DEFAULT_PATH),
        None => return Ok(complete(Config::default())),
    };
    let unreadable = |what: String| {
        ConfigErrors(vec![Problem { file: Some(file.to_owned()), position: None, key: String::new(), what, warning: false }])
    };
    let size = std::fs::metadata(file)
        .map_err(|error| unreadable(format!("cannot be read: {error}; name a file with --config, or leave it out for the defaults")))?
        .len();
    if size > MAX_FILE {
        return Err(unreadable(format!("has {size} octets; a configuration has at most {MAX_FILE}")));
    }
    let octets = std::fs::read(file).map_err(|error| unreadable(format!("cannot be read: {error}; make it readable for this user")))?;
    let text = match String::from_utf8(octets) {
        Ok(text) => text,
        Err(error) => {
            let good = error.utf8_error().valid_up_to();
            let line = error.as_bytes()[..good].split(|&b| b == b'\n').count();
            return Err(unreadable(format!("line {line} is not UTF-8; save the file as UTF-8")));
        }
    };
    parse(file, &text)
}

/// [`load`] of a text that has been read; `file` names it in errors, and relative paths are joined to its folder.
pub fn parse(file: &Path, text: &str) -> Result<Config, ConfigErrors> {
    let source = Source::new(file, text);
    let (root, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let problems = errors.iter().take(MAX_PROBLEMS).map(|error| {
            let at = error.span().map_or(0, |span| span.start);
            source.problem_at(at, "", format!("not TOML: {}", one_line(error.message())))
        });
        return Err(ConfigErrors(problems.collect()));
    }
    let mut problems: Vec<Problem> = Vec::new();
    let mut tree = root;
    let read = loop {
        match Config::deserialize(Deserializer::from(tree.clone())) {
            Ok(config) => break Some(config),
            Err(error) => {
                let span = error.span().unwrap_or(0..0);
                let struck = strike(tree.get_mut(), &span);
                let key = struck.clone().unwrap_or_default();
                // A required key that was struck for its value is not missing as well.
                let echo = error.message().starts_with("missing field") && problems.iter().any(|p| p.key.starts_with(&format!("{key}.")));
                if !echo {
                    problems.push(source.problem_at(span.start, &key, explain(error.message(), &key)));
                }
                if struck.is_none() || problems.len() >= MAX_PROBLEMS {
                    break None;
                }
            }
        }
    };
    let Some(mut config) = read else { return Err(ConfigErrors(problems)) };
    let table = tree.get_ref();
    if table.get("data-dir").is_none() {
        config.data_dir = DEFAULT_DATA_DIR.into();
    }
    if table.get("cip").is_none_or(|cip| cip.get_ref().get("listen").is_none()) {
        config.cip.listen = vec![([0u16; 8], 6047).into()];
    }
    config.source = source;
    join_paths(&mut config, file.parent().unwrap_or(Path::new("")));
    // A URL that was struck for its value is not missing as well.
    let struck: Vec<String> = problems.iter().filter_map(|p| Some(format!("{}.source", p.key.strip_suffix(".url")?))).collect();
    problems.extend(rules(&config).into_iter().filter(|p| !p.warning && !struck.contains(&p.key)));
    if !problems.is_empty() {
        problems.sort_by_key(|p| p.position);
        return Err(ConfigErrors(problems));
    }
    Ok(complete(config))
}

/// Without any `[[domain]]` the relay serves its own server-id, for anybody.
fn complete(mut config: Config) -> Config {
    if config.domain.is_empty() {
        config.domain.push(Domain::new(config.server_id.clone()));
    }
    config
}

/// Relative paths are relative to the file that names them, wherever the program was started.
fn join_paths(config: &mut Config, folder: &Path) {
    let join = |path: &mut PathBuf| *path = folder.join(&*path);
    join(&mut config.data_dir);
    config.control_socket.iter_mut().for_each(join);
    config.cip.credentials.iter_mut().for_each(join);
    if let Some(tls) = &mut config.tls {
        join(&mut tls.certificate);
        join(&mut tls.key);
        tls.client_ca.iter_mut().for_each(join);
    }
    let mail = &mut config.mail;
    for listen in mail.smtp_listen.iter_mut().chain(&mut mail.lmtp_listen).chain(&mut mail.inbound_listen) {
        if let Listen::Unix(path) = listen {
            join(path);
        }
    }
    for domain in &mut config.domain {
        if let Users::File { file } = &mut domain.users {
            join(file);
        }
    }
    config.peer.iter_mut().filter_map(|p| p.password_file.as_mut()).for_each(join);
    config.domain.iter_mut().flat_map(|d| &mut d.free_busy).filter_map(|s| s.password_file.as_mut()).for_each(join);
}

/// Takes out the entry whose key or value has exactly this span (or an array with such an element in it), and says
/// which it was.
fn strike(table: &mut DeTable<'_>, span: &Range<usize>) -> Option<String> {
    let mut doomed = None;
    for (key, value) in table.iter_mut() {
        let name = key.get_ref().to_string();
        let whole = key.span() == *span || value.span() == *span;
        match value.get_mut() {
            DeValue::Table(inner) if !whole => {
                if let Some(rest) = strike(inner, span) {
                    return Some(format!("{name}.{rest}"));
                }
            }
            DeValue::Array(items) => {
                for (i, item) in items.iter_mut().enumerate() {
                    let here = item.span() == *span;
                    if let DeValue::Table(inner) = item.get_mut() {
                        // An array of one table may have the span of that table.
                        if here {
                            doomed = Some((name.clone(), format!("{name}[{i}]")));
                        } else if let Some(rest) = strike(inner, span) {
                            return Some(format!("{name}[{i}].{rest}"));
                        }
                    } else if here {
                        doomed = Some((name.clone(), name.clone()));
                    }
                }
            }
            _ => {}
        }
        if doomed.is_none() && whole {
            doomed = Some((name.clone(), name));
        }
        if doomed.is_some() {
            break;
        }
    }
    let (name, path) = doomed?;
    table.remove(name.as_str());
    Some(path)
}

/// serde's words, in those of somebody who edits a file.
fn explain(message: &str, key: &str) -> String {
    let message = one_line(message);
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    if message.starts_with("unknown field") {
        let (bad, known) = quoted.split_first().map_or((key, &[][..]), |(bad, known)| (*bad, known));
        return match nearest(bad, known) {
            Some(near) => format!("no such key; write `{near}`"),
            None => format!("no such key; known here: {}", known.join(", ")),
        };
    }
    if message.starts_with("unknown variant") {
        let (bad, known) = quoted.split_first().map_or((key, &[][..]), |(bad, known)| (*bad, known));
        return format!("{bad:?} is not known here; write {}", alternatives(known));
    }
    if message.starts_with("missing field") {
        let missing = quoted.first().unwrap_or(&"a key");
        return format!("`{missing}` is missing; add {missing} = …");
    }
    for start in ["invalid type: ", "invalid value: "] {
        if let Some((got, wanted)) = message.strip_prefix(start).and_then(|rest| rest.split_once(", expected ")) {
            return format!("{got} does not fit here; write {}", in_words(wanted));
        }
    }
    message
}

fn alternatives(known: &[&str]) -> String {
    known.iter().map(|k| format!("{k:?}")).collect::<Vec<_>>().join(" or ")
}

fn in_words(wanted: &str) -> &str {
    match wanted {
        "u16" => "a whole number from 0 to 65535",
        "usize" | "u32" | "u64" => "a whole number, zero or more",
        "f64" => "a number",
        "a boolean" => "true or false",
        "a string" | "path string" | "string" => "a text in quotes",
        "a sequence" => "a list in [brackets]",
        _ if wanted.starts_with("struct ") || wanted == "a map" => "a table",
        _ => wanted,
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The known key that is the fewest edits away, when it is near enough to be meant.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word = word.to_ascii_lowercase().replace('_', "-");
    let limit = (word.chars().count() / 3).max(1) + 1;
    known.iter().map(|k| (distance(&word, k), *k)).filter(|(d, _)| *d <= limit).min().map(|(_, k)| k)
}

/// Levenshtein's distance; words of more than 64 characters count as infinitely far.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    if a.chars().count() > 64 || b.len() > 64 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}
