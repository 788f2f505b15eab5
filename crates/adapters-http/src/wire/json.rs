//! JSON that cannot be read in two ways: no name stands twice in an object, at any depth.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// How deep arrays and objects may lie within each other.
const DEPTH_MAX: usize = 64;

/// Why a text was refused. Never shows what stands in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JsonError {
    #[error("must be JSON in UTF-8")]
    NotUtf8,
    #[error("must be JSON (it goes wrong at line {line}, column {column})")]
    NotJson { line: usize, column: usize },
    #[error("must be a JSON object")]
    NotAnObject,
    #[error("must not be nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    #[error("must not have the same name twice in an object")]
    RepeatedName,
}

impl From<serde_json::Error> for JsonError {
    fn from(error: serde_json::Error) -> Self {
        if error.is_data() { Self::NotAnObject } else { Self::NotJson { line: error.line(), column: error.column() } }
    }
}

/// The members of an object in their order, their values still as text.
#[derive(Debug)]
pub(crate) struct Members<'a>(pub(crate) Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Reads a whole body. The values have been checked for repeated names and depth; the names of the body
    /// itself may stand twice, which is for the caller to name.
    pub(crate) fn of_body(body: &'a [u8]) -> Result<Self, JsonError> {
        let text = std::str::from_utf8(body).map_err(|_| JsonError::NotUtf8)?;
        let members: Self = serde_json::from_str(text)?;
        for (_, value) in &members.0 {
            check(value, 1)?;
        }
        Ok(members)
    }

    /// Reads a value that may be an object.
    pub(crate) fn of_value(value: &'a RawValue) -> Option<Self> {
        serde_json::from_str(value.get()).ok()
    }

    /// The first member of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(member, _)| member == name).map(|(_, value)| *value)
    }

    /// The same, unless it counts as absent: `null`, and an empty string where a field is optional (contract §3).
    pub(crate) fn given(&self, name: &str) -> Option<&'a RawValue> {
        self.get(name).filter(|value| !["null", r#""""#].contains(&value.get()))
    }

    /// The names that stand more than once.
    pub(crate) fn repeated(&self) -> HashSet<&str> {
        let mut seen = HashSet::new();
        self.0.iter().map(|(name, _)| name.as_str()).filter(|name| !seen.insert(*name)).collect()
    }
}

fn check(value: &RawValue, depth: usize) -> Result<(), JsonError> {
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'{' | b'[') if depth >= DEPTH_MAX => Err(JsonError::TooDeep),
        Some(b'{') => {
            let members: Members<'_> = serde_json::from_str(text)?;
            if !members.repeated().is_empty() {
                return Err(JsonError::RepeatedName);
            }
            members.0.iter().try_for_each(|(_, value)| check(value, depth + 1))
        }
        Some(b'[') => {
            let values: Vec<&RawValue> = serde_json::from_str(text)?;
            values.into_iter().try_for_each(|value| check(value, depth + 1))
        }
        _ => Ok(()),
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(8);
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}
