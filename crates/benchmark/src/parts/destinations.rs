//! The central log, as it may be: callbacks must not wait for it.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use crate::ground::Store;
use crate::report::Figures;
use crate::setting::Setting;
use crate::trial::Trial;

const CALLBACKS: u64 = 12_000;

/// How the destination behaves. What answers, well or badly, belongs here as well.
#[derive(Debug, Clone, Copy)]
enum Destination {
    /// None is set.
    Unset,
    /// Nobody listens.
    Down,
    /// Takes connections and says nothing.
    Hangs,
}

/// As the names of the figures and the table have them.
pub(crate) const WORDS: [&str; 3] = ["unset", "down", "hangs"];

impl Destination {
    const ALL: [Self; 3] = [Self::Unset, Self::Down, Self::Hangs];

    fn word(self) -> &'static str {
        WORDS[self as usize]
    }

    /// What `LOGGING_SERVICE_URL` is to be. What listens there goes with this program.
    fn url(self) -> anyhow::Result<Option<String>> {
        let url = |address: SocketAddr| Some(format!("http://{address}"));
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        match self {
            Self::Unset => Ok(None),
            Self::Down => Ok(url(address)),
            Self::Hangs => {
                thread::spawn(move || listener.incoming().collect::<Vec<Result<TcpStream, _>>>());
                Ok(url(address))
            }
        }
    }
}

pub(crate) fn round(setting: &mut Setting, figures: &mut Figures) -> anyhow::Result<()> {
    for destination in Destination::ALL {
        let url = destination.url()?;
        let settings: Vec<_> = url.iter().map(|url| ("LOGGING_SERVICE_URL", url.as_str())).collect();
        let sent = setting.run(Store::Sqlite, Trial { settings: &settings, ..Trial::closed(CALLBACKS) })?.sent;
        figures.note(format!("log.{}.per_second", destination.word()), sent.per_second());
    }
    Ok(())
}
