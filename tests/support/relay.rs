//! A relay in a folder of its own: its configuration, and the real program run with it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;

use super::cip::CipClient;
use super::smtp::SmtpClient;
use super::{eventually, in_time};

/// A configuration being put together. Starts from the program's defaults, but: everything on loopback and in a
/// temporary folder, look-ups may lead to loopback, and no free disk space is asked for.
#[derive(Clone)]
pub struct Settings {
    table: toml::Table,
    folder: Arc<TempDir>,
    /// What the program is run by: words before its path.
    within: Vec<String>,
    variables: Vec<(String, String)>,
}

impl Settings {
    /// A relay for the one domain `server_id`, whose users are any, with mail domain `cip.SERVER-ID`.
    pub fn new(server_id: &str) -> Self {
        let folder = Arc::new(tempfile::Builder::new().prefix("relay-").tempdir().unwrap());
        let settings = Self { table: toml::Table::new(), folder, within: Vec::new(), variables: Vec::new() };
        let data = settings.path("data");
        settings
            .set("server-id", server_id)
            .set("hostname", format!("relay.{server_id}"))
            .set("data-dir", data.display().to_string())
            .set("cip.listen", vec!["127.0.0.1:0"])
            .set("mail.domain", format!("cip.{server_id}"))
            .set("mail.smtp-listen", vec!["127.0.0.1:0"])
            .set("mail.lmtp-listen", vec!["127.0.0.1:0"])
            .set("mail.inbound-listen", vec!["127.0.0.1:0"])
            .set("dns.timeout", "1s")
            .set("dns.allow-targets", vec!["127.0.0.0/8"])
            .set("storage.free-space-minimum", "0 MiB")
            .set("log.level", "debug")
            .domain(server_id, "any")
    }

    /// Sets one key by its dotted name: `.set("delivery.cip-patience", "2s")`.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl Into<toml::Value>) -> Self {
        let mut path: Vec<&str> = key.split('.').collect();
        let last = path.pop().unwrap();
        let mut table = &mut self.table;
        for step in path {
            let next = table.entry(step).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            table = next.as_table_mut().unwrap_or_else(|| panic!("{key}: {step} is no table"));
        }
        table.insert(last.to_owned(), value.into());
        self
    }

    /// Runs the program by this command: its path and arguments come behind these words.
    #[must_use]
    pub fn within(mut self, words: &[&str]) -> Self {
        self.within = words.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Runs the program with this environment variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// The program, to be given its arguments.
    fn program(&self) -> Command {
        let mut command = match self.within.split_first() {
            None => Command::new(binary()),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(binary());
                command
            }
        };
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Removes a key, so that the program's default holds.
    #[must_use]
    pub fn unset(mut self, key: &str) -> Self {
        let (path, last) = key.rsplit_once('.').unwrap_or(("", key));
        let mut table = Some(&mut self.table);
        for step in path.split('.').filter(|s| !s.is_empty()) {
            table = table.and_then(|t| t.get_mut(step)).and_then(toml::Value::as_table_mut);
        }
        if let Some(table) = table {
            table.remove(last);
        }
        self
    }

    /// Adds a `[[domain]]`, in place of an earlier one of that name. `users`: `"any"` or an array of local parts.
    #[must_use]
    pub fn domain(self, name: &str, users: impl Into<toml::Value>) -> Self {
        let mut domain = toml::Table::new();
        domain.insert("name".to_owned(), name.into());
        domain.insert("users".to_owned(), users.into());
        self.domain_table(domain)
    }

    /// Adds a `[[domain]]` from TOML text, in place of an earlier one of that name.
    #[must_use]
    pub fn domain_text(self, text: &str) -> Self {
        self.domain_table(text.parse().unwrap_or_else(|e| panic!("{e}: {text}")))
    }

    fn domain_table(self, domain: toml::Table) -> Self {
        self.element("domain", "name", domain)
    }

    /// Adds a `[[peer]]` from TOML text: `.peer("server-id = \"jumbo.com\"\nvia = \"127.0.0.1:7047\"")`.
    #[must_use]
    pub fn peer(self, text: &str) -> Self {
        self.element("peer", "server-id", text.parse().unwrap_or_else(|e| panic!("{e}: {text}")))
    }

    fn element(mut self, list: &str, key: &str, element: toml::Table) -> Self {
        let entry = self.table.entry(list).or_insert_with(|| toml::Value::Array(Vec::new()));
        let elements = entry.as_array_mut().unwrap();
        elements.retain(|e| e.get(key) != element.get(key));
        elements.push(element.into());
        self
    }

    #[must_use]
    pub fn dns(self, server: SocketAddr) -> Self {
        self.set("dns.servers", vec![server.to_string()])
    }

    /// All mail goes to this server, in clear text.
    #[must_use]
    pub fn smarthost(self, server: SocketAddr) -> Self {
        self.set("mail.smarthost", format!("smtp://{server}?tls=none"))
    }

    /// A schedule for real time: first retry after 100 ms, at most 400 ms apart, no jitter; short connect time-outs.
    #[must_use]
    pub fn quick(self) -> Self {
        self.set("delivery.retry.initial", "100ms")
            .set("delivery.retry.multiplier", 2.0)
            .set("delivery.retry.max", "400ms")
            .set("delivery.retry.jitter", 0.0)
            .set("delivery.connect-timeout", "1s")
    }

    /// Puts a number into each listening address that leaves the port open, so that the program comes back on the same
    /// one and its address is known from outside.
    #[must_use]
    pub fn ports(mut self) -> Self {
        for key in ["cip.listen", "mail.smtp-listen", "mail.lmtp-listen", "mail.inbound-listen"] {
            let listen = self
                .listen(key)
                .into_iter()
                .map(|address| address.strip_suffix(":0").map_or_else(|| address.clone(), |host| format!("{host}:{}", free_port())));
            let listen: Vec<String> = listen.collect();
            self = self.set(key, listen);
        }
        self
    }

    fn listen(&self, key: &str) -> Vec<String> {
        let (table, key) = key.split_once('.').unwrap();
        let list = self.table.get(table).and_then(|t| t.get(key)).and_then(toml::Value::as_array);
        list.map(|l| l.iter().filter_map(toml::Value::as_str).map(str::to_owned).collect()).unwrap_or_default()
    }

    fn address(&self, key: &str) -> SocketAddr {
        self.listen(key).first().unwrap_or_else(|| panic!("{key} is empty")).parse().unwrap_or_else(|e| panic!("{key}: {e}"))
    }

    /// The folder that all of this relay's files are in; removed with the last user of these settings.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn control_socket(&self) -> PathBuf {
        let set = self.table.get("control-socket").and_then(toml::Value::as_str);
        set.map_or_else(|| self.path("data/control.sock"), PathBuf::from)
    }

    /// Writes the configuration file; gives its path.
    pub fn write(&self) -> PathBuf {
        let path = self.path("cip-relay.toml");
        fs::write(&path, self.table.to_string()).unwrap();
        path
    }

    /// Runs the program with this configuration and these arguments; `input` on its standard input.
    pub fn run(&self, arguments: &[&str], input: &[u8]) -> Output {
        use std::io::Write as _;
        let mut child = self
            .program()
            .arg("--config")
            .arg(self.write())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        // From a thread of its own, or a program that writes before it has read all would stand still with us.
        let feeder = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().unwrap();
        let _ = feeder.join();
        output
    }

    /// `queue list --json` with these further arguments, read.
    pub fn queue_json(&self, arguments: &[&str]) -> Vec<serde_json::Value> {
        let output = self.run(&[&["queue", "list", "--json"], arguments].concat(), b"");
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }
}

/// The program under test, which Cargo builds for integration tests.
pub fn binary() -> &'static Path {
    match option_env!("CARGO_BIN_EXE_cip-relay") {
        Some(path) => Path::new(path),
        None => panic!("only Cargo's integration tests are told where the program is"),
    }
}

/// A number that nobody listens on just now, and that this program has not been given before.
pub fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        if GIVEN.lock().unwrap().insert(port) {
            return port;
        }
    }
}

/// The real program, running. Killed when dropped.
pub struct Process {
    pub settings: Settings,
    child: Child,
}

impl Process {
    /// Starts `cip-relay serve` and waits until it greets.
    pub async fn start(settings: Settings) -> Self {
        let settings = settings.ports();
        let child = spawn(&settings);
        let mut process = Self { settings, child };
        process.ready().await;
        process
    }

    /// Starts it again on the same ports and data.
    pub async fn start_again(&mut self) {
        self.child = spawn(&self.settings);
        self.ready().await;
    }

    /// Starts it again and does not wait: it may be killed before it listens.
    pub fn begin_again(&mut self) {
        self.child = spawn(&self.settings);
    }

    async fn ready(&mut self) {
        let address = self.cip_address();
        let control = self.control_socket();
        for _ in 0..2000 {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("the relay ended with {status} instead of serving:\n{}", self.log());
            }
            if control.exists() && TcpStream::connect(address).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the relay does not serve:\n{}", self.log());
    }

    pub fn cip_address(&self) -> SocketAddr {
        self.settings.address("cip.listen")
    }

    pub fn smtp_address(&self) -> SocketAddr {
        self.settings.address("mail.smtp-listen")
    }

    pub fn lmtp_address(&self) -> SocketAddr {
        self.settings.address("mail.lmtp-listen")
    }

    pub fn inbound_address(&self) -> SocketAddr {
        self.settings.address("mail.inbound-listen")
    }

    pub fn control_socket(&self) -> PathBuf {
        self.settings.control_socket()
    }

    pub async fn cip(&self) -> CipClient {
        CipClient::connect(self.cip_address()).await
    }

    /// Connected, EHLO said.
    pub async fn smtp(&self) -> SmtpClient {
        SmtpClient::greet(self.smtp_address(), "EHLO").await
    }

    /// Connected, LHLO said.
    pub async fn lmtp(&self) -> SmtpClient {
        SmtpClient::greet(self.lmtp_address(), "LHLO").await
    }

    /// Connected to the listener for mail from outside, EHLO said.
    pub async fn inbound(&self) -> SmtpClient {
        SmtpClient::greet(self.inbound_address(), "EHLO").await
    }

    pub fn queue_json(&self) -> Vec<serde_json::Value> {
        self.settings.queue_json(&[])
    }

    /// Waits until `queue list` shows nothing.
    pub async fn queue_empty(&self) {
        eventually("an empty queue", || async { self.queue_json().is_empty().then_some(()) }).await;
    }

    /// Everything that it has written to standard error and output.
    pub fn log(&self) -> String {
        fs::read_to_string(self.settings.path("log")).unwrap_or_default()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`, and waits for the end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends a signal by name: `"TERM"`, `"HUP"`.
    pub fn signal(&self, name: &str) {
        // Signals other than KILL are not in the standard library.
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status().unwrap();
        assert!(status.success());
    }

    /// Sends SIGTERM and waits for the end; gives the exit status.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended().await
    }

    /// Waits for the end; gives the exit status.
    pub async fn ended(&mut self) -> ExitStatus {
        in_time("the relay to end", async {
            loop {
                if let Ok(Some(status)) = self.child.try_wait() {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- the relay's log\n{}", self.log());
        }
    }
}

fn spawn(settings: &Settings) -> Child {
    let log = File::options().create(true).append(true).open(settings.path("log")).unwrap();
    settings
        .program()
        .arg("--config")
        .arg(settings.write())
        .arg("serve")
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}
