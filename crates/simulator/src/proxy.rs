//! A network path that can be cut and mended.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Passes bytes on to somebody else for as long as the path is whole.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    path: Arc<Path>,
}

#[derive(Debug)]
struct Path {
    to: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    condition: Condition,
    /// Those that are open, to be closed when the path is cut.
    streams: Vec<TcpStream>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Whole,
    /// Nobody listens, and what was open is closed.
    Refusing,
    /// Connections are taken and stay open, but nothing comes through.
    Hanging,
    Gone,
}

impl Proxy {
    /// A path to this host and port.
    ///
    /// # Errors
    /// There is no such host, or no port is free.
    pub fn to(target: impl ToSocketAddrs) -> io::Result<Self> {
        let to = target.to_socket_addrs()?.next().ok_or_else(|| io::Error::other("no such host"))?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let state = Mutex::new(State { condition: Condition::Whole, streams: Vec::new() });
        let path = Arc::new(Path { to, state, changed: Condvar::new() });
        let listening = Arc::clone(&path);
        thread::spawn(move || listening.listen(listener, address));
        Ok(Self { address, path })
    }

    /// Where the path begins.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on connections are refused; those that are open are closed.
    pub fn refuse(&self) {
        self.turn(Condition::Refusing);
        // The listener is gone when nobody can connect any more.
        while TcpStream::connect(self.address).is_ok() {
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// From now on connections stay open and nothing comes through.
    pub fn hang(&self) {
        self.turn(Condition::Hanging);
    }

    /// From now on everything comes through again, also what hung.
    pub fn mend(&self) {
        self.turn(Condition::Whole);
        while TcpStream::connect(self.address).is_err() {
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn turn(&self, condition: Condition) {
        let mut state = self.path.lock();
        state.condition = condition;
        if matches!(condition, Condition::Refusing | Condition::Gone) {
            for stream in state.streams.drain(..) {
                // One that is closed already is as good.
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        drop(state);
        self.path.changed.notify_all();
        // Wakes the listener, for it to look again.
        let _ = TcpStream::connect(self.address);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.turn(Condition::Gone);
    }
}

impl Path {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits as long as the path is in this condition, and says in which it is then.
    fn wait_while(&self, condition: Condition) -> Condition {
        let waiting = |state: &mut State| state.condition == condition;
        self.changed.wait_while(self.lock(), waiting).unwrap_or_else(PoisonError::into_inner).condition
    }

    fn listen(self: Arc<Self>, mut listener: TcpListener, address: SocketAddr) {
        loop {
            let accepted = listener.accept();
            let condition = self.lock().condition;
            match (condition, accepted) {
                (Condition::Gone, _) => return,
                (Condition::Refusing, _) => {
                    drop(listener);
                    if self.wait_while(Condition::Refusing) == Condition::Gone {
                        return;
                    }
                    listener = loop {
                        // Somebody may hold the port for a moment.
                        match TcpListener::bind(address) {
                            Ok(listener) => break listener,
                            Err(_) => thread::sleep(Duration::from_millis(5)),
                        }
                    };
                }
                (Condition::Whole | Condition::Hanging, Ok((near, _))) => {
                    let path = Arc::clone(&self);
                    thread::spawn(move || path.join(near));
                }
                (Condition::Whole | Condition::Hanging, Err(_)) => {}
            }
        }
    }

    /// Passes on what comes from either side.
    fn join(self: Arc<Self>, near: TcpStream) -> io::Result<()> {
        self.lock().streams.push(near.try_clone()?);
        if self.wait_while(Condition::Hanging) != Condition::Whole {
            return near.shutdown(Shutdown::Both);
        }
        let far = TcpStream::connect(self.to)?;
        self.lock().streams.push(far.try_clone()?);
        let (back_from, back_to) = (far.try_clone()?, near.try_clone()?);
        let path = Arc::clone(&self);
        let back = thread::spawn(move || path.pass_on(back_from, back_to));
        self.pass_on(near, far);
        let _ = back.join();
        Ok(())
    }

    fn pass_on(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = [0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if self.wait_while(Condition::Hanging) != Condition::Whole || to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        // The other direction ends as well.
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }
}
