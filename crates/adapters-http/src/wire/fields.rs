//! Reads an object field by field and collects everything that is wrong with it.

use std::borrow::Cow;
use std::fmt::Display;

use domain::{Decimal, MoneyError};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::json::{JsonError, Members};

/// What is wrong with one field. Never shows its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// `body` or `query` where it is no single one.
    pub field: String,
    /// What it must be.
    pub reason: String,
}

impl FieldError {
    pub(crate) fn new(field: &str, reason: impl Display) -> Self {
        Self { field: field.to_owned(), reason: reason.to_string() }
    }

    /// All of them in one line: what an operator sees of a body that is not kept. Short, for only known fields have
    /// errors, and each a few.
    pub(crate) fn summary(errors: &[Self]) -> String {
        errors.iter().map(|error| format!("{}: {}", error.field, error.reason)).collect::<Vec<_>>().join("; ")
    }
}

/// The fields of a body, and what was found wrong with them so far.
pub(crate) struct Fields<'a> {
    members: Members<'a>,
    /// What refuses the body.
    pub(crate) errors: Vec<FieldError>,
    /// What was left out, for it decides nothing.
    pub(crate) left_out: Vec<FieldError>,
}

impl<'a> Fields<'a> {
    /// Reads a body of which these names are known. An error of the body itself stands for a field `body`.
    pub(crate) fn of_body(body: &'a [u8], known: &[&str]) -> Result<Self, FieldError> {
        let members = Members::of_body(body).map_err(|error| FieldError::new("body", error))?;
        let repeated = members.repeated();
        let mut errors: Vec<FieldError> = known
            .iter()
            .filter(|name| repeated.contains(*name))
            .map(|name| FieldError::new(name, "must not stand twice"))
            .collect();
        if repeated.len() > errors.len() {
            errors.push(FieldError::new("body", JsonError::RepeatedName));
        }
        Ok(Self { members, errors, left_out: Vec::new() })
    }

    pub(crate) fn refuse(&mut self, field: &str, reason: impl Display) {
        self.errors.push(FieldError::new(field, reason));
    }

    pub(crate) fn leave_out(&mut self, field: &str, reason: impl Display) {
        self.left_out.push(FieldError::new(field, reason));
    }

    /// A field that must be there.
    pub(crate) fn required<T, E: Display>(
        &mut self,
        name: &str,
        read: impl FnOnce(&'a RawValue) -> Result<T, E>,
    ) -> Option<T> {
        let Some(value) = self.members.get(name).filter(|value| value.get() != "null") else {
            self.refuse(name, "is missing");
            return None;
        };
        read(value).inspect_err(|error| self.refuse(name, error)).ok()
    }

    /// A field that may be absent.
    pub(crate) fn optional<T, E: Display>(
        &mut self,
        name: &str,
        read: impl FnOnce(&'a RawValue) -> Result<T, E>,
    ) -> Option<T> {
        read(self.members.given(name)?).inspect_err(|error| self.refuse(name, error)).ok()
    }

    /// A field that may be absent and decides nothing: left out where it is not what it should be.
    pub(crate) fn lenient<T, E: Display>(
        &mut self,
        name: &str,
        read: impl FnOnce(&'a RawValue) -> Result<T, E>,
    ) -> Option<T> {
        read(self.members.given(name)?).inspect_err(|error| self.leave_out(name, error)).ok()
    }
}

/// Reads a string, and what is in it.
pub(crate) fn text<T, E: Display>(
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> impl FnOnce(&RawValue) -> Result<T, Cow<'static, str>> {
    |value| {
        let text: String = serde_json::from_str(value.get()).map_err(|_| "must be a string")?;
        parse(&text).map_err(|error| error.to_string().into())
    }
}

/// Reads an amount: a number or a decimal string.
pub(crate) fn amount(value: &RawValue) -> Result<Decimal, MoneyError> {
    let text = value.get();
    if text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return Decimal::parse_json_number(text);
    }
    serde_json::from_str::<String>(text).map_err(|_| MoneyError::NotDecimal)?.parse()
}

/// Reads an object.
pub(crate) fn object(value: &RawValue) -> Result<Members<'_>, &'static str> {
    Members::of_value(value).ok_or("must be an object")
}
