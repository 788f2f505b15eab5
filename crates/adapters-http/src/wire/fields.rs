//! Reads an object field by field and collects everything that is wrong with it.

use std::fmt::Display;
use std::str::FromStr;

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
    pub(crate) errors: Vec<FieldError>,
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
        Ok(Self { members, errors })
    }

    pub(crate) fn refuse(&mut self, field: &str, reason: impl Display) {
        self.errors.push(FieldError::new(field, reason));
    }

    /// A field that must be there.
    pub(crate) fn required<T, E: Display>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        self.require(name);
        self.optional(name, parse)
    }

    /// Notes it if a field is not there.
    pub(crate) fn require(&mut self, name: &str) {
        if self.value(name).is_none() {
            self.refuse(name, "is missing");
        }
    }

    /// A field that may be absent, which `null` is as good as.
    pub(crate) fn optional<T, E: Display>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let value = self.value(name)?;
        let Ok(text) = serde_json::from_str::<String>(value.get()) else {
            self.refuse(name, "must be a string");
            return None;
        };
        parse(&text).inspect_err(|error| self.refuse(name, error)).ok()
    }

    /// An amount: a number or a decimal string.
    pub(crate) fn amount(&mut self, name: &str) -> Option<Decimal> {
        let text = self.value(name)?.get();
        if text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
            return Decimal::parse_json_number(text).inspect_err(|error| self.refuse(name, error)).ok();
        }
        if text.starts_with('"') {
            return self.optional(name, Decimal::from_str);
        }
        self.refuse(name, MoneyError::NotDecimal);
        None
    }

    /// An object that may be absent.
    pub(crate) fn object(&mut self, name: &str) -> Option<Members<'a>> {
        let members = Members::of_value(self.value(name)?);
        if members.is_none() {
            self.refuse(name, "must be an object");
        }
        members
    }

    fn value(&self, name: &str) -> Option<&'a RawValue> {
        self.members.get(name).filter(|value| value.get() != "null")
    }
}
