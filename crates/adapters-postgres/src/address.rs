use std::time::Duration;

use crate::watchdog::TCP_USER_TIMEOUT_MS;

/// What sessions are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Only a primary will do.
    Writing,
    /// A hot standby will do.
    Reading,
}

/// Where the server is, or the servers. May hold a password.
pub(crate) struct Address {
    /// The URL with what libpq is told besides.
    pub(crate) url: String,
    /// How long libpq may take to try all servers.
    pub(crate) connecting_max: Duration,
}

impl Address {
    /// Adds to the URL what it does not say itself. A server that is one of several may take a third of `patience` to
    /// answer, so that there is time for the next one.
    pub(crate) fn new(database_url: &str, purpose: Purpose, patience: Duration) -> Self {
        // More than there are where a password has commas; the bound is longer then.
        let hosts = database_url.split(',').count();
        let share = if hosts > 1 { patience / 3 } else { patience };
        let session = match purpose {
            Purpose::Writing => "read-write",
            Purpose::Reading => "any",
        };
        let defaults = [
            ("connect_timeout", share.as_secs().max(1).to_string()),
            ("target_session_attrs", session.to_owned()),
            // A server that has vanished behind a query it has taken is noticed by these alone.
            ("keepalives_idle", "5".to_owned()),
            ("keepalives_interval", "2".to_owned()),
            ("keepalives_count", "3".to_owned()),
            ("application_name", "payment-callback".to_owned()),
        ];
        let mut url = database_url.to_owned();
        for (name, value) in defaults {
            if parameter(&url, name).is_none() {
                add(&mut url, name, &value);
            }
        }
        // Of two values libpq takes the last one.
        add(&mut url, "tcp_user_timeout", &TCP_USER_TIMEOUT_MS.to_string());
        let connect_timeout_s = parameter(&url, "connect_timeout").and_then(|seconds| seconds.parse().ok());
        let connecting_max = Duration::from_secs(connect_timeout_s.unwrap_or(0)).saturating_mul(hosts as u32);
        Self { url, connecting_max }
    }
}

fn parameter<'a>(url: &'a str, name: &str) -> Option<&'a str> {
    let (_, parameters) = url.split_once('?')?;
    parameters.split('&').find_map(|parameter| parameter.strip_prefix(name)?.strip_prefix('='))
}

fn add(url: &mut String, name: &str, value: &str) {
    let separator = if url.contains('?') { '&' } else { '?' };
    url.push_str(&format!("{separator}{name}={value}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDED: &str = "keepalives_idle=5&keepalives_interval=2&keepalives_count=3&application_name=payment-callback\
                         &tcp_user_timeout=10007";

    #[track_caller]
    fn check(database_url: &str, purpose: Purpose, url: &str, connecting_max_s: u64) {
        let address = Address::new(database_url, purpose, Duration::from_secs(4));
        assert_eq!(address.url, url);
        assert_eq!(address.connecting_max, Duration::from_secs(connecting_max_s));
    }

    #[test]
    fn what_the_url_says_itself_counts() {
        let url = format!("postgres://host/db?connect_timeout=4&target_session_attrs=read-write&{ADDED}");
        check("postgres://host/db", Purpose::Writing, &url, 4);
        let url = "postgres://host/db?connect_timeout=9&application_name=x&target_session_attrs=any&keepalives_idle=5\
                   &keepalives_interval=2&keepalives_count=3&tcp_user_timeout=10007";
        check("postgres://host/db?connect_timeout=9&application_name=x", Purpose::Reading, url, 9);
        let url = "postgres://host/db?target_session_attrs=primary&connect_timeout=4";
        let url = format!("{url}&{ADDED}");
        check("postgres://host/db?target_session_attrs=primary", Purpose::Writing, &url, 4);
    }

    #[test]
    fn one_of_several_servers_leaves_time_for_the_next() {
        let url = format!("postgres://a:1,b:2/db?connect_timeout=1&target_session_attrs=read-write&{ADDED}");
        check("postgres://a:1,b:2/db", Purpose::Writing, &url, 2);
    }
}
