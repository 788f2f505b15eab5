//! What an attempt means for what was to be delivered.

use std::time::Duration;

use reqwest::StatusCode;

use crate::answer::Answer;
use crate::failure::{Failure, FailureKind};

/// What to do after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The receiver has accepted it: any 2xx.
    Delivered,
    /// The connection broke. Most likely the server had closed it before the request came, so one more attempt at once
    /// is worthwhile; if that one breaks, too, it deserves a pause. The receiver may have got the request.
    RetryAtOnce,
    /// The receiver may accept it later.
    RetryAfterPause {
        /// The least pause that the receiver asks for; zero if it asks for none.
        at_least: Duration,
    },
    /// Another attempt would end the same.
    GiveUp,
}

/// Which statuses are final for a caller. 2xx is a delivery under all rules.
#[derive(Debug, Clone, Copy)]
pub struct RetryRules {
    /// Whether an answer with this status, which is not 2xx, ends the attempts.
    pub is_final: fn(StatusCode) -> bool,
    /// The longest `Retry-After` that is respected; longer ones are cut to it.
    pub retry_after_max: Duration,
}

impl RetryRules {
    /// Judges an attempt.
    #[must_use]
    pub fn verdict(&self, attempted: &Result<Answer, Failure>) -> Verdict {
        match attempted {
            Ok(answer) => self.of_answer(answer.status, answer.retry_after),
            Err(failure) => of_failure(failure.kind),
        }
    }

    fn of_answer(&self, status: StatusCode, retry_after: Option<Duration>) -> Verdict {
        if status.is_success() {
            Verdict::Delivered
        } else if (self.is_final)(status) {
            Verdict::GiveUp
        } else {
            Verdict::RetryAfterPause { at_least: retry_after.unwrap_or_default().min(self.retry_after_max) }
        }
    }
}

fn of_failure(kind: FailureKind) -> Verdict {
    match kind {
        FailureKind::Unsendable | FailureKind::TooLong => Verdict::GiveUp,
        FailureKind::Unreachable | FailureKind::TimedOut => Verdict::RetryAfterPause { at_least: Duration::ZERO },
        FailureKind::Broken => Verdict::RetryAtOnce,
    }
}

/// For [`RetryRules::is_final`]: only 408, 429 and 5xx are worth another attempt.
#[must_use]
pub fn final_unless_transient(status: StatusCode) -> bool {
    !status.is_server_error() && status != StatusCode::REQUEST_TIMEOUT && status != StatusCode::TOO_MANY_REQUESTS
}

/// How an attempt ended, in a few words: the status, or the error with its causes. Without the URL.
#[must_use]
pub fn reason(attempted: &Result<Answer, Failure>) -> String {
    match attempted {
        Ok(answer) => answer.to_string(),
        Err(failure) => failure.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_secs(5);

    /// As the central log has it.
    const TRANSIENT: RetryRules = RetryRules { is_final: final_unless_transient, retry_after_max: MAX };

    /// As the portal's events have it.
    const PERSISTENT: RetryRules = RetryRules { is_final: |status| status == StatusCode::GONE, retry_after_max: MAX };

    /// As the documented sender of callbacks has it.
    const SERVER_ERRORS: RetryRules =
        RetryRules { is_final: |status| !status.is_server_error(), retry_after_max: Duration::ZERO };

    fn after(seconds: u64) -> Verdict {
        Verdict::RetryAfterPause { at_least: Duration::from_secs(seconds) }
    }

    #[track_caller]
    fn check(rules: RetryRules, statuses: &[u16], retry_after: Option<u64>, expect: Verdict) {
        for status in statuses {
            let code = StatusCode::from_u16(*status).expect("a status");
            assert_eq!(rules.of_answer(code, retry_after.map(Duration::from_secs)), expect, "{status} {retry_after:?}");
        }
    }

    #[test]
    fn any_2xx_is_a_delivery() {
        for rules in [TRANSIENT, PERSISTENT, SERVER_ERRORS, RetryRules { is_final: |_| true, retry_after_max: MAX }] {
            check(rules, &[200, 201, 202, 204, 299], Some(3), Verdict::Delivered);
        }
    }

    #[test]
    fn what_is_transient_is_tried_again_and_all_else_is_final() {
        check(TRANSIENT, &[301, 302, 307, 400, 401, 404, 409, 410, 413, 422], Some(1), Verdict::GiveUp);
        check(TRANSIENT, &[408, 429, 500, 502, 503, 504, 599], None, after(0));
    }

    #[test]
    fn where_one_status_is_final_all_others_are_tried_again() {
        check(PERSISTENT, &[410], Some(1), Verdict::GiveUp);
        check(PERSISTENT, &[301, 302, 308, 400, 401, 404, 413, 429, 500, 503], None, after(0));
    }

    #[test]
    fn where_4xx_is_final_server_errors_are_tried_again() {
        check(SERVER_ERRORS, &[302, 400, 401, 404, 408, 429], None, Verdict::GiveUp);
        check(SERVER_ERRORS, &[500, 503], Some(60), after(0));
    }

    #[test]
    fn the_receiver_says_when_but_not_without_bounds() {
        for (asked, expect) in [(0, 0), (3, 3), (5, 5), (6, 5), (3600, 5), (u64::MAX, 5)] {
            check(TRANSIENT, &[429, 503], Some(asked), after(expect));
        }
    }

    #[test]
    fn a_failure_is_tried_again_if_that_can_help() {
        for (kind, expect) in [
            (FailureKind::Unsendable, Verdict::GiveUp),
            (FailureKind::Unreachable, after(0)),
            (FailureKind::TimedOut, after(0)),
            (FailureKind::Broken, Verdict::RetryAtOnce),
            (FailureKind::TooLong, Verdict::GiveUp),
        ] {
            let attempted = Err(Failure::new(kind, "no answer".to_owned()));
            assert_eq!((PERSISTENT.verdict(&attempted), reason(&attempted)), (expect, "no answer".to_owned()));
        }
    }
}
