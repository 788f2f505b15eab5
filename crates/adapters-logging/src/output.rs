//! What records look like in the stream.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};

use slog::{Drain, FnValue, Level, OwnedKVList, PushFnValue, Record, o};
use slog_term::{Decorator, FullFormat, RecordDecorator};

use crate::word;

/// What a record looks like in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON, one record a line: `timestamp`, `level`, `service`, `message`, and the record's keys.
    Json,
    /// A line for people, with control characters escaped.
    Pretty {
        /// In colours, for a terminal.
        coloured: bool,
    },
}

pub(crate) type Output = Box<dyn Drain<Ok = (), Err = io::Error> + Send>;

/// A drain that writes and flushes one line for each record. The tag of a record is its time.
pub(crate) fn output(format: Format, service: String, stream: impl Write + Send + 'static) -> Output {
    match format {
        Format::Json => Box::new(json(service, stream)),
        Format::Pretty { coloured } => Box::new(pretty(coloured, stream)),
    }
}

fn json<W: Write>(service: String, stream: W) -> slog_json::Json<BufWriter<W>> {
    // In reverse order.
    let fields = o!(
        "message" => PushFnValue(|record: &Record<'_>, serializer| serializer.emit(record.msg())),
        "service" => service,
        "level" => FnValue(|record: &Record<'_>| word(record.level())),
        "timestamp" => PushFnValue(|record: &Record<'_>, serializer| serializer.emit(record.tag())),
    );
    slog_json::Json::new(BufWriter::new(stream)).add_key_value(fields).set_flush(true).build()
}

fn pretty<W: Write>(coloured: bool, stream: W) -> FullFormat<Lines<W>> {
    let lines = Lines { coloured, stream: RefCell::new(stream) };
    FullFormat::new(lines).use_custom_header_print(|_, line, record, _| header(line, record)).build()
}

fn header(line: &mut dyn RecordDecorator, record: &Record<'_>) -> io::Result<bool> {
    line.start_timestamp()?;
    write!(line, "{} ", record.tag())?;
    line.start_level()?;
    write!(line, "{:<5}", word(record.level()).to_uppercase())?;
    line.start_whitespace()?;
    write!(line, " ")?;
    line.start_msg()?;
    write!(line, "{}", record.msg())?;
    Ok(true)
}

/// Writes lines one by one.
struct Lines<W> {
    coloured: bool,
    stream: RefCell<W>,
}

impl<W: Write> Decorator for Lines<W> {
    fn with_record<F>(&self, record: &Record<'_>, _: &OwnedKVList, write: F) -> io::Result<()>
    where
        F: FnOnce(&mut dyn RecordDecorator) -> io::Result<()>,
    {
        let mut line = Line { text: String::new(), level: self.coloured.then(|| record.level()) };
        write(&mut line)?;
        // `Line` has escaped the final newline, too.
        let text = line.text.strip_suffix("\\n").unwrap_or(&line.text);
        let mut stream = self.stream.borrow_mut();
        stream.write_all(format!("{text}\n").as_bytes())?;
        stream.flush()
    }
}

/// A line under construction. Characters that move the cursor are escaped.
struct Line {
    text: String,
    /// Its level, if it is coloured.
    level: Option<Level>,
}

impl Line {
    fn paint(&mut self, colour: impl FnOnce(Level) -> &'static str) -> io::Result<()> {
        self.text.push_str(self.level.map(colour).unwrap_or_default());
        Ok(())
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for character in String::from_utf8_lossy(bytes).chars() {
            if moves_the_cursor(character) {
                write!(self.text, "{}", character.escape_default()).map_err(io::Error::other)?;
            } else {
                self.text.push(character);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Control characters, and those that change the direction of the text.
fn moves_the_cursor(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl RecordDecorator for Line {
    fn reset(&mut self) -> io::Result<()> {
        self.paint(|_| "\x1b[0m")
    }

    fn start_level(&mut self) -> io::Result<()> {
        self.paint(|level| match level {
            Level::Critical | Level::Error => "\x1b[31m",
            Level::Warning => "\x1b[33m",
            Level::Info => "\x1b[32m",
            Level::Debug | Level::Trace => "\x1b[36m",
        })
    }

    fn start_msg(&mut self) -> io::Result<()> {
        self.paint(|_| "\x1b[1m")
    }

    fn start_key(&mut self) -> io::Result<()> {
        self.paint(|_| "\x1b[2m")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use serde_json::json;
    use slog::{BorrowedKV, RecordStatic};

    use super::*;
    use crate::fields::Fields;

    /// Sends what is written through a channel.
    struct Pipe(Sender<Vec<u8>>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[track_caller]
    fn check(format: Format, message: &str, fields: Fields, expect: &str) {
        let (sender, written) = channel();
        let output = output(format, "s".to_owned(), Pipe(sender));
        let statics = RecordStatic { tag: "2026-01-02T03:04:05.000006Z", ..slog::record_static!(Level::Warning, "") };
        let message = format_args!("{message}");
        output.log(&Record::new(&statics, &message, BorrowedKV(&fields)), &o!().into()).expect("a line");
        let lines: Vec<_> = written.try_iter().collect();
        assert_eq!(lines.len(), 1, "a line is written at once");
        assert_eq!(String::from_utf8_lossy(&lines[0]), expect);
    }

    #[test]
    fn json_begins_with_what_every_record_has() {
        let fields = Fields::new([("b", json!("\n\"")), ("a", json!(1.5)), ("n", json!(null))]);
        let expect = r#"{"timestamp":"2026-01-02T03:04:05.000006Z","level":"warn","service":"s","message":"m\u001b","#;
        check(Format::Json, "m\x1b", fields, &format!("{expect}{}\n", r#""b":"\n\"","a":1.5,"n":null}"#));
    }

    #[test]
    fn a_line_for_people_has_all_keys() {
        let fields = Fields::new([("b", json!("x")), ("a", json!(1.5))]);
        let expect = "2026-01-02T03:04:05.000006Z WARN  m, b: x, a: 1.5\n";
        check(Format::Pretty { coloured: false }, "m", fields, expect);
    }

    #[test]
    fn a_terminal_gets_colours() {
        let fields = Fields::new([("a", json!(1))]);
        let expect = "\x1b[0m2026-01-02T03:04:05.000006Z \x1b[33mWARN \x1b[0m \x1b[1mm\x1b[0m, \x1b[2ma\x1b[0m:\x1b[0m \
                      \x1b[0m1\x1b[0m\n";
        check(Format::Pretty { coloured: true }, "m", fields, expect);
    }

    #[test]
    fn what_moves_the_cursor_is_escaped() {
        let fields = Fields::new([("a", json!("é\x1b[2J\u{9b}\u{202e}\r\n"))]);
        let expect = "2026-01-02T03:04:05.000006Z WARN  1\\n2\\n, a: é\\u{1b}[2J\\u{9b}\\u{202e}\\r\\n\n";
        check(Format::Pretty { coloured: false }, "1\n2\n", fields, expect);
    }
}
