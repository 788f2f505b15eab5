use std::sync::{LazyLock, Mutex};

use chrono::{DateTime, Utc};
use domain::DeliveryId;
use ports::Clock;
use uuid::{ContextV7, Timestamp, Uuid};

/// A fresh id for an entry whose outcome is being decided: greater than every id that this process has made before,
/// also when the clock has been set back, and not older than its receipt, which `since` relies on.
pub(crate) fn next_delivery_id(clock: &dyn Clock, received_at: DateTime<Utc>) -> DeliveryId {
    static CONTEXT: LazyLock<Mutex<ContextV7>> =
        LazyLock::new(|| Mutex::new(ContextV7::new().with_additional_precision()));
    let time = clock.now().max(received_at);
    let seconds = u64::try_from(time.timestamp()).unwrap_or(0);
    DeliveryId(Uuid::new_v7(Timestamp::from_unix(&*CONTEXT, seconds, time.timestamp_subsec_nanos())))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    struct FixedClock(DateTime<Utc>);

    impl Clock for FixedClock {
        fn now(&self) -> DateTime<Utc> {
            self.0
        }
    }

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).expect("a time")
    }

    #[test]
    fn ids_grow_whatever_the_clock_says_and_are_not_older_than_their_receipt() {
        let mut last = None;
        for (now, received_at) in [(100, 100), (100, 100), (90, 90), (95, 120), (110, 110), (130, 129)] {
            let id = next_delivery_id(&FixedClock(at(now)), at(received_at));
            assert!(id >= DeliveryId::first_at(at(received_at)), "{id}");
            assert!(Some(id) > last, "{id} at {now}");
            last = Some(id);
        }
    }

    #[test]
    fn ids_of_one_thread_grow_while_others_make_ids_too() {
        let make = || (0..10_000).map(|_| next_delivery_id(&FixedClock(at(0)), at(0))).collect::<Vec<_>>();
        let mut ids: Vec<DeliveryId> = thread::scope(|scope| {
            let threads = [scope.spawn(make), scope.spawn(make)];
            let ids = threads.map(|thread| thread.join().expect("no panic"));
            assert!(ids.iter().all(|ids| ids.is_sorted()));
            ids.concat()
        });
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 20_000);
    }
}
