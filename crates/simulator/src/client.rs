//! An HTTP/1.1 client that sends exactly the bytes that a test says.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use serde_json::Value;

/// How long an answer may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request, to be built piece by piece.
#[derive(Debug, Clone)]
pub struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    /// A request without a body. The target is sent unchanged.
    #[must_use]
    pub fn new(method: &str, target: &str) -> Self {
        let headers = vec![("Host".to_owned(), "portal.example".to_owned())];
        Self { method: method.to_owned(), target: target.to_owned(), headers, body: Vec::new() }
    }

    /// A `GET`.
    #[must_use]
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// A `POST`.
    #[must_use]
    pub fn post(target: &str) -> Self {
        Self::new("POST", target)
    }

    /// Parses a recorded request, so that it can be changed.
    ///
    /// # Panics
    /// If it is not a request.
    #[must_use]
    pub fn recorded(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("an empty line after the head");
        let head = std::str::from_utf8(&bytes[..end]).expect("a head in ASCII");
        let mut lines = head.split("\r\n");
        let mut words = lines.next().expect("a request line").split(' ').map(str::to_owned);
        let (method, target) = (words.next().expect("a method"), words.next().expect("a target"));
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").expect("a header line");
            (name.to_owned(), value.to_owned())
        };
        let headers = lines.map(header).filter(|(name, _)| !name.eq_ignore_ascii_case("content-length")).collect();
        Self { method, target, headers, body: bytes[end + 4..].to_vec() }
    }

    /// Adds this header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds this key, as `X-API-Key`.
    #[must_use]
    pub fn key(self, key: &str) -> Self {
        self.header("X-API-Key", key)
    }

    /// Sets this body, without a content type.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets this body and the content type of JSON. The body need not be valid.
    #[must_use]
    pub fn json(self, body: impl Into<Vec<u8>>) -> Self {
        self.header("Content-Type", "application/json").body(body)
    }

    /// The body.
    #[must_use]
    pub fn body_bytes(&self) -> &[u8] {
        &self.body
    }

    /// The bytes that are sent.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !self.body.is_empty() {
            head.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        head.push_str("\r\n");
        [head.as_bytes(), &self.body].concat()
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The three digits.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a header.
    ///
    /// # Panics
    /// If the answer has it twice.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(header, _)| header == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert_eq!(values.next(), None, "{name} occurs twice");
        value
    }

    /// The body as JSON; `null` if it is something else.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// A connection that stays open for as many requests as the other side answers.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Nothing listens there.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends these bytes.
    ///
    /// # Errors
    /// The other side has closed the connection.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Reads one answer.
    ///
    /// # Errors
    /// There is none, or not all of one.
    pub fn receive(&mut self) -> io::Result<Response> {
        let mut response = self.receive_head()?;
        response.body = match response.header("content-length") {
            Some(length) => {
                let mut body = vec![0; length.parse().map_err(io::Error::other)?];
                self.stream.read_exact(&mut body)?;
                body
            }
            None => return Err(io::Error::other(format!("an answer without a length: {response:?}"))),
        };
        Ok(response)
    }

    /// Reads one answer without its body.
    ///
    /// # Errors
    /// There is none.
    pub fn receive_head(&mut self) -> io::Result<Response> {
        let line = self.line()?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status line: {line:?}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(Response { status, headers, body: Vec::new() });
            }
            let (name, value) = line.split_once(':').ok_or_else(|| io::Error::other(format!("no header: {line:?}")))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// Sends a request and reads its answer.
    ///
    /// # Errors
    /// There is none.
    pub fn exchange(&mut self, request: &Request) -> io::Result<Response> {
        self.send(&request.bytes())?;
        if request.method == "HEAD" { self.receive_head() } else { self.receive() }
    }

    /// Resets the connection, as a sender that crashes does.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn reset(self) -> io::Result<()> {
        Ok(set_socket_linger(self.stream.get_ref(), Some(Duration::ZERO))?)
    }

    /// Waits until the other side closes the connection, without another byte.
    ///
    /// # Errors
    /// It sends something more, or does not close it.
    pub fn closed(&mut self) -> io::Result<()> {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(0) => Ok(()),
            Ok(_) => Err(io::Error::other(format!("unexpected: {:?}", String::from_utf8_lossy(&rest)))),
            Err(error) => Err(error),
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.to_owned()),
            None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended before the answer did")),
        }
    }
}

/// The text percent-encoded for a path: all but unreserved characters.
#[must_use]
pub fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encode = |byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorded;

    #[test]
    fn a_recorded_request_is_parsed_and_built_again() {
        let request = Request::recorded(recorded::MARATHON_COMPLETED);
        let bytes = String::from_utf8(request.bytes()).expect("UTF-8");
        let recorded =
            String::from_utf8_lossy(recorded::MARATHON_COMPLETED).replace("content-length", "Content-Length");
        assert_eq!(bytes, recorded);
    }

    #[test]
    fn all_but_unreserved_characters_are_encoded() {
        assert_eq!(percent_encoded("a-1_~.b/ ě+%"), "a-1_~.b%2F%20%C4%9B%2B%25");
    }
}
