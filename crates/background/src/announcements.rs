use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ports::Outbox;
use tokio::sync::Notify;

/// How long one wait lasts.
const PATIENCE: Duration = Duration::from_secs(60);

/// How soon it is tried again where nothing can be heard.
const RETRY: Duration = Duration::from_secs(5);

/// Notifies `wake_up` when another replica announces that there may be events to send. A thread does that until the
/// process ends. Where it hears nothing, the events are found all the same, by their task's period.
///
/// # Errors
/// The operating system gave no thread.
pub fn wake_on_announcements(outbox: Arc<dyn Outbox>, wake_up: Arc<Notify>) -> io::Result<()> {
    let wait = move || {
        loop {
            match outbox.wait_for_announcement(PATIENCE) {
                Ok(true) => wake_up.notify_one(),
                Ok(false) => {}
                Err(_) => thread::sleep(RETRY),
            }
        }
    };
    thread::Builder::new().name("announcements".to_owned()).spawn(wait).map(drop)
}
