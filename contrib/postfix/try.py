"""Plays everybody around Postfix and the relay, and checks what each of them gets. Run by try.sh.

Mary (tiny.com) sends mail through Postfix, which delivers hers to a maildir; jumbo.com has a calendar server (here:
`Peer`); one sink stands for the mail servers of all others. Only Python's standard library is used, none of the relay's code.
"""

import argparse
import email
import email.policy
import mailbox
import os
import smtplib
import socket
import socketserver
import sys
import threading
import time

DEADLINE = 30.0


class Sink(socketserver.StreamRequestHandler):
    """A mail server that keeps (recipients, octets)."""

    mails = []

    def handle(self):
        recipients = []
        self.say("220 sink ESMTP")
        for line in iter(self.rfile.readline, b""):
            verb = line[:4].upper()
            if verb == b"EHLO":
                self.say("250-sink\r\n250-8BITMIME\r\n250 SMTPUTF8")
            elif verb == b"RCPT":
                recipients.append(line.split(b"<")[1].split(b">")[0].decode())
                self.say("250 ok")
            elif verb == b"DATA":
                self.say("354 go on")
                data = b""
                for part in iter(self.rfile.readline, b".\r\n"):
                    data += part[1:] if part.startswith(b".") else part
                self.mails.append((recipients, data))
                recipients = []
                self.say("250 kept")
            elif verb == b"QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 ok")

    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")


class Peer(socketserver.StreamRequestHandler):
    """The calendar server of jumbo.com: keeps (verb, object) and accepts everything."""

    commands = []

    def handle(self):
        self.wfile.write(b"OK CIP 1.0 jumbo.com\r\n")
        for line in iter(self.rfile.readline, b""):
            line = line.strip()
            if not line:
                continue
            data = b""
            if line.endswith(b"+"):
                for part in iter(self.rfile.readline, b".\r\n"):
                    data += part
            verb = line.split()[0].rstrip(b"+").upper().decode()
            self.commands.append((verb, data.replace(b"\r\n ", b"").replace(b"\r\n\t", b"").decode()))
            infos = b""
            if verb == "SENDEVENT":
                for prop in self.commands[-1][1].split("\r\n"):
                    if prop.upper().startswith("X-CIP-RCPT"):
                        infos += b"* TENTATIVE " + prop.split(":", 1)[1].strip().encode() + b"\r\n"
            self.wfile.write(infos + b"OK 000 Done.\r\n")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def serve(port, handler):
    threading.Thread(target=Server(("127.0.0.1", port), handler).serve_forever, daemon=True).start()


def wait(what, check):
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        found = check()
        if found:
            print(f"ok: {what}")
            return found
        time.sleep(0.05)
    print(f"FAILED: {what}")
    print("commands at jumbo.com:", Peer.commands)
    print("mails at the sink:", [(r, d[:2000]) for r, d in Sink.mails])
    sys.exit(1)


def check(what, truth, seen=""):
    if not truth:
        print(f"FAILED: {what}\n{seen}")
        sys.exit(1)
    print(f"ok: {what}")


def greeted(port):
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            return connection.recv(200).startswith((b"OK CIP", b"220"))
    except OSError:
        return False


def cip(port, verb, lines):
    """One command at the relay; its answer."""
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as connection:
        stream = connection.makefile("rwb")
        stream.readline()
        stream.write("\r\n".join([f"{verb} +", *lines, ".", ""]).encode())
        stream.flush()
        answer = []
        while not answer or answer[-1].startswith("*"):
            answer.append(stream.readline().decode().strip())
            if answer[-1] == "":
                break
        return answer


def crlf(text):
    return text.replace("\n", "\r\n").encode("utf-8")


def invitation(uid, attendee):
    return crlf(f"""\
From: Mary Weaver <mary@tiny.com>
To: {attendee}
Subject: Lunch
Date: Mon, 23 Nov 2026 09:00:00 +0000
Message-ID: <{uid}-mail@tiny.com>
MIME-Version: 1.0
Content-Type: text/calendar; charset=UTF-8; method=REQUEST
Content-Transfer-Encoding: 8bit

BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//try//EN
METHOD:REQUEST
BEGIN:VEVENT
UID:{uid}
SEQUENCE:0
DTSTAMP:20261123T090000Z
DTSTART:20301201T120000Z
DTEND:20301201T130000Z
SUMMARY:Lunch at the Café
ORGANIZER;CN=Mary Weaver:mailto:mary@tiny.com
ATTENDEE;RSVP=TRUE;PARTSTAT=NEEDS-ACTION:mailto:{attendee}
END:VEVENT
END:VCALENDAR
""")


PLAIN = crlf("""\
From: Mary Weaver <mary@tiny.com>
To: tom@jumbo.com
Subject:  =?utf-8?q?Caf=C3=A9?= and
  a folded field
Date: Mon, 23 Nov 2026 09:00:00 +0000
Message-ID: <plain@tiny.com>
MIME-Version: 1.0
Content-Type: text/plain; charset=UTF-8
Content-Transfer-Encoding: 8bit

Smörgåsbord at noon?
.
..two dots
From the start of a line, and blanks at its end  \t
""")


def main():
    parser = argparse.ArgumentParser()
    for name in ("submission", "relay-cip", "peer", "sink"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--maildir", required=True)
    ports = parser.parse_args()
    serve(ports.sink, Sink)
    serve(ports.peer, Peer)
    for name, port in (("Postfix", ports.submission), ("the relay", ports.relay_cip)):
        wait(f"{name} greets", lambda port=port: greeted(port))

    def mail(recipients, octets, sender="mary@tiny.com"):
        with smtplib.SMTP("127.0.0.1", ports.submission, local_hostname="pc.tiny.com") as client:
            client.sendmail(sender, recipients, octets, mail_options=["BODY=8BITMIME"])

    def at_sink(recipient, holds=b""):
        return [data for recipients, data in Sink.mails if recipient in recipients and holds in data]

    def at_mary(holds=b""):
        if not os.path.isdir(os.path.join(ports.maildir, "new")):
            return []
        return [data for data in (m.as_bytes() for m in mailbox.Maildir(ports.maildir, create=False)) if holds in data]

    def events(holds):
        return [data for verb, data in Peer.commands if verb == "SENDEVENT" and holds in data]

    mail(["tom@jumbo.com"], invitation("lunch-1", "tom@jumbo.com"))
    (event,) = wait("Mary's invitation reaches jumbo.com's calendar server", lambda: events("tom@jumbo.com"))
    uid = next(line for line in event.split("\r\n") if line.upper().startswith("UID")).split(":", 1)[1].strip()

    mail(["tom@jumbo.com"], PLAIN)
    (plain,) = wait("plain mail for the same domain reaches its mail server", lambda: at_sink("tom@jumbo.com", b"<plain@tiny.com>"))
    check("... octet for octet, with fields put in front only", plain.endswith(PLAIN), plain)

    kept = invitation("lunch-2", "joe@mailonly.example")
    mail(["joe@mailonly.example"], kept)
    (fallback,) = wait("an invitation for a domain without calendar server reaches its mail server", lambda: at_sink("joe@mailonly.example"))
    check("... octet for octet, past the transport map", fallback.endswith(kept), fallback)

    mail(["ann=jumbo.com@cip.tiny.com"], invitation("lunch-3", "ann=jumbo.com@cip.tiny.com"))
    wait("an invitation to a gateway address reaches the calendar server", lambda: events("ann@jumbo.com"))

    answer = cip(ports.relay_cip, "RSVP", [f"UID: {uid}", "SEQUENCE: 1", "ATTENDEE: Tom <tom@jumbo.com>", "STATUS: CONFIRMED"])
    check("jumbo.com's RSVP is taken", answer[-1].startswith("OK"), answer)
    (reply,) = wait("... and reaches Mary's maildir as a REPLY", lambda: at_mary(b"method=REPLY"))
    parts = [p for p in email.message_from_bytes(reply, policy=email.policy.default).walk() if p.get_content_type() == "text/calendar"]
    lines = parts[0].get_payload(decode=True).decode().replace("\r\n ", "").splitlines() if parts else []
    check("... with her own UID", "UID:lunch-1" in lines, reply)
    check("... and Tom's answer", any("PARTSTAT=ACCEPTED" in p and p.endswith("mailto:tom@jumbo.com") for p in lines), reply)

    answer = cip(ports.relay_cip, "SENDEVENT", [
        "UID: picnic@jumbo.com", "SEQUENCE: 1", "DTSTART: 20301224T180000Z", "DTEND: 20301224T200000Z", "SUMMARY: Picnic",
        "ATTENDEE; ROLE=OWNER: Tom <tom@jumbo.com>", "ATTENDEE: Mary <mary@tiny.com>",
        "ATTENDEE: <nobody@tiny.com>"])
    check("jumbo.com's invitation is taken", "* TENTATIVE mary@tiny.com" in answer and answer[-1].startswith("OK 003"), answer)
    check("... but not for somebody whom Postfix does not know", "* NOTFOUND nobody@tiny.com" in answer, answer)
    (invited,) = wait("... and reaches Mary's maildir", lambda: at_mary(b"method=REQUEST"))
    token = email.message_from_bytes(invited, policy=email.policy.default)["Reply-To"].addresses[0].addr_spec
    check("... with a reply address of the relay's", token.endswith("@cip.tiny.com"), token)
    mail([token], crlf(f"""\
From: Mary <mary@tiny.com>
To: {token}
Subject: Accepted: Picnic
Date: Mon, 23 Nov 2026 09:10:00 +0000
Message-ID: <yes@tiny.com>
MIME-Version: 1.0
Content-Type: text/calendar; charset=UTF-8; method=REPLY

BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//try//EN
METHOD:REPLY
BEGIN:VEVENT
UID:picnic@jumbo.com
SEQUENCE:0
DTSTAMP:20261123T091000Z
ORGANIZER:mailto:{token}
ATTENDEE;PARTSTAT=ACCEPTED:mailto:mary@tiny.com
END:VEVENT
END:VCALENDAR
"""))
    wait("Mary's answer reaches jumbo.com as RSVP", lambda: [d for v, d in Peer.commands if v == "RSVP" and "mary@tiny.com" in d])

    # A loop would show as a second copy; everything above has come, so a moment is enough.
    time.sleep(1)
    copies = (len(events("tom@jumbo.com")), len(at_sink("tom@jumbo.com")), len(at_sink("joe@mailonly.example")), len(at_mary()))
    check("each of them came once", copies == (1, 1, 1, 2), copies)


main()
