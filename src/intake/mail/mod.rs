//! Mail as it comes by SMTP, LMTP or `submit`: whose it is, what it carries, and what becomes of each recipient
//! (bridge 1, 4, 6).
//!
//! A recipient is one of five kinds ([`Kind`]), judged when RCPT names him and again when the message is there. The
//! message decides what his kind means: an invitation to someone elsewhere becomes a SENDEVENT, a reply to a token
//! becomes an RSVP, and what fits no rule goes on octet for octet, as the mail server would have sent it.
//!
//! Here is the door and the judgement of a recipient; the message is read and parted among its recipients in [`post`],
//! by the people of [`groups`]; whether it is from whom it says is judged in [`authentic`]; an invitation is placed in [`invitation`], and what comes back to an organizer or to an
//! address of ours in [`returns`].

mod authentic;
mod busy;
mod groups;
mod invitation;
mod post;
mod returns;
mod state;

use self::post::Post;
use super::Intake;
use crate::config::Deliver;
use crate::ident::UserId;
use crate::imip::address::{Gateway, Token};
use crate::ledger::records::TokenRecord;
use crate::listen::{Envelope, MailClient, MailDoor, MailReply};
use crate::policy::directory::Whereabouts;

/// What a mail recipient is to the relay.
#[derive(Clone, Debug)]
enum Kind {
    /// A reply address of ours.
    Reply(TokenRecord),
    /// An envelope sender of ours: delivery reports.
    Bounce(TokenRecord),
    /// `user=domain@cip.tiny.com`: this user elsewhere, by CIP or by composed mail.
    Gateway(UserId),
    /// A user of a local domain.
    Local(UserId),
    /// Anybody elsewhere.
    Remote,
}

/// A recipient, judged.
struct Judged {
    address: UserId,
    kind: Kind,
}

impl Judged {
    /// Who that is, unwrapped from a gateway address or an alias.
    fn user(&self) -> &UserId {
        match &self.kind {
            Kind::Gateway(user) | Kind::Local(user) => user,
            Kind::Reply(_) | Kind::Bounce(_) | Kind::Remote => &self.address,
        }
    }
}

impl MailDoor for Intake {
    fn ready(&self) -> Result<(), String> {
        self.open()
    }

    async fn recipient(&self, client: &MailClient, _sender: &str, recipient: &str) -> MailReply {
        if let Err(reason) = self.open() {
            return MailReply::new(452, "4.3.1", reason);
        }
        match self.judge(client, recipient).await {
            Ok(_) => MailReply::new(250, "2.1.5", "Recipient ok"),
            Err(reply) => reply,
        }
    }

    async fn message(&self, client: &MailClient, envelope: &Envelope, message: Vec<u8>) -> Vec<MailReply> {
        if let Err(reason) = self.open() {
            return vec![MailReply::new(452, "4.3.1", reason); envelope.recipients.len()];
        }
        let post = Post::new(self, client, envelope, &message).await;
        match post.answered().await {
            Ok(replies) => replies,
            Err(error) if error.is_permanent() => {
                tracing::error!(%error, "a message cannot be stored");
                vec![MailReply::new(554, "5.3.4", "The message cannot be stored: it names too much at once"); envelope.recipients.len()]
            }
            Err(error) => {
                tracing::error!(
                    %error,
                    sender = envelope.sender,
                    peer = client.address.map(tracing::field::display),
                    event = post.object().ok().flatten().map(|(object, _)| object.event().uid.to_string()),
                    "a message could not be stored"
                );
                vec![MailReply::new(451, "4.3.0", "Storage failure, try again later"); envelope.recipients.len()]
            }
        }
    }
}

impl Intake {
    /// Who reads the relay's own mail: the postmaster of the first domain that has its mail elsewhere than here.
    fn postmaster(&self) -> Option<UserId> {
        let domain = self.0.config.domain.iter().find(|d| d.deliver == Deliver::Mail)?;
        UserId::new("postmaster", domain.name.clone()).ok()
    }

    /// What a recipient is, or the reply that refuses him. A group is all of its people.
    async fn judge(&self, client: &MailClient, recipient: &str) -> Result<Vec<Judged>, MailReply> {
        let one = |address: UserId, kind: Kind| Ok(vec![Judged { address, kind }]);
        // RFC 5321 4.5.1: a postmaster without a domain is ours.
        let postmaster = recipient.eq_ignore_ascii_case("postmaster")
            || recipient.rsplit_once('@').is_some_and(|(local, domain)| {
                local.eq_ignore_ascii_case("postmaster") && domain.eq_ignore_ascii_case(self.0.config.mail_domain().as_str())
            });
        if postmaster && let Some(address) = self.postmaster() {
            return one(address.clone(), Kind::Local(address));
        }
        let address = UserId::parse(recipient)
            .map_err(|_| MailReply::new(553, "5.1.3", format!("<{recipient}> is not an address of the form local@domain")))?;
        let temporary = |error: crate::ledger::LedgerError| {
            tracing::error!(%error, "a recipient could not be looked up");
            MailReply::new(451, "4.3.0", "Look-up failure, try again later")
        };
        let token = address.server() == self.0.config.mail_domain() && Token::parse(address.local()).is_some();
        let unknown = || {
            let why = match token {
                true => "No such reply address here: it was never given, or its event is over and forgotten",
                false => "No such address here",
            };
            MailReply::new(550, "5.1.1", format!("{why}: <{address}>"))
        };
        if address.server() == self.0.config.mail_domain() {
            if token && let Some(record) = self.0.ledger.token(address.local()).map_err(temporary)? {
                let kind = if record.bounce { Kind::Bounce(record) } else { Kind::Reply(record) };
                return one(address, kind);
            }
            if let Some(unwrapped) = Gateway::unwrap(&address, self.0.config.mail_domain()) {
                let user = unwrapped.map_err(|e| MailReply::new(553, "5.1.3", format!("Not a gateway address: {e}")))?;
                if !client.trusted {
                    return Err(MailReply::new(550, "5.7.1", "Gateway addresses are for this organization's own users"));
                }
                return one(address, Kind::Gateway(user));
            }
        }
        let found = self.0.directory.look_up(&address).await;
        let found = found.map_err(|_| MailReply::new(451, "4.1.1", format!("<{address}> cannot be looked up now, try again later")))?;
        match found {
            // A domain with a CIP server of its own: its users are reached as those elsewhere are.
            Whereabouts::Here { user, deliver: Deliver::Cip } if client.trusted => one(user, Kind::Remote),
            Whereabouts::Here { user, .. } => one(address, Kind::Local(user)),
            // Whoever may write to the group may have his mail go wherever its people are.
            Whereabouts::Group(members) => Ok(members.into_iter().map(|member| self.judge_member(client, member)).collect()),
            Whereabouts::Moved(new) if client.trusted => one(address, Kind::Local(new)),
            Whereabouts::Moved(new) => Err(MailReply::new(551, "5.1.6", format!("User has moved; try <{new}>"))),
            Whereabouts::Unknown => Err(unknown()),
            Whereabouts::Elsewhere if address.server() == self.0.config.mail_domain() => Err(unknown()),
            Whereabouts::Elsewhere if client.trusted => one(address, Kind::Remote),
            Whereabouts::Elsewhere => Err(MailReply::new(550, "5.7.1", format!("Relaying denied: <{address}> is not local"))),
        }
    }
    /// One of a group: each is served under his own address.
    fn judge_member(&self, client: &MailClient, member: UserId) -> Judged {
        let kind = match self.0.directory.find(&member) {
            Whereabouts::Here { deliver: Deliver::Cip, .. } if client.trusted => Kind::Remote,
            Whereabouts::Here { user, .. } => Kind::Local(user),
            Whereabouts::Moved(new) => Kind::Local(new),
            _ => Kind::Remote,
        };
        Judged { address: member, kind }
    }
}

fn held_enough() -> MailReply {
    MailReply::new(550, "5.7.1", "Too much of this event waits for the administrator")
}

fn unreadable(why: &str) -> MailReply {
    MailReply::new(554, "5.6.0", format!("The calendar part cannot be used: {why}"))
}
