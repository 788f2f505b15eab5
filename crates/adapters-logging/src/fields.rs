//! The keys and values of a record.

use serde_json::Value;
use slog::{KV, Key, OwnedKVList, Record, Serializer};

/// The keys and values of a record, in the order in which they were added, each key once.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fields(Vec<(Key, Value)>);

impl Fields {
    pub(crate) fn new(fields: impl IntoIterator<Item = (Key, Value)>) -> Self {
        Self(fields.into_iter().collect())
    }

    /// Those of the record and its logger. Of several with the same key the latest wins.
    pub(crate) fn gather(record: &Record<'_>, values: &OwnedKVList) -> Self {
        let mut gathered = Gathering(Vec::new());
        // A value that fails to serialize ends the list; this serializer itself never fails.
        let _ = record.kv().serialize(record, &mut gathered).and_then(|()| values.serialize(record, &mut gathered));
        gathered.0.reverse();
        Self(gathered.0)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &Value)> {
        self.0.iter().map(|(key, value)| (*key, value))
    }
}

impl KV for Fields {
    fn serialize(&self, _: &Record<'_>, serializer: &mut dyn Serializer) -> slog::Result {
        self.iter().try_for_each(|(key, value)| emit(key, value, serializer))
    }
}

fn emit(key: Key, value: &Value, serializer: &mut dyn Serializer) -> slog::Result {
    match value {
        Value::Null => serializer.emit_none(key),
        Value::Bool(flag) => serializer.emit_bool(key, *flag),
        Value::String(text) => serializer.emit_str(key, text),
        Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
            (Some(number), ..) => serializer.emit_u64(key, number),
            (_, Some(number), _) => serializer.emit_i64(key, number),
            (.., Some(number)) => serializer.emit_f64(key, number),
            (None, None, None) => serializer.emit_arguments(key, &format_args!("{number}")),
        },
        Value::Array(_) | Value::Object(_) => serializer.emit_arguments(key, &format_args!("{value}")),
    }
}

/// The fields so far. slog begins with the latest.
struct Gathering(Vec<(Key, Value)>);

impl Gathering {
    fn put(&mut self, key: Key, value: impl Into<Value>) -> slog::Result {
        let key = unreserved(key);
        if !self.0.iter().any(|(other, _)| *other == key) {
            self.0.push((key, value.into()));
        }
        Ok(())
    }
}

/// Renames keys that every record has anyway.
fn unreserved(key: Key) -> Key {
    match key {
        "level" => "level_",
        "message" => "message_",
        "service" => "service_",
        "timestamp" => "timestamp_",
        other => other,
    }
}

macro_rules! put_as_it_is {
    ($($emit:ident: $type:ty,)*) => {
        $(
            fn $emit(&mut self, key: Key, value: $type) -> slog::Result {
                self.put(key, value)
            }
        )*
    };
}

impl Serializer for Gathering {
    put_as_it_is! {
        emit_bool: bool,
        emit_u8: u8,
        emit_u16: u16,
        emit_u32: u32,
        emit_u64: u64,
        emit_usize: usize,
        emit_i8: i8,
        emit_i16: i16,
        emit_i32: i32,
        emit_i64: i64,
        emit_isize: isize,
        emit_f32: f32,
        emit_f64: f64,
        emit_str: &str,
    }

    fn emit_none(&mut self, key: Key) -> slog::Result {
        self.put(key, Value::Null)
    }

    fn emit_unit(&mut self, key: Key) -> slog::Result {
        self.put(key, Value::Null)
    }

    fn emit_arguments(&mut self, key: Key, value: &std::fmt::Arguments<'_>) -> slog::Result {
        self.put(key, value.to_string())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use slog::{BorrowedKV, Level, OwnedKV, SendSyncRefUnwindSafeKV, kv, o};

    use super::*;

    #[track_caller]
    fn check(
        values: OwnedKV<impl SendSyncRefUnwindSafeKV + 'static>,
        keys: impl KV,
        expect: impl IntoIterator<Item = (Key, Value)>,
    ) {
        let message = format_args!("m");
        let record = slog::record!(Level::Info, "", &message, BorrowedKV(&keys));
        assert_eq!(Fields::gather(&record, &values.into()), Fields::new(expect));
    }

    #[test]
    fn they_keep_their_order_and_their_types() {
        let expect = [
            ("first", json!("1")),
            ("text", json!("t")),
            ("shown", json!("7")),
            ("count", json!(3)),
            ("below", json!(-1)),
            ("part", json!(0.5)),
            ("yes", json!(true)),
            ("none", json!(null)),
        ];
        check(
            o!("first" => "1"),
            kv!("text" => "t", "shown" => %7, "count" => 3_u8, "below" => -1_i64, "part" => 0.5, "yes" => true,
                "none" => None::<u8>),
            expect,
        );
    }

    #[test]
    fn of_two_with_the_same_key_the_latest_wins() {
        check(o!("a" => 1, "b" => 2), kv!("a" => 3, "a" => 4), [("b", json!(2)), ("a", json!(4))]);
    }

    #[test]
    fn keys_that_every_record_has_are_renamed() {
        let keys = kv!("level" => 1, "message" => 2, "service" => 3, "timestamp" => 4);
        let expect = [("level_", json!(1)), ("message_", json!(2)), ("service_", json!(3)), ("timestamp_", json!(4))];
        check(o!(), keys, expect);
    }
}
