//! The thread between the two queues.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use slog::{BorrowedKV, Drain, Level, Never, OwnedKVList, Record, RecordStatic, o};

use crate::central::CentralQueue;
use crate::counts::{Destination, Disposition, LogCounts};
use crate::fields::Fields;
use crate::output::Output;
use crate::queue::Backpressure;
use crate::{is_about_the_log, timestamp};

/// Writes records to the stream, and then offers them to the central logging service.
pub(crate) struct Writer {
    pub(crate) output: Output,
    pub(crate) central: Option<CentralQueue>,
    pub(crate) backpressure: Arc<Backpressure>,
    pub(crate) counts: Arc<LogCounts>,
    pub(crate) now: fn() -> DateTime<Utc>,
}

impl Drain for Writer {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        let fields = Fields::gather(record, values);
        self.write(record, &fields);
        if let Some(central) = &self.central
            && !is_about_the_log(record)
        {
            central.offer(record, &fields);
        }
        if let Some(dropped) = self.backpressure.leave() {
            self.report(dropped);
        }
        Ok(())
    }
}

impl Writer {
    fn write(&self, record: &Record<'_>, fields: &Fields) {
        let statics = RecordStatic { location: record.location(), level: record.level(), tag: record.tag() };
        let record = Record::new(&statics, record.msg(), BorrowedKV(fields));
        // A record that cannot be written is lost; the service goes on.
        let disposition = match self.output.log(&record, &o!().into()) {
            Ok(()) => Disposition::Written,
            Err(_) => Disposition::Dropped,
        };
        self.counts.add(Destination::Stdout, disposition, 1);
    }

    /// Reports how many records did not get into the queue. They are lost for the central service, too, which is
    /// behind the same queue.
    fn report(&self, dropped: u64) {
        let tag = timestamp((self.now)());
        let record = RecordStatic { tag: &tag, ..slog::record_static!(Level::Warning, "") };
        let fields = Fields::new([("destination", Destination::Stdout.word().into()), ("count", dropped.into())]);
        self.write(&Record::new(&record, &format_args!("{}", crate::DROPPED), BorrowedKV(&fields)), &fields);
    }
}
