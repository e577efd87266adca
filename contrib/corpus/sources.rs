//! What the corpus holds: its files, the calendar parts of its mails, and who wrote them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use mail_parser::{Message, MessageParser, MimeHeaders, PartType};

/// One file, or one calendar part of a mail.
pub struct Source {
    /// `folder/name`, for a further part of a mail with its number.
    pub name: String,
    pub producer: String,
    pub octets: Vec<u8>,
}

/// A row of SOURCES.tsv.
pub struct Row {
    pub folder: String,
    pub file: String,
    pub repository: String,
    pub note: String,
}

/// All rows; an empty list where the folder has no SOURCES.tsv.
pub fn rows(corpus: &Path) -> Vec<Row> {
    let text = std::fs::read_to_string(corpus.join("SOURCES.tsv")).unwrap_or_default();
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('\t').collect();
        let [folder, file, repository, .., note] = cells.as_slice() else { return None };
        Some(Row { folder: (*folder).to_owned(), file: (*file).to_owned(), repository: (*repository).to_owned(), note: (*note).to_owned() })
    };
    text.lines().skip(1).filter_map(row).collect()
}

/// Everything in the corpus that may hold calendar objects, in the order of its names.
pub fn sources(corpus: &Path, rows: &[Row]) -> std::io::Result<Vec<Source>> {
    let repositories: HashMap<(&str, &str), &str> =
        rows.iter().map(|r| ((r.folder.as_str(), r.file.as_str()), r.repository.as_str())).collect();
    let mut all = Vec::new();
    for folder in ["vcalendar", "icalendar", "imip"] {
        for path in files(&corpus.join(folder))? {
            let file = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            let octets = std::fs::read(&path)?;
            let repository = repositories.get(&(folder, file.as_str())).copied().unwrap_or("unknown");
            let parts = if folder == "imip" { calendar_parts(&octets) } else { vec![octets] };
            for (i, octets) in parts.into_iter().enumerate() {
                let part = if i == 0 { String::new() } else { format!(" (part {})", i + 1) };
                let producer = producer(&octets, repository);
                all.push(Source { name: format!("{folder}/{file}{part}"), producer, octets });
            }
        }
    }
    Ok(all)
}

fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)?.filter_map(|e| e.ok().map(|e| e.path())).filter(|p| p.is_file()).collect();
    files.sort();
    Ok(files)
}

fn calendar_parts(mail: &[u8]) -> Vec<Vec<u8>> {
    fn collect(message: &Message, found: &mut Vec<Vec<u8>>) {
        for part in &message.parts {
            let kind = part.content_type().map(|t| format!("{}/{}", t.ctype(), t.subtype().unwrap_or_default()).to_ascii_lowercase());
            if let PartType::Message(inner) = &part.body {
                collect(inner, found);
            } else if matches!(kind.as_deref(), Some("text/calendar" | "application/ics" | "text/x-vcalendar")) {
                let octets = part.contents().to_vec();
                if !found.contains(&octets) {
                    found.push(octets);
                }
            }
        }
    }
    let mut found = Vec::new();
    if let Some(message) = MessageParser::default().parse(mail) {
        collect(&message, &mut found);
    }
    found
}

/// What is looked for in PRODID, and the family that it stands for. Earlier ones win.
const FAMILIES: [(&str, &str); 26] = [
    ("korganizer", "KDE"),
    ("k desktop", "KDE"),
    ("kde", "KDE"),
    ("exchange", "Microsoft Exchange"),
    ("outlook", "Microsoft Outlook"),
    ("msn calendar", "Microsoft Outlook"),
    ("google", "Google"),
    ("apple", "Apple"),
    ("ical 1.5", "Apple"),
    ("iphone", "Apple"),
    ("ximian", "Evolution"),
    ("evolution", "Evolution"),
    ("mozilla", "Mozilla"),
    ("nokia", "Nokia, Symbian"),
    ("epoc", "Nokia, Symbian"),
    ("symbian", "Nokia, Symbian"),
    ("lotus", "Lotus Notes"),
    ("horde", "Horde"),
    ("sabre", "Sabre"),
    ("obm", "OBM"),
    ("tine", "Tine 2.0"),
    ("zimbra", "Zimbra"),
    ("research in motion", "BlackBerry"),
    ("calendarserver", "Calendar Server"),
    ("funambol", "Funambol"),
    ("egroupware", "EGroupware"),
];

/// The repositories whose files seldom name their producer.
const REPOSITORIES: [(&str, &str); 5] =
    [("symbian", "Nokia, Symbian"), ("funambol", "Funambol"), ("kcalendarcore", "KDE"), ("kdepim", "KDE"), ("Horde", "Horde")];

fn producer(octets: &[u8], repository: &str) -> String {
    let text = String::from_utf8_lossy(octets);
    let id = text.lines().find(|l| l.get(..6).is_some_and(|n| n.eq_ignore_ascii_case("PRODID"))).map(str::to_ascii_lowercase);
    let family = |id: &str| FAMILIES.iter().find(|(word, _)| id.contains(word)).map(|(_, family)| (*family).to_owned());
    let home =
        || REPOSITORIES.iter().find(|(word, _)| repository.to_lowercase().contains(&word.to_lowercase())).map(|(_, f)| (*f).to_owned());
    let others = || repository.rsplit('/').next().unwrap_or(repository).to_owned();
    id.as_deref().and_then(family).or_else(home).unwrap_or_else(others)
}
