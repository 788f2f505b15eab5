//! A record in the only form that logging-microservice accepts (neighbours.md).

use serde::{Serialize, Serializer};
use serde_json::{Number, Value};
use slog::Record;

use crate::fields::Fields;
use crate::word;

/// The largest body that it accepts.
const BODY_BYTES_MAX: usize = 102_400;

/// What is kept of a message that is too long by itself. JSON may need six bytes for each of these.
const MESSAGE_BYTES_MAX: usize = 8192;

/// The longest `correlation_id` that gets a field of its own.
const CORRELATION_ID_BYTES_MAX: usize = 255;

#[derive(Serialize)]
struct Wire<'a> {
    level: &'static str,
    message: &'a str,
    service: &'a str,
    timestamp: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<&'a Number>,
    #[serde(skip_serializing_if = "Metadata::is_empty")]
    metadata: Metadata<'a>,
}

struct Metadata<'a>(Vec<(&'static str, &'a Value)>);

impl Metadata<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Metadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

/// The body for this record, whose tag is its time. A record that is too large loses its keys and, if it must, the
/// end of its message; `cut` in its metadata says so.
pub(crate) fn body(service: &str, record: &Record<'_>, fields: &Fields) -> serde_json::Result<Vec<u8>> {
    let message = record.msg().to_string();
    let mut wire = Wire {
        level: word(record.level()),
        message: &message,
        service,
        timestamp: record.tag(),
        correlation_id: None,
        duration_ms: None,
        metadata: Metadata(Vec::new()),
    };
    for (key, value) in fields.iter() {
        match (key, value) {
            ("correlation_id", Value::String(id)) if (1..=CORRELATION_ID_BYTES_MAX).contains(&id.len()) => {
                wire.correlation_id = Some(id);
            }
            ("duration_ms", Value::Number(duration)) => wire.duration_ms = Some(duration),
            _ => wire.metadata.0.push((key, value)),
        }
    }
    let whole = serde_json::to_vec(&wire)?;
    if whole.len() <= BODY_BYTES_MAX {
        return Ok(whole);
    }
    wire.metadata = Metadata(vec![("cut", &Value::Bool(true))]);
    let without_keys = serde_json::to_vec(&wire)?;
    if without_keys.len() <= BODY_BYTES_MAX {
        return Ok(without_keys);
    }
    wire.message = &message[..message.floor_char_boundary(MESSAGE_BYTES_MAX)];
    serde_json::to_vec(&wire)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use slog::{BorrowedKV, Level, RecordStatic};

    use super::*;

    const TIME: &str = "2026-01-02T03:04:05.000006Z";

    fn wire(level: Level, message: &str, fields: Vec<(&'static str, Value)>) -> (Value, usize) {
        let statics = RecordStatic { tag: TIME, ..slog::record_static!(Level::Info, "") };
        let statics = RecordStatic { level, ..statics };
        let fields = Fields::new(fields);
        let message = format_args!("{message}");
        let body = body("s", &Record::new(&statics, &message, BorrowedKV(&fields)), &fields).expect("a body");
        (serde_json::from_slice(&body).expect("JSON"), body.len())
    }

    fn check(fields: Vec<(&'static str, Value)>, expect: Value) {
        let (wire, _) = wire(Level::Warning, "m", fields);
        let mut whole = json!({ "level": "warn", "message": "m", "service": "s", "timestamp": TIME });
        whole.as_object_mut().expect("an object").extend(expect.as_object().expect("an object").clone());
        assert_eq!(wire, whole);
    }

    #[test]
    fn what_has_no_field_of_its_own_is_metadata() {
        check(vec![], json!({}));
        check(
            vec![("correlation_id", json!("c")), ("duration_ms", json!(1.5)), ("a", json!(1)), ("b", json!(null))],
            json!({ "correlation_id": "c", "duration_ms": 1.5, "metadata": { "a": 1, "b": null } }),
        );
    }

    #[test]
    fn what_is_no_id_or_no_duration_is_metadata() {
        for (key, value) in [
            ("correlation_id", json!(7)),
            ("correlation_id", json!("")),
            ("correlation_id", json!("c".repeat(256))),
            ("duration_ms", json!("1.5")),
            ("duration_ms", json!(null)),
        ] {
            check(vec![(key, value.clone())], json!({ "metadata": { key: value } }));
        }
    }

    #[test]
    fn levels_have_the_words_of_the_service() {
        for (level, word) in [
            (Level::Critical, "error"),
            (Level::Error, "error"),
            (Level::Warning, "warn"),
            (Level::Info, "info"),
            (Level::Debug, "debug"),
            (Level::Trace, "debug"),
        ] {
            assert_eq!(wire(level, "m", vec![]).0["level"], word);
        }
    }

    #[test]
    fn a_record_of_the_largest_size_is_whole() {
        let (_, empty) = wire(Level::Info, "m", vec![("a", json!(""))]);
        let fitting = "x".repeat(BODY_BYTES_MAX - empty);
        let (whole, size) = wire(Level::Info, "m", vec![("a", json!(fitting))]);
        assert_eq!((size, &whole["metadata"]), (BODY_BYTES_MAX, &json!({ "a": fitting })));
        let (cut, _) = wire(Level::Info, "m", vec![("a", json!(format!("{fitting}x")))]);
        assert_eq!(cut["metadata"], json!({ "cut": true }));
    }

    #[test]
    fn a_record_that_is_too_large_loses_its_keys() {
        let fields = vec![("correlation_id", json!("c")), ("duration_ms", json!(1)), ("a", json!("\0".repeat(20_000)))];
        let (cut, size) = wire(Level::Error, "m", fields);
        assert!(size <= BODY_BYTES_MAX);
        assert_eq!(
            (&cut["message"], &cut["correlation_id"], &cut["duration_ms"]),
            (&json!("m"), &json!("c"), &json!(1))
        );
        assert_eq!(cut["metadata"], json!({ "cut": true }));
    }

    #[test]
    fn a_message_that_is_too_large_is_cut_between_two_characters() {
        for (character, kept) in [("\0", 8192), ("é", 4096), ("€", 2730)] {
            let (cut, size) = wire(Level::Info, &character.repeat(110_000), vec![("a", json!(1))]);
            assert!(size <= BODY_BYTES_MAX);
            assert_eq!((&cut["message"], &cut["metadata"]), (&json!(character.repeat(kept)), &json!({ "cut": true })));
        }
    }
}
