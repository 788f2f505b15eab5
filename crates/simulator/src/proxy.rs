//! A TCP proxy: a network path that can be interrupted and restored.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Forwards connections to another address while the path is whole.
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
    /// Open connections, to be closed when the path refuses them.
    streams: Vec<TcpStream>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Whole,
    /// New connections are refused; open ones have been closed.
    Refusing,
    /// Connections are accepted and stay open, but nothing is forwarded.
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

    /// The address to connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on connections are refused; those that are open are closed.
    pub fn refuse(&self) {
        self.turn(Condition::Refusing);
        // The listener is closed once connections are refused.
        while TcpStream::connect(self.address).is_ok() {
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// From now on connections stay open and nothing is forwarded.
    pub fn hang(&self) {
        self.turn(Condition::Hanging);
    }

    /// From now on everything is forwarded again, also what was held up.
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
                // An error means that it is closed already.
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        drop(state);
        self.path.changed.notify_all();
        // Wakes the listener, so that it sees the new condition.
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

    /// Waits while the path is in this condition; returns the next one.
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
                        // A client's socket may occupy the port for a moment.
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

    /// Forwards in both directions.
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
        // Ends the other direction, too.
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }
}
