//! The central log, as it may be: callbacks must not wait for it.

use std::time::Duration;

use simulator::{Conduct, LoggingService};

use crate::ground::Store;
use crate::report::Figures;
use crate::setting::Setting;
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
    /// Nobody listens.
    Down,
}

/// As the names of the figures and the table have them.
pub(crate) const WORDS: [&str; 6] = ["unset", "well", "slow", "fails", "hangs", "down"];

impl Destination {
    const ALL: [Self; 6] = [Self::Unset, Self::Well, Self::Slow, Self::Fails, Self::Hangs, Self::Down];

    fn word(self) -> &'static str {
        WORDS[self as usize]
    }

    /// What is to stand at the other end; `None` if records go nowhere.
    fn open(self) -> anyhow::Result<Option<LoggingService>> {
        let conduct = match self {
            Self::Unset => return Ok(None),
            Self::Well | Self::Down => Conduct::Proper,
            Self::Slow => Conduct::Slow(Duration::from_millis(200)),
            Self::Fails => Conduct::Answering(500),
            Self::Hangs => Conduct::Hanging,
        };
        let service = LoggingService::start()?;
        service.conduct(conduct);
        if matches!(self, Self::Down) {
            service.stop();
        }
        Ok(Some(service))
    }
}

pub(crate) fn round(setting: &mut Setting, figures: &mut Figures) -> anyhow::Result<()> {
    for destination in Destination::ALL {
        let service = destination.open()?;
        let url = service.as_ref().map(LoggingService::url);
        let settings: Vec<_> = url.iter().map(|url| ("LOGGING_SERVICE_URL", url.as_str())).collect();
        let sent = setting.run(Store::Sqlite, Trial { settings: &settings, ..Trial::closed(CALLBACKS) })?.sent;
        figures.note(format!("log.{}.per_second", destination.word()), sent.per_second());
    }
    Ok(())
}
