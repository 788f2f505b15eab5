//! What no HTTP library does to a connection: it ends without notice, or in the middle of an answer.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// How a connection ends. The server above must write a whole answer at once, as hyper does with a small one where
/// the stream takes no vectored writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is closed after the answer, which does not say so.
    CloseAfterAnswer,
    /// It is closed one byte before the end of the answer.
    CutShort,
    /// It is reset (RST) after half of the answer.
    Reset,
}

/// A connection whose end can be decided while it is in use, once.
pub(crate) struct FaultyStream {
    stream: TcpStream,
    fault: Arc<OnceLock<Fault>>,
    /// The answer after which the connection ends has been written.
    is_last_written: bool,
}

impl FaultyStream {
    pub(crate) fn new(stream: TcpStream, fault: Arc<OnceLock<Fault>>) -> Self {
        Self { stream, fault, is_last_written: false }
    }

    fn stream(self: Pin<&mut Self>) -> Pin<&mut TcpStream> {
        Pin::new(&mut self.get_mut().stream)
    }

    fn fault(&self) -> Option<Fault> {
        self.fault.get().copied()
    }
}

impl AsyncRead for FaultyStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.is_last_written {
            // Nothing was read: the server takes this for the client's end of the connection, and closes its own.
            return Poll::Ready(Ok(()));
        }
        self.stream().poll_read(context, buffer)
    }
}

impl AsyncWrite for FaultyStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let sent = match self.fault() {
            None => return self.stream().poll_write(context, bytes),
            Some(Fault::CloseAfterAnswer) => {
                self.is_last_written = true;
                return self.stream().poll_write(context, bytes);
            }
            Some(Fault::CutShort) => bytes.len().saturating_sub(1),
            Some(Fault::Reset) => {
                set_socket_linger(&self.stream, Some(Duration::ZERO))?;
                bytes.len() / 2
            }
        };
        ready!(self.stream().poll_write(context, &bytes[..sent]))?;
        // The server drops the connection now.
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(context)
    }
}
