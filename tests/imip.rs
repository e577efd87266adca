//! iMIP mail: read from hand-written messages, hostile ones among them, composed, and read back by mail-parser and by
//! Python's `email`.

mod compose;
mod hostile;
mod mails;
mod read;
mod report;

use std::io::Write;
use std::process::{Command, Stdio};

use cip_relay::ident::UserId;
use serde_json::Value;

const OBJECT: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//t//t//EN\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:961\r\n\
                      SUMMARY:Caf\u{e9}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";

fn user(text: &str) -> UserId {
    UserId::parse(text).unwrap()
}

/// What Python's `email` (policy `default`, which checks structured fields) finds in a message.
fn by_python(message: &[u8]) -> Value {
    const PROGRAM: &str = r#"
import email, email.policy, json, sys
message = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
def part(p):
    leaf = not p.is_multipart() or p.get_content_maintype() == "message"
    data = (p.get_payload(decode=True) or b"") if leaf else b""
    if p.get_content_type() == "message/delivery-status":
        data = "\n\n".join(str(q).strip() for q in p.get_payload()).encode()
    return {
        "type": p.get_content_type(), "method": p.get_param("method"), "component": p.get_param("component"),
        "charset": p.get_param("charset"), "encoding": p.get("Content-Transfer-Encoding"),
        "disposition": p.get_content_disposition(), "filename": p.get_filename(),
        "text": data.decode("utf-8"), "defects": [str(d) for d in p.defects],
        "parts": [] if leaf else [part(q) for q in p.iter_parts()],
    }
fields = [[k, str(v), [str(d) for d in v.defects]] for k, v in message.items()]
people = {k: [[a.display_name, a.addr_spec] for a in message[k].addresses] for k in ("From", "To", "Reply-To") if k in message}
json.dump({"fields": fields, "people": people, "body": part(message)}, sys.stdout)
"#;
    let mut child = Command::new("python3")
        .args(["-c", PROGRAM])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("these tests need python3 in the PATH");
    child.stdin.take().unwrap().write_all(message).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "python's email gave up on\n{}", String::from_utf8_lossy(message));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Compares with a file of `tests/fixtures`, line by line. What was made lies in `target/tmp` afterwards, to be read and,
/// when the words were meant to change, to take the file's place.
fn golden(name: &str, made: &str) {
    let made = format!("{}\n", made.replace("\r\n", "\n").trim_end());
    let kept = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("golden").join(name);
    std::fs::create_dir_all(kept.parent().unwrap()).unwrap();
    std::fs::write(&kept, &made).unwrap();
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    let expected = std::fs::read_to_string(&file).unwrap_or_default().replace("\r\n", "\n");
    for (i, (ours, expected)) in made.lines().zip(expected.lines()).enumerate() {
        assert_eq!(ours, expected, "line {} of {name}; the whole is in {}", i + 1, kept.display());
    }
    assert_eq!(made.lines().count(), expected.lines().count(), "lines of {name}; the whole is in {}", kept.display());
}

/// No part and no field in which Python's parser found a fault.
fn assert_no_defects(seen: &Value) {
    for field in seen["fields"].as_array().unwrap() {
        assert_eq!(field[2], serde_json::json!([]), "{field}");
    }
    let mut open = vec![&seen["body"]];
    while let Some(part) = open.pop() {
        assert_eq!(part["defects"], serde_json::json!([]), "{}", part["type"]);
        open.extend(part["parts"].as_array().unwrap());
    }
}

fn field<'a>(seen: &'a Value, name: &str) -> Vec<&'a str> {
    let fields = seen["fields"].as_array().unwrap();
    fields.iter().filter(|f| f[0].as_str().unwrap().eq_ignore_ascii_case(name)).map(|f| f[1].as_str().unwrap()).collect()
}
