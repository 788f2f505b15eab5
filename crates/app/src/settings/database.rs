//! The database: where it is, and how long it is waited for.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use adapters_http::is_quoted;
use clap::Args;
use secrecy::SecretString;
use url::Url;

use super::environment::{SettingsError, Variable, help_of};
use super::values::whole_number;

const DEFAULT_URL: &str = "sqlite://data/payment-callback.sqlite3";

pub(super) const DATABASE_URL: Variable = Variable {
    name: "DATABASE_URL",
    help: "the ledger, postgres://… or sqlite://PATH;\nserve and migrate make the file",
    default: Some(DEFAULT_URL),
};

/// What `--help` says of the one setting that a command on the ledger needs.
pub(crate) fn database_help() -> String {
    help_of("Needs from the environment", &[DATABASE_URL])
}

/// How the database is waited for.
#[derive(Debug, Clone, Args)]
pub(crate) struct DatabaseWait {
    /// How long the start waits for the database, in seconds
    #[arg(long, env, hide_env_values = true, value_name = "SECONDS", default_value = "30",
          value_parser = whole_number::<0, 3600>)]
    database_wait_s: u64,
}

impl DatabaseWait {
    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs(self.database_wait_s)
    }
}

pub(crate) fn database_url() -> Result<DatabaseUrl, SettingsError> {
    let url = DATABASE_URL.read()?;
    DatabaseUrl::parse(url.as_deref().unwrap_or(DEFAULT_URL)).map_err(|reason| DATABASE_URL.error(reason))
}

/// Where the ledger is.
pub(crate) enum DatabaseUrl {
    /// A PostgreSQL server; the URL may hold a password.
    Postgres(SecretString),
    /// A file.
    Sqlite(PathBuf),
}

impl DatabaseUrl {
    /// Reads the URL; the error says what it must be and never shows it.
    pub(crate) fn parse(url: &str) -> Result<Self, Cow<'static, str>> {
        match url.split_once("://") {
            _ if is_quoted(url) => Err("must not stand in quotes".into()),
            Some(("sqlite", path)) => {
                check_file(path)?;
                Ok(Self::Sqlite(path.into()))
            }
            Some(("postgres" | "postgresql", rest)) if is_postgres_address(rest) => {
                check_parameters(rest)?;
                Ok(Self::Postgres(url.to_owned().into()))
            }
            _ => Err("must be postgres://USER:PASSWORD@HOST:PORT/DATABASE or sqlite://PATH".into()),
        }
    }
}

impl fmt::Display for DatabaseUrl {
    /// The kind of database, and for a file its path; never a host, a user or a password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres(_) => formatter.write_str("postgres"),
            Self::Sqlite(path) => write!(formatter, "sqlite at {}", path.display()),
        }
    }
}

/// Whether an SQLite file can be at this path, as far as time will not tell: a folder that is not there may be mounted
/// yet, but a file in the place of a folder remains one.
fn check_file(path: &str) -> Result<(), &'static str> {
    // What SQLite takes for something else than a path.
    let is_special = path.starts_with(':') || path.starts_with("file:") || path.contains('?');
    if path.is_empty() || is_special || path.starts_with(char::is_whitespace) || path.contains(char::is_control) {
        return Err("must be sqlite:// and the path of a file, with nothing before or behind it");
    }
    let path = Path::new(path);
    if path.as_os_str().as_encoded_bytes().ends_with(b"/") || (path.exists() && !path.is_file()) {
        return Err("must name a file; this path is a folder's, or that of something else");
    }
    match path.ancestors().skip(1).find(|folder| folder.exists()) {
        Some(folder) if !folder.is_dir() => Err("must name a file in a folder; part of this path is a file"),
        _ => Ok(()),
    }
}

/// What libpq takes for the value of a parameter.
enum Takes {
    Anything,
    Number,
    OneOf(&'static [&'static str]),
}

/// The parameters of libpq 18 (`PQconninfoOptions` in its `fe-connect.c`), with the values that it refuses before it
/// connects. `ssl` is JDBC's word for `sslmode`, which it takes in a URL.
const PARAMETERS: [(&str, Takes); 51] = [
    ("service", Takes::Anything),
    ("user", Takes::Anything),
    ("password", Takes::Anything),
    ("passfile", Takes::Anything),
    ("channel_binding", Takes::OneOf(&["disable", "prefer", "require"])),
    ("connect_timeout", Takes::Number),
    ("dbname", Takes::Anything),
    ("host", Takes::Anything),
    ("hostaddr", Takes::Anything),
    ("port", Takes::Anything),
    ("client_encoding", Takes::Anything),
    ("options", Takes::Anything),
    ("application_name", Takes::Anything),
    ("fallback_application_name", Takes::Anything),
    ("keepalives", Takes::Number),
    ("keepalives_idle", Takes::Number),
    ("keepalives_interval", Takes::Number),
    ("keepalives_count", Takes::Number),
    ("tcp_user_timeout", Takes::Number),
    ("ssl", Takes::OneOf(&["true"])),
    ("sslmode", Takes::OneOf(&["disable", "allow", "prefer", "require", "verify-ca", "verify-full"])),
    ("sslnegotiation", Takes::OneOf(&["postgres", "direct"])),
    ("sslcompression", Takes::Anything),
    ("sslcert", Takes::Anything),
    ("sslkey", Takes::Anything),
    ("sslcertmode", Takes::OneOf(&["disable", "allow", "require"])),
    ("sslpassword", Takes::Anything),
    ("sslrootcert", Takes::Anything),
    ("sslcrl", Takes::Anything),
    ("sslcrldir", Takes::Anything),
    ("sslsni", Takes::Anything),
    ("sslkeylogfile", Takes::Anything),
    ("requirepeer", Takes::Anything),
    ("require_auth", Takes::Anything),
    ("min_protocol_version", Takes::OneOf(&["3.0", "3.2", "latest"])),
    ("max_protocol_version", Takes::OneOf(&["3.0", "3.2", "latest"])),
    ("ssl_min_protocol_version", Takes::Anything),
    ("ssl_max_protocol_version", Takes::Anything),
    ("gssencmode", Takes::OneOf(&["disable", "prefer", "require"])),
    ("krbsrvname", Takes::Anything),
    ("gsslib", Takes::Anything),
    ("gssdelegation", Takes::Anything),
    ("replication", Takes::Anything),
    ("target_session_attrs", Takes::OneOf(&["any", "read-write", "read-only", "primary", "standby", "prefer-standby"])),
    ("load_balance_hosts", Takes::OneOf(&["disable", "random"])),
    ("scram_client_key", Takes::Anything),
    ("scram_server_key", Takes::Anything),
    ("oauth_issuer", Takes::Anything),
    ("oauth_client_id", Takes::Anything),
    ("oauth_client_secret", Takes::Anything),
    ("oauth_scope", Takes::Anything),
];

/// Whether libpq knows the parameters behind the question mark. Names them where it does not, and never a value; not
/// even a name where an `@` says that the question mark may stand in a password.
fn check_parameters(rest: &str) -> Result<(), Cow<'static, str>> {
    let Some((_, query)) = rest.split_once('?') else { return Ok(()) };
    for (name, value) in query.split('&').filter_map(|parameter| parameter.split_once('=')) {
        match PARAMETERS.iter().find(|(known, _)| *known == name).map(|(_, takes)| takes) {
            None if query.contains('@') => return Err("has a parameter that libpq does not know".into()),
            None => return Err(format!("has the parameter {name}, which libpq does not know").into()),
            Some(Takes::Number) if value.parse::<i32>().is_err() => {
                return Err(format!("needs a whole number for its parameter {name}").into());
            }
            Some(Takes::OneOf(words)) if !words.contains(&value) => {
                return Err(format!("needs one of {} for its parameter {name}", words.join(", ")).into());
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Whether libpq understands what follows the scheme. What it does not understand, its error shows, and that may
/// be the password.
fn is_postgres_address(rest: &str) -> bool {
    let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = address.split('/').next().unwrap_or_default();
    let hosts = authority.split_once('@').map_or(authority, |(_user, hosts)| hosts);
    // libpq takes several hosts, which the standard for URLs does not know.
    let is_host = |host: &str| !host.contains('@') && Url::parse(&format!("postgres://{host}")).is_ok();
    let is_escaped = |after: &str| after != "00" && after.bytes().all(|digit| digit.is_ascii_hexdigit());
    !rest.contains(char::is_whitespace)
        && hosts.split(',').all(is_host)
        && rest.split('%').skip(1).all(|after| after.get(..2).is_some_and(is_escaped))
        && (query.is_empty() || query.split('&').all(|part| part.matches('=').count() == 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_of_the_two_databases_are_taken() {
        for url in [
            "sqlite://data/x.sqlite3",
            "sqlite:///abs/x",
            "postgres://u:p@h:5432/db",
            "postgresql:///db",
            "postgres://a:1,b:2/db",
            "postgres://u:p@a,[::1]:2/db",
            "postgres://u:p%40%2F@h/db?sslmode=require&connect_timeout=3",
            "postgres://%2Frun%2Fpostgresql/db",
            "postgres://u:p#p@/db?host=/run",
            "postgres://",
        ] {
            assert!(DatabaseUrl::parse(url).is_ok(), "{url}");
        }
        for url in [
            "",
            "x",
            "mysql://h/db",
            "sqlite://",
            "sqlite://:memory:",
            "postgres://h:port/db",
            "postgres:h",
            "postgres://u:p@h:1x,b/db",
            "postgres://u:p@[::1,b/db",
            "postgres://u:p@p@h/db",
            "postgres://u:p/p@h/db",
            "postgres://u:p%@h/db",
            "postgres://u:p%zz@h/db",
            "postgres://u:p%00@h/db",
            "postgres://u:p@h/db?p",
            "postgres://u:p p@h/db",
            "sqlite://x.sqlite3?mode=ro",
            "sqlite://file:x.sqlite3",
            "sqlite:// x.sqlite3",
            "sqlite://x\ny.sqlite3",
            "sqlite://x/",
            "sqlite:///",
            "sqlite://.",
            "sqlite:///dev/null",
            "sqlite:///dev/null/x.sqlite3",
            "'sqlite://x.sqlite3'",
            "\"sqlite://x.sqlite3",
            "'postgres://h/db'",
        ] {
            assert!(DatabaseUrl::parse(url).is_err(), "{url}");
        }
    }
    #[test]
    fn parameters_are_those_of_libpq() {
        let refusal = |query: &str| DatabaseUrl::parse(&format!("postgres://u:p@h/db?{query}")).err();
        for query in [
            "",
            "sslmode=verify-full&sslrootcert=/etc/ssl/ca.pem",
            "ssl=true",
            "host=/run/postgresql&user=me@tenant",
            "target_session_attrs=read-write&connect_timeout=3&options=-c%20search_path%3Dx",
        ] {
            assert_eq!(refusal(query), None, "{query}");
        }
        for (query, naming) in [
            ("schema=marked", "schema"),
            ("sslmode=require&pgbouncer=marked", "pgbouncer"),
            ("sslmode=marked", "sslmode"),
            ("connect_timeout=marked", "connect_timeout"),
            ("target_session_attrs=", "target_session_attrs"),
        ] {
            let refusal = refusal(query).expect("a refusal");
            assert!(refusal.contains(naming) && !refusal.contains("marked"), "{refusal}");
        }
        // The question mark and what follows may be the password's.
        let refusal = DatabaseUrl::parse("postgres://u:p?marked=x@h/db").err().expect("a refusal");
        assert!(!refusal.contains("marked"), "{refusal}");
    }
}
