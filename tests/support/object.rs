//! Just enough reading of calendar objects for the peers and for assertions: logical lines, values, people.

/// The logical lines of an object: folded lines joined, without line ends. Octets that are no UTF-8 become U+FFFD.
pub fn lines(object: &[u8]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in String::from_utf8_lossy(object).split("\r\n") {
        if line.starts_with([' ', '\t'])
            && let Some(last) = lines.last_mut()
        {
            last.push_str(&line[1..]);
        } else if !line.is_empty() {
            lines.push(line.to_owned());
        }
    }
    lines
}

/// A logical line taken apart: name in upper case, the parameters as they stand, the value trimmed.
pub fn split(line: &str) -> Option<(String, String, String)> {
    let mut quoted = false;
    let colon = line.char_indices().find(|&(_, c)| {
        quoted ^= c == '"';
        c == ':' && !quoted
    })?;
    let (head, value) = (&line[..colon.0], line[colon.0 + 1..].trim());
    let (name, params) = head.split_once(';').unwrap_or((head, ""));
    Some((name.trim().to_ascii_uppercase(), params.to_owned(), value.to_owned()))
}

/// The values of every property of this name, in order.
pub fn values(object: &[u8], name: &str) -> Vec<String> {
    lines(object).iter().filter_map(|line| split(line)).filter(|(n, ..)| n.eq_ignore_ascii_case(name)).map(|(.., value)| value).collect()
}

/// The value of the first property of this name.
pub fn value(object: &[u8], name: &str) -> Option<String> {
    values(object, name).into_iter().next()
}

/// `Name <a@b>`, `mailto:a@b`, `<a@b>`, `a@b` → `a@b`, in lower case.
pub fn address(value: &str) -> String {
    let value = value.rsplit_once('<').map_or(value, |(_, rest)| rest.split('>').next().unwrap_or(rest)).trim();
    let value = value.get(..7).filter(|head| head.eq_ignore_ascii_case("mailto:")).map_or(value, |_| &value[7..]);
    value.rsplit(char::is_whitespace).next().unwrap_or(value).to_ascii_lowercase()
}

/// Whom a SENDEVENT object is for at `server_id` (draft 2.2, profile 5): its `X-CIP-RCPT` lines, and without any the
/// attendees of that server, the owner left out.
pub fn recipients(object: &[u8], server_id: &str) -> Vec<String> {
    let named: Vec<String> = values(object, "X-CIP-RCPT").iter().map(|v| address(v)).collect();
    if !named.is_empty() {
        return named;
    }
    let owner = owner(object);
    let ours = format!("@{}", server_id.to_ascii_lowercase());
    values(object, "ATTENDEE").iter().map(|v| address(v)).filter(|a| a.ends_with(&ours) && Some(a) != owner.as_ref()).collect()
}

/// The owner: `ATTENDEE;ROLE=OWNER`, or ORGANIZER.
pub fn owner(object: &[u8]) -> Option<String> {
    let split: Vec<_> = lines(object).iter().filter_map(|line| split(line)).collect();
    let is_owner = |params: &str| params.split(';').any(|p| p.rsplit('=').next().unwrap_or(p).trim().eq_ignore_ascii_case("OWNER"));
    split
        .iter()
        .find(|(name, params, _)| name == "ATTENDEE" && is_owner(params))
        .or_else(|| split.iter().find(|(name, ..)| name == "ORGANIZER"))
        .map(|(.., value)| address(value))
}
