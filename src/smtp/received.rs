//! The trace field that a relay puts in front of what it passes on (RFC 5321 4.4, RFC 3848, RFC 6531 3.7.3).

use std::net::IpAddr;

use super::Envelope;
use crate::clock::Timestamp;
use crate::listen::MailClient;
use crate::queue::entry::Via;

/// `Received: from HELO ([ADDRESS]) by HOST with PROTOCOL id ID; DATE`, folded, with its CRLF.
///
/// `host` is this relay's name, `id` the entry's. What the client called itself is cut down to what cannot end a line, a
/// comment or the field; the address is what counts.
pub fn received_header(client: &MailClient, envelope: &Envelope, host: &str, id: &str, at: Timestamp) -> String {
    let helo: String = client.helo.chars().filter(|&c| c.is_ascii_graphic() && !"()<>\"\\;,@".contains(c)).collect();
    let helo = if helo.is_empty() { "unknown" } else { &helo };
    let address = match client.address.map(|a| a.to_canonical()) {
        Some(IpAddr::V4(v4)) => format!(" ([{v4}])"),
        Some(IpAddr::V6(v6)) => format!(" ([IPv6:{v6}])"),
        None => String::new(),
    };
    let from = match client.via {
        Via::Smtp | Via::Lmtp | Via::Inbound => format!("from {helo}{address}\r\n\t"),
        _ => String::new(),
    };
    let with = match (client.via, envelope.smtputf8) {
        (Via::Lmtp, false) => "with LMTP",
        (Via::Lmtp, true) => "with UTF8LMTP",
        (Via::Smtp | Via::Inbound, false) => "with ESMTP",
        (Via::Smtp | Via::Inbound, true) => "with UTF8SMTP",
        _ => "(cip-relay, submitted on this host)",
    };
    // Beyond the year 262142 there is no calendar date; nobody will read this field then.
    let date = at.datetime().map_or_else(|| at.rfc3339(), |t| t.format("%a, %d %b %Y %H:%M:%S +0000").to_string());
    format!("Received: {from}by {host} {with} id {id};\r\n\t{date}\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_names_who_when_and_how() {
        let client = |via, address: Option<&str>, helo: &str| MailClient {
            via,
            address: address.map(|a| a.parse().unwrap()),
            helo: helo.to_owned(),
            trusted: false,
        };
        let table = [
            (client(Via::Smtp, Some("192.0.2.1"), "mx.tiny.com"), false, "from mx.tiny.com ([192.0.2.1])\r\n\tby r.example with ESMTP"),
            (client(Via::Inbound, Some("2001:db8::1"), "x"), true, "from x ([IPv6:2001:db8::1])\r\n\tby r.example with UTF8SMTP"),
            (client(Via::Inbound, Some("::ffff:192.0.2.1"), "x"), false, "from x ([192.0.2.1])\r\n\tby r.example with ESMTP"),
            (client(Via::Lmtp, None, "mail"), false, "from mail\r\n\tby r.example with LMTP"),
            (client(Via::Lmtp, None, "mail"), true, "from mail\r\n\tby r.example with UTF8LMTP"),
            (client(Via::Smtp, None, "a\r\nBcc: x (y);"), false, "from aBcc:xy\r\n\tby r.example with ESMTP"),
            (client(Via::Smtp, None, "m\u{fc}"), false, "from m\r\n\tby r.example with ESMTP"),
            (client(Via::Smtp, None, ""), false, "from unknown\r\n\tby r.example with ESMTP"),
            (client(Via::Submit, None, "ignored"), false, "by r.example (cip-relay, submitted on this host)"),
        ];
        for (client, smtputf8, want) in table {
            let envelope = Envelope { smtputf8, ..Envelope::default() };
            let field = received_header(&client, &envelope, "r.example", "0123456789a", Timestamp::from_millis(1_795_362_240_123));
            assert_eq!(field, format!("Received: {want} id 0123456789a;\r\n\tSun, 22 Nov 2026 15:44:00 +0000\r\n"));
        }
    }
}
