//! Who owns and who attends, read from single lines and compared by address, name, answer, role and RSVP.

use super::reader::{Line, Node};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// In lower case, or the value as it stands where it holds no address.
    pub address: String,
    pub name: Option<String>,
    pub status: String,
    pub role: String,
    pub rsvp: bool,
    pub owner: bool,
    pub kind: String,
}

/// Parameters that are part of a [`Person`] or of how a value is written.
const READ: [&str; 16] = [
    "",
    "CN",
    "ROLE",
    "PARTSTAT",
    "STATUS",
    "RSVP",
    "EXPECT",
    "CUTYPE",
    "TYPE",
    "CHARSET",
    "ENCODING",
    "VALUE",
    "EMAIL",
    "X-CIP-ROLE",
    "X-CIP-CUTYPE",
    "X-CIP-PARTSTAT",
];

/// What an ATTENDEE or ORGANIZER line says.
pub fn person(line: &Line) -> Person {
    let raw = line.raw();
    let (name, address) = split(raw.trim());
    let address = if address.contains('@') { address } else { line.param("EMAIL").map_or(address, |e| split(e).1) };
    let word = |name: &str| line.param(name).map(|v| v.trim().to_ascii_uppercase().replace([' ', '_'], "-"));
    let bare: Vec<String> = line.params.iter().filter(|(n, _)| n.is_empty()).map(|(_, v)| v.to_ascii_uppercase()).collect();
    let says = |w: &str| word("ROLE").as_deref() == Some(w) || bare.iter().any(|b| b == w);
    let owner = line.name == "ORGANIZER" || says("OWNER");
    let status = word("PARTSTAT").or_else(|| word("STATUS")).unwrap_or_else(|| "NEEDS-ACTION".to_owned());
    let status = match status.as_str() {
        "SENT" | "" => "NEEDS-ACTION",
        "CONFIRMED" | "IN-PROCESS" => "ACCEPTED",
        other => other,
    };
    let name = line.param("CN").map(str::to_owned).or(name).map(|n| clean(&n));
    // Who has no address is known by his name; iCalendar wants an address all the same.
    let address = if address == "invalid:nomail" { name.clone().unwrap_or_default().to_lowercase() } else { address };
    Person {
        name: name.filter(|n| !n.is_empty() && !n.eq_ignore_ascii_case(&address)),
        address,
        status: status.to_owned(),
        role: role(word("X-CIP-ROLE").or_else(|| word("ROLE")).as_deref(), word("EXPECT").as_deref()).to_owned(),
        rsvp: matches!(word("RSVP").as_deref(), Some("TRUE" | "YES")),
        owner,
        kind: word("CUTYPE").or_else(|| word("X-CIP-CUTYPE")).or_else(|| word("TYPE")).unwrap_or_else(|| "INDIVIDUAL".to_owned()),
    }
}

fn role(role: Option<&str>, expect: Option<&str>) -> &'static str {
    match (role, expect) {
        (Some("CHAIR"), _) => "CHAIR",
        (Some("OPT-PARTICIPANT"), _) | (_, Some("REQUEST")) => "OPT-PARTICIPANT",
        (Some("NON-PARTICIPANT"), _) | (_, Some("FYI")) => "NON-PARTICIPANT",
        _ => "REQ-PARTICIPANT",
    }
}

fn clean(name: &str) -> String {
    let name: String = name.chars().filter(|c| !c.is_control() && *c != '"' && *c != '\\').collect();
    name.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `Name <address>`, `mailto:address`, or whatever stands.
fn split(value: &str) -> (Option<String>, String) {
    let strip = |v: &str| {
        let v = v.trim();
        let v = v.get(..7).filter(|p| p.eq_ignore_ascii_case("mailto:")).map_or(v, |_| &v[7..]);
        let v = v.split('?').next().unwrap_or(v).replace("%2E", ".").replace("%2e", ".");
        v.trim().trim_matches(['<', '>', '\'']).trim().to_lowercase()
    };
    let named = |n: &str| n.trim().get(..7).filter(|p| p.eq_ignore_ascii_case("mailto:")).map_or(n, |_| &n.trim()[7..]).to_owned();
    if let (Some(open), true) = (value.find('<'), value.trim_end().ends_with('>')) {
        return (Some(named(&value[..open])), strip(&value[open + 1..]));
    }
    if let (Some(open), true) = (value.find('('), value.trim_end().ends_with(')')) {
        return (Some(value[open + 1..value.len() - 1].to_owned()), strip(&value[..open]));
    }
    (None, strip(value))
}

/// The people of a component.
pub fn people(event: &Node) -> Vec<Person> {
    event.lines.iter().filter(|l| matches!(l.name.as_str(), "ATTENDEE" | "ORGANIZER")).map(person).collect()
}

/// Those whom a line names as who delegated, or to whom.
pub fn delegates(event: &Node) -> Vec<String> {
    let lists = event.lines.iter().flat_map(|l| [l.param("DELEGATED-TO"), l.param("DELEGATED-FROM")]).flatten();
    lists.flat_map(|v| v.split(',')).map(|v| split(v.trim_matches('"')).1).collect()
}

/// What of one line is not among the other side's people: an empty list when all is there.
pub fn missing(line: &Line, there: &Node) -> Vec<String> {
    let here = person(line);
    if here.address.is_empty() && here.name.is_none() {
        return Vec::new();
    }
    let same: Vec<(Person, &Line)> = there
        .lines
        .iter()
        .filter(|l| matches!(l.name.as_str(), "ATTENDEE" | "ORGANIZER"))
        .map(|l| (person(l), l))
        .filter(|(p, _)| p.address == here.address)
        .collect();
    if same.is_empty() {
        return vec![here.address];
    }
    let mut missing = Vec::new();
    if here.owner && !same.iter().any(|(p, _)| p.owner) {
        missing.push("owner".to_owned());
    }
    let mut need = |what: &str, held: bool| {
        if !held {
            missing.push(what.to_owned());
        }
    };
    need("name", here.name.is_none() || same.iter().any(|(p, _)| p.name == here.name));
    if line.name == "ATTENDEE" {
        need("status", here.owner && here.status == "NEEDS-ACTION" || same.iter().any(|(p, _)| p.status == here.status));
        need("role", here.owner || same.iter().any(|(p, _)| p.role == here.role));
        need("RSVP", !here.rsvp || same.iter().any(|(p, _)| p.rsvp));
        need("type", same.iter().any(|(p, _)| p.kind == here.kind));
    }
    for (name, value) in line.params.iter().filter(|(n, _)| !READ.contains(&n.as_str())) {
        let carried = format!("X-CIP-{name}");
        let flat = |v: &str| {
            v.chars().filter(|c| !c.is_whitespace() && !"\"'".contains(*c)).collect::<String>().to_lowercase().replace("mailto:", "")
        };
        let held = same.iter().any(|(_, l)| l.params.iter().any(|(n, v)| (n == name || *n == carried) && flat(v) == flat(value)));
        need(name, held || value.is_empty());
    }
    missing
}
