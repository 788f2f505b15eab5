//! Why there is no answer.

use std::error::Error;

/// How much of an error's text is kept.
const REASON_BYTES_MAX: usize = 500;

/// An attempt without an answer, or with one whose body could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Failure {
    /// How the attempt failed.
    pub kind: FailureKind,
    /// The error with its causes, of bounded length and without the URL.
    pub reason: String,
}

/// How an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The request cannot be sent as it is: a scheme other than http and https, for one.
    Unsendable,
    /// There is no connection: the name is unknown, the connection refused, the certificate bad.
    Unreachable,
    /// Connecting or the answer took too long.
    TimedOut,
    /// The connection ended, or what came was not HTTP. Most often the server has closed a connection that was kept.
    Broken,
    /// The answer's body is longer than it may be.
    TooLong,
}

impl Failure {
    pub(crate) fn new(kind: FailureKind, reason: String) -> Self {
        Self { kind, reason }
    }

    pub(crate) fn of_error(error: reqwest::Error) -> Self {
        let kind = match &error {
            error if error.is_builder() => FailureKind::Unsendable,
            error if error.is_timeout() => FailureKind::TimedOut,
            error if error.is_connect() => FailureKind::Unreachable,
            _ => FailureKind::Broken,
        };
        // URLs may hold keys.
        Self { kind, reason: chain(&error.without_url()) }
    }
}

/// An error with all its causes, in one line of at most 500 bytes.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    let mut text = text.replace(char::is_control, " ");
    text.truncate(text.floor_char_boundary(REASON_BYTES_MAX));
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_chain_names_all_causes_in_one_line_of_bounded_length() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] io::Error);

        for (cause, expect) in [
            ("inner".to_owned(), "outer: inner".to_owned()),
            ("two\nlines\u{1b}".to_owned(), "outer: two lines ".to_owned()),
            // Between two characters, of two bytes each.
            ("é".repeat(10_000), format!("outer: {}", "é".repeat(246))),
        ] {
            assert_eq!(chain(&Outer(io::Error::other(cause))), expect);
        }
    }
}
