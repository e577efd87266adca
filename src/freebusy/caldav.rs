//! A CalDAV calendar as a source: `free-busy-query` (RFC 4791 7.10), and where a server lacks it `calendar-query` (7.8).
//!
//! Invariant: an answer that is not all of the answer (a part cut off by the server's limits, a member it could not
//! read) is an error: what is missing could be busy.

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode, Url};

use super::web::{Request, Response, Web, WebError};
use crate::calendar::busy::Window;
use crate::calendar::busy::reply::basic_utc;
use crate::config::Report;

const DAV: &str = "DAV:";
const CALDAV: &str = "urn:ietf:params:xml:ns:caldav";
/// Elements and texts of one answer.
const MAX_NODES: u32 = 500_000;

/// What a collection tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Collection {
    /// There is none.
    Absent,
    /// The server's own summary.
    FreeBusy(Vec<u8>),
    /// The events that touch the window, one calendar after the other.
    Events(Vec<u8>),
}

/// Asks a collection about a window.
pub async fn ask(web: &Web, first: Report, url: Url, login: Option<HeaderValue>, window: Window) -> Result<Collection, WebError> {
    let range = format!(r#"<C:time-range start="{}" end="{}"/>"#, basic_utc(window.start), basic_utc(window.end));
    if first == Report::FreeBusyQuery
        && let Some(told) = free_busy_query(web, &url, login.clone(), &range).await?
    {
        return Ok(told);
    }
    let query = format!(
        r#"<?xml version="1.0" encoding="utf-8"?><C:calendar-query xmlns:D="{DAV}" xmlns:C="{CALDAV}"><D:prop><C:calendar-data/></D:prop><C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT">{range}</C:comp-filter></C:comp-filter></C:filter></C:calendar-query>"#
    );
    let response = report(web, &url, login, query).await?;
    match response.status {
        StatusCode::MULTI_STATUS => events(&response.body).map(Collection::Events),
        StatusCode::NOT_FOUND | StatusCode::GONE => Ok(Collection::Absent),
        status => Err(WebError(format!("the server answered {status} to calendar-query"))),
    }
}

/// `None`: the server lacks it.
async fn free_busy_query(web: &Web, url: &Url, login: Option<HeaderValue>, range: &str) -> Result<Option<Collection>, WebError> {
    let query = format!(r#"<?xml version="1.0" encoding="utf-8"?><C:free-busy-query xmlns:C="{CALDAV}">{range}</C:free-busy-query>"#);
    let response = report(web, url, login, query).await?;
    match response.status {
        StatusCode::OK if contains(&response.body, b"BEGIN:VFREEBUSY") => Ok(Some(Collection::FreeBusy(response.body))),
        StatusCode::NOT_FOUND | StatusCode::GONE => Ok(Some(Collection::Absent)),
        StatusCode::UNAUTHORIZED => Err(WebError("the server refused the user and password (401)".to_owned())),
        // Servers say in many ways that they do not know this report (501, 403, 405, 400, 200 without a VFREEBUSY …).
        _ => Ok(None),
    }
}

async fn report(web: &Web, url: &Url, login: Option<HeaderValue>, body: String) -> Result<Response, WebError> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml; charset=utf-8"));
    headers.insert(HeaderName::from_static("depth"), HeaderValue::from_static("1"));
    headers.extend(login.map(|login| (AUTHORIZATION, login)));
    let method = Method::from_bytes(b"REPORT").map_err(|error| WebError(error.to_string()))?;
    web.exchange(Request { method, url: url.clone(), headers, body: body.into_bytes() }).await
}

fn contains(octets: &[u8], word: &[u8]) -> bool {
    octets.windows(word.len()).any(|w| w.eq_ignore_ascii_case(word))
}

/// The calendar data of a multistatus (RFC 4791 7.8; RFC 4918 13).
fn events(body: &[u8]) -> Result<Vec<u8>, WebError> {
    let bad = |what: &str| WebError(format!("the answer to calendar-query {what}"));
    let text = std::str::from_utf8(body).map_err(|_| bad("is not UTF-8"))?;
    // Document types, and with them entities that grow, are refused by default.
    let options = roxmltree::ParsingOptions { nodes_limit: MAX_NODES, ..Default::default() };
    let document = roxmltree::Document::parse_with_options(text, options).map_err(|error| bad(&format!("is not XML: {error}")))?;
    let root = document.root_element();
    if !root.has_tag_name((DAV, "multistatus")) {
        return Err(bad("is not a multistatus"));
    }
    let mut calendars = Vec::new();
    for response in root.children().filter(|n| n.has_tag_name((DAV, "response"))) {
        let status = |node: roxmltree::Node<'_, '_>| {
            let status = node.children().find(|n| n.has_tag_name((DAV, "status"))).and_then(|n| n.text());
            status.map(|line| line.split_whitespace().nth(1) == Some("200"))
        };
        if status(response) == Some(false) {
            return Err(bad("is incomplete: the server could not give all of it"));
        }
        let good = response.children().filter(|n| n.has_tag_name((DAV, "propstat")) && status(*n) == Some(true));
        let data = good.flat_map(|n| n.descendants()).find(|n| n.has_tag_name((CALDAV, "calendar-data")));
        let data = data.ok_or_else(|| bad("names an event without its data"))?;
        let text: String = data.descendants().filter_map(|n| n.text().filter(|_| n.is_text())).collect();
        calendars.extend_from_slice(text.trim().as_bytes());
        calendars.extend_from_slice(b"\r\n");
    }
    Ok(calendars)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn multistatus(inner: &str) -> String {
        format!(r#"<?xml version="1.0"?><x:multistatus xmlns:x="DAV:" xmlns:y="urn:ietf:params:xml:ns:caldav">{inner}</x:multistatus>"#)
    }

    fn propstat(status: &str, data: &str) -> String {
        format!(
            "<x:response><x:href>/a</x:href><x:propstat><x:prop>{data}</x:prop><x:status>HTTP/1.1 {status}</x:status></x:propstat></x:response>"
        )
    }

    #[test]
    fn calendar_data_is_taken_out_whole_or_not_at_all() {
        let data = "<y:calendar-data>BEGIN:VCALENDAR&#13;\nSUMMARY:a &amp; b\n<![CDATA[END:VCALENDAR]]>\n</y:calendar-data>";
        let good = multistatus(&propstat("200 OK", data).repeat(2));
        let one = "BEGIN:VCALENDAR\r\nSUMMARY:a & b\nEND:VCALENDAR\r\n";
        assert_eq!(String::from_utf8(events(good.as_bytes()).unwrap()).unwrap(), one.repeat(2));
        assert_eq!(events(multistatus("").as_bytes()), Ok(Vec::new()));
        let cut = "<x:response><x:href>/</x:href><x:status>HTTP/1.1 507 Insufficient Storage</x:status></x:response>";
        for bad in [
            multistatus(&propstat("404 Not Found", "<y:calendar-data/>")),
            multistatus(&propstat("200 OK", "<x:getetag>1</x:getetag>")),
            multistatus(&(propstat("200 OK", data) + cut)),
            "<html/>".to_owned(),
            "no XML".to_owned(),
            format!("<!DOCTYPE x [<!ENTITY a \"aa\">]>{}", multistatus("")),
        ] {
            assert!(events(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
