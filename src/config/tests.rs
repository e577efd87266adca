use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::*;

fn errors(text: &str) -> String {
    parse(Path::new("relay.toml"), text).map_or_else(|e| e.to_string(), |_| "accepted".to_owned())
}

#[test]
fn every_mistake_is_named_with_its_place_and_remedy() {
    for (text, expected) in [
        ("server-id = \"tiny.com\"\ndatadir = \"x\"\n", "relay.toml:2:1: datadir: no such key; write `data-dir`"),
        ("[cip]\n  idle_timeout = \"5m\"\n", "relay.toml:2:3: cip.idle_timeout: no such key; write `idle-timeout`"),
        ("[dns]\nzzzzzzzzzzzz = 1\n", "relay.toml:2:1: dns.zzzzzzzzzzzz: no such key; known here: servers, timeout, allow-targets"),
        (
            "[cip]\nidle-timeout = \"5 minutes\"\n",
            "relay.toml:2:16: cip.idle-timeout: \"5 minutes\" is not a duration; write a number and one of ms s m h d, such as \"30s\" or \"4h\"",
        ),
        (
            "[cip]\nmax-event-size = \"ten\"\n",
            "relay.toml:2:18: cip.max-event-size: \"ten\" is not a size; write a number and one of KiB MiB GiB, such as \"10 MiB\"",
        ),
        (
            "server-id = \"-\"\n",
            "relay.toml:1:13: server-id: server-id \"-\" is not a domain name (letters, digits, `-` and `.`, labels of 1 to 63, 253 in all)",
        ),
        (
            "[cip]\ndefault-port = 70000\n",
            "relay.toml:2:16: cip.default-port: integer `70000` does not fit here; write a whole number from 0 to 65535",
        ),
        (
            "[cip]\nallow-plaintext-login = \"yes\"\n",
            "relay.toml:2:25: cip.allow-plaintext-login: string \"yes\" does not fit here; write true or false",
        ),
        (
            "[mail]\norganizer = \"tokens\"\n",
            "relay.toml:2:13: mail.organizer: \"tokens\" is not known here; write \"token\" or \"verbatim\"",
        ),
        (
            "[mail]\nsmtp-listen = [\"localhost\"]\n",
            "relay.toml:2:15: mail.smtp-listen: \"localhost\" is not a listening address; write \"127.0.0.1:2525\", \"[::1]:2525\" or \"unix:/path\"",
        ),
        (
            "[mail]\nsmarthost = \"mail.tiny.com\"\n",
            "relay.toml:2:13: mail.smarthost: \"mail.tiny.com\" is not a mail server; write \"smtp://HOST:PORT\" or \"smtps://HOST:PORT\", with ?tls=required, opportunistic or none",
        ),
        ("[[domain]]\nusers = \"any\"\n", "relay.toml:1:1: domain[0]: `name` is missing; add name = …"),
        (
            "[[domain]]\nname = \"tiny.com\"\nusers = \"users.txt\"\n",
            "relay.toml:3:9: domain[0].users: \"users.txt\" is not known as users; write \"any\", a list such as [\"users.txt\"], or { file = \"users.txt\" }",
        ),
        (
            "[tls]\ncertificate = \"c\"\nkey = \"k\"\n",
            "relay.toml:1:1: tls: this version does not serve TLS over CIP; remove the [tls] table",
        ),
        (
            "[[peer]]\nserver-id = \"a.com\"\ntls = \"required\"\n",
            "relay.toml:3:7: peer[0].tls: this version does not speak TLS over CIP, so \"required\" could never deliver; write \"opportunistic\" or \"never\", or route = \"mail\"",
        ),
        (
            "[[domain]]\nname = \"tiny.com\"\n[[domain]]\nname = \"TINY.com\"\n",
            "relay.toml:4:8: domain[1].name: TINY.com stands in two [[domain]] tables; keep one",
        ),
        (
            "[[domain]]\nname = \"tiny.com\"\nredirects = { old = \"new\" }\n",
            "relay.toml:3:13: domain[0].redirects: \"new\" is not a user-id; write the whole new address, such as \"new.name@other.org\"",
        ),
        (
            "[[domain]]\nname = \"tiny.com\"\nredirects = { old = \"Old@tiny.com\" }\n",
            "relay.toml:3:13: domain[0].redirects: Old@tiny.com leads to itself; remove it",
        ),
        (
            "[[domain]]\nname = \"tiny.com\"\naliases = { m = [\"mary\", \"mary weaver\"] }\n",
            "relay.toml:3:11: domain[0].aliases: \"mary weaver\" is neither a local part nor an address; write \"mary\" or \"tom@jumbo.com\"",
        ),
        (
            "[[domain]]\nname = \"tiny.com\"\naliases = { b = [\"a\", \"c\"], a = [\"mary\", \"b\"], mary = [\"mary\", \"bob\"] }\n",
            "relay.toml:3:11: domain[0].aliases: a@tiny.com → b@tiny.com → a@tiny.com is a circle; take one step out",
        ),
        (
            "[[domain]]\nname = \"tiny.com\"\naliases = { team = [] }\n",
            "relay.toml:3:11: domain[0].aliases: \"team\" names nobody; write whom, or remove it",
        ),
        (
            "[[domain]]\nname = \"tiny.com\"\nusers = [\"mary\", \"tom jones\"]\n",
            "relay.toml:3:9: domain[0].users: \"tom jones\" is not a user of tiny.com; write the part before the `@`",
        ),
        (
            "[[domain]]\nname = \"tiny.com\"\nusers = { probe = \"127.0.0.1\" }\n",
            "relay.toml:3:19: domain[0].users.probe: \"127.0.0.1\" is not a mail server; write \"smtp://HOST:PORT\" or \"smtps://HOST:PORT\", with ?tls=required, opportunistic or none",
        ),
        (
            "[mail]\nsmtp-listen = [\"0.0.0.0:2525\"]\n[[domain]]\nname = \"tiny.com\"\nusers = { probe = \"smtp://127.0.0.1:2525\" }\n",
            "relay.toml:5:9: domain[0].users: 127.0.0.1:2525 is this relay itself; write the address of the mail server that has the users",
        ),
        (
            "[[domain]]\nname = \"tiny.com\"\nusers = { probe = \"smtp://h\", found = \"0s\" }\n",
            "relay.toml:3:9: domain[0].users: found and not-found must be above zero, or each recipient would be asked for again; leave them out for the defaults",
        ),
        (
            "[[domain]]\nname = \"tiny.com\"\nusers = { file = \"u\", found = \"1h\" }\n",
            "relay.toml:3:9: domain[0].users: found and not-found are for `probe` alone; remove them beside `file`",
        ),
        (
            "[[domain]]\nname = \"tiny.com\"\nusers = { file = \"u\", probe = \"smtp://h\" }\n",
            "relay.toml:3:9: domain[0].users: file and probe are two ways to know the users; keep one",
        ),
        (
            "[[domain]]\nname = \"tiny.com\"\ndeliver = \"cip\"\n",
            "relay.toml:3:11: domain[0].deliver: \"cip\" needs the address of the domain's own server; add [[peer]] with server-id = \"tiny.com\" and via = \"HOST:PORT\"",
        ),
        (
            "[[domain]]\nname = \"tiny.com\"\ndeliver = \"cip\"\n[[peer]]\nserver-id = \"tiny.com\"\nroute = \"mail\"\n",
            "relay.toml:3:11: domain[0].deliver: \"cip\" contradicts route = \"mail\" of [[peer]] tiny.com; write route = \"cip\" there",
        ),
        (
            "[[peer]]\nserver-id = \"a.com\"\nvia = \"a.com\"\n",
            "relay.toml:3:7: peer[0].via: \"a.com\" is not HOST:PORT; write \"127.0.0.1:7047\" or \"[::1]:7047\"",
        ),
        (
            "[[peer]]\nserver-id = \"a.com\"\nvia = \"a.com:1\"\nroute = \"mail\"\n",
            "relay.toml:3:7: peer[0].via: is never used with route = \"mail\"; remove one of the two",
        ),
        (
            "[[peer]]\nserver-id = \"*\"\n",
            "relay.toml:2:13: peer[0].server-id: \"*\" is not a server-id; write \"jumbo.com\", or \"*.example.org\" for every name below",
        ),
        (
            "[[peer]]\nserver-id = \"a.com\"\nidentity = \"tiny.com\"\n",
            "relay.toml:3:12: peer[0].identity: needs a password-file beside it",
        ),
        (
            "[delivery]\nworkers = 0\n",
            "relay.toml:2:11: delivery.workers: is zero; write a value above zero, or leave it out for the default",
        ),
        (
            "[delivery]\nretry = { multiplier = 0.5 }\n",
            "relay.toml:2:24: delivery.retry.multiplier: is not between 1 and 1000; write 2.0 to double each wait",
        ),
        (
            "[delivery.retry]\njitter = 1.5\n",
            "relay.toml:2:10: delivery.retry.jitter: is not between 0 and 1; write 0.3 for a spread of 30 %",
        ),
        (
            "[delivery.retry]\njitter = nan\n",
            "relay.toml:2:10: delivery.retry.jitter: is not between 0 and 1; write 0.3 for a spread of 30 %",
        ),
        (
            "[delivery.retry]\ninitial = \"2h\"\n",
            "relay.toml:1:1: delivery.retry.max: is shorter than the first wait; write a longer one, or a shorter `initial`",
        ),
        (
            "[log]\nlevel = \"loud\"\n",
            "relay.toml:2:9: log.level: \"loud\" is not a level; write one of error warn info debug trace off, or directives such as \"info,cip_relay=debug\"",
        ),
        (
            "[cip]\nlisten = [\"127.0.0.1:99\"]\n[mail]\nsmtp-listen = [\"127.0.0.1:99\"]\n",
            "relay.toml:4:15: mail.smtp-listen: 127.0.0.1:99 already stands in cip.listen; give each listener an address of its own",
        ),
        (
            "[delivery]\nretry = { \"é\" = 1, jitters = 2 }\n",
            "relay.toml:2:11: delivery.retry.é: no such key; known here: initial, multiplier, max, jitter\nrelay.toml:2:20: delivery.retry.jitters: no such key; write `jitter`",
        ),
    ] {
        assert_eq!(errors(text), expected, "{text}");
    }
}

#[test]
fn one_reading_shows_all_mistakes_in_their_order() {
    let text = "server-id = 5\nbogus = 1\n[[domain]]\nname = \"a.com\"\nalias = {}\n[[domain]]\nname = \"\"\n[delivery]\nworkers = 0\n";
    let lines: Vec<String> = errors(text).lines().map(|l| l.split(": ").take(2).collect::<Vec<_>>().join(": ")).collect();
    assert_eq!(
        lines,
        [
            "relay.toml:1:13: server-id",
            "relay.toml:2:1: bogus",
            "relay.toml:5:1: domain[0].alias",
            "relay.toml:7:8: domain[1].name",
            "relay.toml:9:11: delivery.workers"
        ]
    );
}

#[test]
fn text_that_is_no_toml_is_refused_at_its_place() {
    for (text, place) in [
        ("server-id = \n", "relay.toml:1:13: not TOML: "),
        ("a = 1\na = 2\n", "relay.toml:2:1: not TOML: "),
        ("[cip\n", "relay.toml:1:5: not TOML: "),
    ] {
        let got = errors(text);
        assert!(got.starts_with(place), "{text:?}: {got}");
    }
    let many = "x = [\n".repeat(100_000);
    assert!(errors(&many).contains("not TOML"));
}

#[test]
fn a_whole_configuration_reads_as_it_is_written() {
    let text = r#"
server-id = "tiny.com"
hostname = "cal.tiny.com"
data-dir = "/var/lib/cip-relay"
control-socket = "run/control.sock"
[cip]
listen = ["[::]:6047"]
credentials = "credentials"
relay-networks = ["10.0.0.0/8"]
[mail]
domain = "cip.tiny.com"
lmtp-listen = ["unix:lmtp.sock"]
smarthost = "smtp://127.0.0.1:25?tls=none"
[[domain]]
name = "tiny.com"
users = { file = "users.txt" }
redirects = { "old.name" = "new.name@other.org" }
aliases = { "m.weaver" = "mary" }
deliver = "cip"
[[domain]]
name = "b.com"
users = ["mary"]
[[peer]]
server-id = "TINY.com"
via = "127.0.0.1:7047"
[[peer]]
server-id = "*.jumbo.com"
route = "mail"
[delivery]
retry = { initial = "1m", multiplier = 3, max = "1h", jitter = 0 }
cip-patience = "0s"
[log]
format = "json"
level = "info,cip_relay::delivery=debug"
"#;
    let config = parse(Path::new("/etc/cip-relay/relay.toml"), text).unwrap();
    assert_eq!(config.control_socket(), Path::new("/etc/cip-relay/run/control.sock"));
    assert_eq!(config.cip.credentials.as_deref(), Some(Path::new("/etc/cip-relay/credentials")));
    assert_eq!(config.mail.lmtp_listen, [Listen::Unix("/etc/cip-relay/lmtp.sock".into())]);
    assert_eq!(config.domain[0].users, Users::File { file: "/etc/cip-relay/users.txt".into() });
    assert_eq!(config.domain[1].users, Users::List(vec!["mary".to_owned()]));
    assert_eq!(config.mail.smarthost.as_ref().map(|s| (s.port, s.tls)), Some((25, TlsUse::Never)));
    assert!((config.delivery.retry.multiplier - 3.0).abs() < f64::EPSILON);
    assert_eq!(config.delivery.cip_patience.0, Duration::ZERO);
    assert_eq!(config.peer(&ServerId::parse("a.jumbo.com").unwrap()).map(|p| p.route), Some(RouteRule::Mail));
    assert_eq!(config.domain.len(), 2);
}

#[test]
fn a_file_that_says_little_gets_the_documented_defaults() {
    let config = parse(Path::new("/etc/x.toml"), "server-id = \"tiny.com\"\n").unwrap();
    assert_eq!(config.cip.listen, ["[::]:6047".parse::<SocketAddr>().unwrap()]);
    assert_eq!(config.data_dir, Path::new("/var/lib/cip-relay"));
    assert_eq!(config.domain.len(), 1);
    assert_eq!((config.domain[0].name.as_str(), &config.domain[0].users), ("tiny.com", &Users::Any));
}

#[test]
fn without_a_file_everything_stays_on_the_loopback() {
    let defaults = Config::default();
    let all = defaults.mail.smtp_listen.iter().map(|l| match l {
        Listen::Tcp(address) => *address,
        Listen::Unix(path) => panic!("{}", path.display()),
    });
    assert!(defaults.cip.listen.iter().copied().chain(all).all(|address| address.ip().is_loopback()));
    assert_eq!(defaults.data_dir, Path::new("./cip-relay-data"));
}

#[test]
fn check_names_what_the_machine_does_not_have() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("relay.toml");
    std::fs::write(dir.path().join("plain"), "").unwrap();
    std::fs::write(dir.path().join("users.txt"), "# people\nmary\ntom@tiny.com\n\ntom@other.com\n").unwrap();
    std::fs::write(dir.path().join("empty.pw"), "\n").unwrap();
    let text = r#"
server-id = "tiny.com"
data-dir = "plain"
[cip]
credentials = "absent"
[mail]
lmtp-listen = ["unix:nowhere/lmtp.sock"]
[[domain]]
name = "tiny.com"
users = { file = "users.txt" }
[[peer]]
server-id = "jumbo.com"
identity = "tiny.com"
password-file = "empty.pw"
"#;
    let config = parse(&file, text).unwrap();
    let found: Vec<String> = check(&config).iter().map(|p| p.to_string().replace(&dir.path().display().to_string(), "DIR")).collect();
    assert_eq!(
        found,
        [
            "DIR/relay.toml:3:12: data-dir: DIR/plain is not a folder; name one that this user may write to",
            "DIR/relay.toml:5:15: cip.credentials: DIR/absent: No such file or directory (os error 2); make it with `cip-relay passwd IDENTITY >> DIR/absent`, readable for the relay",
            "DIR/relay.toml:7:15: mail.lmtp-listen: the folder DIR/nowhere does not exist; create it",
            "DIR/relay.toml:10:9: domain[0].users: DIR/users.txt:5: \"tom@other.com\" is not a user of tiny.com; write the part before the `@`",
            "DIR/relay.toml:14:17: peer[0].password-file: DIR/empty.pw is empty; write the password into it",
        ]
    );
    let fine = parse(&file, "server-id = \"tiny.com\"\ndata-dir = \"new/folder\"\n").unwrap();
    assert_eq!(check(&fine), []);
    assert!(!dir.path().join("new").exists(), "checking makes nothing");
}
