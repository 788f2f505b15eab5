//! PostgreSQL servers and poolers of a test's own, for what cannot be done to the server that all tests share.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

/// Longer than a server takes to start.
const STARTING_MAX: Duration = Duration::from_secs(60);

/// A server. It ends with this value.
pub(crate) struct Server {
    folder: TempDir,
    pub(crate) port: u16,
}

impl Server {
    /// A primary.
    pub(crate) fn start() -> Self {
        let server = Self::new();
        let options = ["--username", "postgres", "--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync"];
        server.run("initdb", &[&["--pgdata", "data"], &options[..]].concat());
        server.begin();
        server
    }

    /// A hot standby of this server that follows it.
    pub(crate) fn standby(&self) -> Self {
        let standby = Self::new();
        let source = format!("postgres://postgres@127.0.0.1:{}", self.port);
        let options = ["--write-recovery-conf", "--checkpoint", "fast", "--no-sync"];
        standby.run("pg_basebackup", &[&["--pgdata", "data", "--dbname", &source], &options[..]].concat());
        standby.begin();
        standby
    }

    fn new() -> Self {
        let folder = crate::test_app::folder();
        if geteuid().is_root() {
            let owner = Command::new("chown").arg("postgres").arg(folder.path()).status();
            assert!(owner.expect("a program that runs").success());
        }
        Self { folder, port: free_port() }
    }

    fn begin(&self) {
        // No test of its own looks at what survives a crash of the machine.
        let options =
            format!("-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off", self.port);
        self.run("pg_ctl", &["start", "--wait", "--pgdata", "data", "--log", "server.log", "-o", &options]);
    }

    /// Makes a primary of a standby.
    pub(crate) fn promote(&self) {
        self.run("pg_ctl", &["promote", "--wait", "--pgdata", "data"]);
    }

    /// Stops all its processes. The kernel goes on acknowledging what is sent to them.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    fn signal(&self, signal: Signal) {
        let Ok(text) = fs::read_to_string(self.folder.path().join("data/postmaster.pid")) else { return };
        let main: i32 = text.lines().next().and_then(|line| line.parse().ok()).expect("a process id");
        let send = |pid: i32| {
            // A process may just have ended.
            let _ = kill_process(Pid::from_raw(pid).expect("a process id"), signal);
        };
        // It first, for it makes the others.
        send(main);
        let children = fs::read_to_string(format!("/proc/{main}/task/{main}/children")).unwrap_or_default();
        children.split_whitespace().filter_map(|pid| pid.parse().ok()).for_each(send);
    }

    /// Runs these statements.
    pub(crate) fn execute(&self, statements: &str) {
        let mut connection = PgConnection::establish(&self.url()).expect("a server that answers");
        for statement in statements.split(';') {
            connection.batch_execute(statement).expect("a statement that runs");
        }
    }

    /// Whether this holds there. If it cannot be asked, it does not.
    pub(crate) fn holds(&self, condition: &str) -> bool {
        let mut connection = PgConnection::establish(&self.url()).expect("a server that answers");
        diesel::select(sql::<Bool>(condition)).get_result(&mut connection).unwrap_or(false)
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let mut command = as_server_user(&bindir().join(program));
        let ended = command.args(arguments).current_dir(self.folder.path()).stdout(Stdio::null()).status();
        assert!(ended.expect("a program that runs").success(), "{program} {arguments:?}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal(Signal::CONT);
        let mut stop = as_server_user(&bindir().join("pg_ctl"));
        let stop = stop.args(["stop", "--wait", "--pgdata", "data", "--mode", "immediate"]);
        // A test that fails must not fail once more here.
        let _ = stop.current_dir(self.folder.path()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// PgBouncer in front of a server. It ends with this value.
pub(crate) struct Pooler {
    process: Child,
    _folder: TempDir,
    address: SocketAddr,
}

impl Pooler {
    pub(crate) fn start(server: &url::Url, pool_mode: &str) -> Self {
        let folder = crate::test_app::folder();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let (host, port) = (server.host_str().expect("a host"), server.port().unwrap_or(5432));
        let settings = format!(
            "[databases]\n* = user={} host={host} port={port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\n\
             unix_socket_dir =\nauth_type = any\npool_mode = {pool_mode}\ndefault_pool_size = 20\n",
            server.username(),
            address.port()
        );
        let file = folder.path().join("pgbouncer.ini");
        fs::write(&file, settings).expect("a file");
        if geteuid().is_root() {
            let owner = Command::new("chown").args(["-R", "postgres"]).arg(folder.path()).status();
            assert!(owner.expect("a program that runs").success());
        }
        // Debian has it where only root looks.
        let programs = ["/usr/sbin/pgbouncer", "pgbouncer"].map(Path::new);
        let program = if programs[0].exists() { programs[0] } else { programs[1] };
        let process = as_server_user(program).arg("-q").arg(&file).stdin(Stdio::null()).spawn();
        let pooler = Self { process: process.expect("pgbouncer, which is installed"), _folder: folder, address };
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(begun.elapsed() < STARTING_MAX, "pgbouncer does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        pooler
    }

    /// The same database by way of the pooler.
    pub(crate) fn url(&self, server: &url::Url) -> String {
        let mut url = server.clone();
        url.set_ip_host(self.address.ip()).expect("a host that can be set");
        url.set_port(Some(self.address.port())).expect("a port that can be set");
        url.into()
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.process.id()) {
            let _ = kill_process(Pid::from_raw(pid).expect("a process id"), Signal::TERM);
        }
        let _ = self.process.wait();
    }
}

/// PostgreSQL and PgBouncer refuse to run as root.
fn as_server_user(program: &Path) -> Command {
    if !geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]).arg(program);
    command
}

/// Where the server's own programs are; a link to one of them may be in PATH.
fn bindir() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/with-postgres");
    let printed = Command::new(script).arg("--bindir").output().expect("a script that runs");
    let folder = PathBuf::from(String::from_utf8(printed.stdout).expect("UTF-8").trim());
    let program = folder.join("pg_ctl").canonicalize().expect("a server's programs");
    program.parent().expect("a folder").to_owned()
}

/// Free a moment ago, not given to another test of this process, and below those that the kernel gives to outgoing
/// connections.
fn free_port() -> u16 {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let first = 10_000 + u16::try_from(std::process::id() % 100).expect("a small number") * 100;
    loop {
        let port = first + GIVEN.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
