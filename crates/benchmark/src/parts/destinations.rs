//! The central log, as it may be: callbacks must not wait for it.

use std::time::Duration;

use simulator::{Behaviour, LoggingService};

use crate::dataset::Store;
use crate::report::{Figures, LOG_DESTINATIONS};
use crate::testbed::Testbed;
use crate::trial::Trial;

const CALLBACKS: u64 = 12_000;

/// How the destination behaves.
#[derive(Debug, Clone, Copy)]
enum Destination {
    /// None is set.
    Unset,
    /// Takes records, as logging-microservice does.
    Well,
    /// Takes them after a while.
    Slow,
    /// Answers 500.
    Fails,
    /// Takes connections and says nothing.
    Hangs,
    /// The port is closed.
    Down,
}

impl Destination {
    const ALL: [Self; 6] = [Self::Unset, Self::Well, Self::Slow, Self::Fails, Self::Hangs, Self::Down];

    fn word(self) -> &'static str {
        LOG_DESTINATIONS[self as usize]
    }

    /// What is to stand at the other end; `None` if records go nowhere.
    fn open(self) -> anyhow::Result<Option<LoggingService>> {
        let behaviour = match self {
            Self::Unset => return Ok(None),
            Self::Well | Self::Down => Behaviour::Proper,
            Self::Slow => Behaviour::Slow(Duration::from_millis(200)),
            Self::Fails => Behaviour::Answering(500),
            Self::Hangs => Behaviour::Hanging,
        };
        let service = LoggingService::start()?;
        service.behaviour(behaviour);
        if matches!(self, Self::Down) {
            service.stop();
        }
        Ok(Some(service))
    }
}

pub(crate) fn round(testbed: &mut Testbed, figures: &mut Figures) -> anyhow::Result<()> {
    for destination in Destination::ALL {
        let service = destination.open()?;
        let url = service.as_ref().map(LoggingService::url);
        let settings: Vec<_> = url.iter().map(|url| ("LOGGING_SERVICE_URL", url.as_str())).collect();
        let sent = testbed.run(Store::Sqlite, Trial { settings: &settings, ..Trial::closed(CALLBACKS) })?.sent;
        figures.note(format!("log.{}.per_second", destination.word()), sent.per_second());
    }
    Ok(())
}
