//! The words of the control socket: JSON lines, with a version in every request.
//!
//! Invariant: a program of another version is refused with words and not misunderstood; within one version fields are
//! only ever added.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::ledger::LedgerFilter;
use crate::ident::EntryId;
use crate::queue::Filter;

/// The version of this protocol.
pub const VERSION: u32 = 1;

/// One line from the client.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    pub version: u32,
    pub command: Command,
}

/// What is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Command {
    /// Items: [`super::view::EntryView`].
    List {
        filter: Filter,
    },
    /// One item: [`super::view::EntryView`] with its history.
    Show {
        id: EntryId,
        payload: bool,
    },
    /// Items: [`super::view::DestinationView`].
    Summary,
    /// Items: [`Touched`]; done: how many were touched.
    Change(Change),
    /// Items: the records of `queue export`.
    Export,
    /// Records as `Export` gave them, in their order, a bounded number at a time; done: how many entries came in.
    /// After the last portion of a backup (`restored`), once with no records: own events' versions jump.
    Import {
        records: Vec<Value>,
        restored: bool,
    },
    /// Items: [`super::view::CheckView`].
    Check,
    /// Items: [`SubmitReply`], one a recipient.
    Submit(Submit),
    /// Items: [`super::ledger::EventView`].
    LedgerList {
        #[serde(default)]
        filter: LedgerFilter,
    },
    /// The event of this event-id, or every event of this iCalendar UID.
    LedgerShow {
        event_id: String,
    },
    /// Cancels the live events under a former server-id and sends them out under the present one. Items:
    /// [`super::rename::RenamedView`]; done: how many were renamed.
    LedgerRename {
        from: String,
    },
    /// Items: [`super::ledger::RedirectView`].
    RedirectList,
    /// The ids are user-ids, or with `event` event-ids.
    RedirectAdd {
        old: String,
        new: String,
        event: bool,
    },
    RedirectRemove {
        old: String,
        event: bool,
    },
}

impl Command {
    /// Only a running relay can do it.
    pub const fn needs_relay(&self) -> bool {
        matches!(self, Self::Submit(_))
    }
}

/// One line from the server.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    Item(Value),
    Done { touched: u64 },
    Error(Refusal),
}

/// Why a command was not done, or not to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The sysexits code that the command ends with.
    pub exit: u8,
    pub message: String,
}

/// What is done to entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Retry,
    Hold,
    Release,
    Drop,
    Bounce,
}

impl Action {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Drop => "drop",
            Self::Bounce => "bounce",
        }
    }

    /// For "3 entries …".
    pub const fn done(self) -> &'static str {
        match self {
            Self::Retry => "made due",
            Self::Hold => "held",
            Self::Release => "released",
            Self::Drop => "dropped",
            Self::Bounce => "bounced",
        }
    }
}

/// A change of the entries named, or else of all that the filter lets through.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Change {
    pub action: Action,
    pub ids: Vec<EntryId>,
    pub filter: Filter,
    /// Stays in the history.
    pub reason: Option<String>,
    /// Count only.
    pub dry_run: bool,
}

/// What became of one entry of a [`Change`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touched {
    pub id: EntryId,
    /// Why it was not touched.
    pub problem: Option<String>,
}

/// A mail from `submit`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Submit {
    /// `""`: the null sender.
    pub sender: String,
    pub recipients: Vec<String>,
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub message: Vec<u8>,
}

/// The answer to one recipient of a [`Submit`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubmitReply {
    pub recipient: String,
    pub code: u16,
    pub enhanced: String,
    pub text: String,
}

fn to_base64<S: Serializer>(octets: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&BASE64.encode(octets))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    BASE64.decode(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_on_the_socket_stay_what_they_are() {
        let request = Request { version: VERSION, command: Command::Show { id: EntryId::from_raw(31), payload: false } };
        assert_eq!(serde_json::to_string(&request).unwrap(), r#"{"version":1,"command":{"do":"show","id":"0000000000z","payload":false}}"#);
        let submit = r#"{"version":1,"command":{"do":"submit","sender":"","recipients":["a@b.c"],"message":"DQo="}}"#;
        let Command::Submit(submit) = serde_json::from_str::<Request>(submit).unwrap().command else { panic!("not submit") };
        assert_eq!(submit.message, b"\r\n");
        let done = serde_json::to_string(&Response::Done { touched: 2 }).unwrap();
        assert_eq!(done, r#"{"done":{"touched":2}}"#);
        assert_eq!(serde_json::from_str::<Command>(r#"{"do":"list","filter":{"state":"in-flight"}}"#).map(|_| ()).ok(), Some(()));
    }
}
