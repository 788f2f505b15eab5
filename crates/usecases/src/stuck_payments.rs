use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use ports::{Clock, LedgerError, LedgerStats, Upkeep};

use crate::Observer;

/// A registration follows its payment by seconds.
const PARKED_MAX: TimeDelta = TimeDelta::minutes(15);

/// Payments that do not come on by themselves: an operator must look.
pub struct StuckPayments {
    /// Where they are counted.
    pub upkeep: Arc<dyn Upkeep>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who is told.
    pub observer: Arc<dyn Observer>,
}

impl StuckPayments {
    /// Tells the observer if there are any.
    ///
    /// # Errors
    /// As [`Upkeep::stats`].
    pub fn report(&self) -> Result<(), LedgerError> {
        let stats = self.upkeep.stats()?;
        let now = self.clock.now();
        if any_stuck(&stats, now) {
            self.observer.stuck(&stats, now);
        }
        Ok(())
    }
}

/// A payment that stays open is not among them: customers abandon payments every day.
fn any_stuck(stats: &LedgerStats, now: DateTime<Utc>) -> bool {
    stats.unapplied_payments > 0 || stats.oldest_parked_notification_at.is_some_and(|at| now - at > PARKED_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payments_are_stuck_when_money_is_unapplied_or_a_notification_waits_for_too_long() {
        let now = DateTime::from_timestamp(1_000_000, 0).expect("a time");
        let quarter = now - TimeDelta::minutes(15);
        for (parked, unapplied_payments, stuck) in [
            (None, 0, false),
            (Some(quarter), 0, false),
            (Some(quarter - TimeDelta::seconds(1)), 0, true),
            (None, 1, true),
        ] {
            let stats = LedgerStats {
                oldest_open_payment_at: Some(now - TimeDelta::days(100)),
                oldest_parked_notification_at: parked,
                unapplied_payments,
                ..LedgerStats::default()
            };
            assert_eq!(any_stuck(&stats, now), stuck, "{stats:?}");
        }
    }
}
