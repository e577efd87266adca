//! Foreign delivery reports (RFC 3464) in incoming mail: whom they are about, and what became of it.

use super::Action;
use crate::mime::transfer::clip;
use crate::mime::{self, Mail, Part};

/// Recipients read from a report; a token of the relay has one.
pub const MAX_RECIPIENTS: usize = 1_000;
/// Octets read of a report's machine part.
const MAX_OCTETS: usize = 1 << 20;
const MAX_VALUE: usize = 500;

/// A delivery report as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryReport {
    pub recipients: Vec<ReportedRecipient>,
    /// Of the message that it is about, when the report returns its header; without angle brackets.
    pub message_id: Option<String>,
}

/// One recipient of a report; addresses as they stand, since a report may name what is no user-id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedRecipient {
    pub recipient: String,
    pub original: Option<String>,
    pub action: Action,
    /// Such as `5.1.1`; empty when the report has none.
    pub status: String,
    pub diagnostic: Option<String>,
}

impl DeliveryReport {
    /// Those whom the report says were not and will not be reached.
    pub fn failed(&self) -> impl Iterator<Item = &ReportedRecipient> {
        self.recipients.iter().filter(|r| r.action == Action::Failed)
    }
}

/// Whether the mail itself is a report: multipart/report with delivery-status, not one that is attached somewhere.
pub fn recognize(mail: &Mail<'_>) -> Option<DeliveryReport> {
    let top = mail.parts.first().filter(|p| p.kind == "multipart/report")?;
    if top.parameter("report-type").is_some_and(|t| !t.eq_ignore_ascii_case("delivery-status")) {
        return None;
    }
    let status = mail.parts.iter().find(|p| matches!(p.kind.as_str(), "message/delivery-status" | "message/global-delivery-status"))?;
    let octets = status.octets().ok()?;
    let text = String::from_utf8_lossy(&octets[..octets.len().min(MAX_OCTETS)]).into_owned();
    Some(DeliveryReport { recipients: recipients(&text), message_id: mail.parts.iter().find_map(returned_message_id) })
}

/// The groups after the first, which is about the message.
fn recipients(text: &str) -> Vec<ReportedRecipient> {
    let mut groups: Vec<Vec<(String, String)>> = vec![Vec::new()];
    for line in text.lines() {
        let Some(group) = groups.last_mut() else { break };
        if line.trim().is_empty() {
            if !group.is_empty() {
                groups.push(Vec::new());
            }
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = group.last_mut()
                && value.len() < MAX_VALUE
            {
                value.push(' ');
                value.push_str(clip(line.trim(), MAX_VALUE));
            }
        } else if let Some((name, value)) = line.split_once(':')
            && group.len() < 100
        {
            group.push((name.trim().to_ascii_lowercase(), clip(value.trim(), MAX_VALUE).to_owned()));
        }
        if groups.len() > MAX_RECIPIENTS + 2 {
            break;
        }
    }
    // Some servers write everything in one group.
    groups.iter().filter_map(|group| recipient(group)).take(MAX_RECIPIENTS).collect()
}

fn recipient(group: &[(String, String)]) -> Option<ReportedRecipient> {
    let field = |name: &str| group.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    let address = |value: &str| {
        let bare = value.split_once(';').map_or(value, |(_, address)| address).trim();
        bare.strip_prefix('<').and_then(|a| a.strip_suffix('>')).unwrap_or(bare).to_owned()
    };
    Some(ReportedRecipient {
        recipient: field("final-recipient").or_else(|| field("original-recipient")).map(address)?,
        original: field("original-recipient").map(address),
        action: Action::parse(field("action")?.split([' ', '(']).next()?)?,
        status: field("status").and_then(|s| s.split([' ', '(']).next()).unwrap_or_default().to_owned(),
        diagnostic: field("diagnostic-code").map(str::to_owned),
    })
}

fn returned_message_id(part: &Part<'_>) -> Option<String> {
    if !matches!(part.kind.as_str(), "message/rfc822" | "message/global" | "text/rfc822-headers" | "message/global-headers") {
        return None;
    }
    mime::header_message_id(&part.octets().ok()?)
}
