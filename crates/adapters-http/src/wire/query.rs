//! The part of an address after the question mark.

use actix_web::web::Query;
use domain::{DeliveryId, OrderId, OutcomeKind, PaymentId, parse_timestamp, parse_word};
use ports::DeliveryFilter;

use super::FieldError;

const LIMIT_DEFAULT: i64 = 50;
const LIMIT_MAX: i64 = 500;

/// Which page of the audit trail is wanted.
#[derive(Debug)]
pub(crate) struct DeliveriesQuery {
    /// What to ask the ledger: one more than the page holds, to see whether another page follows.
    pub(crate) filter: DeliveryFilter,
    /// How many the page holds.
    pub(crate) limit: usize,
}

/// Reads the query of the audit trail. An empty value is an absent one.
pub(crate) fn read_deliveries_query(query: &str) -> Result<DeliveriesQuery, Vec<FieldError>> {
    let mut parameters = Parameters::read(query, &["payment", "order", "outcome", "since", "limit", "cursor"])?;
    let limit = parameters.take("limit", |text| {
        let limit = text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
        limit.ok_or_else(|| format!("must be a whole number from 1 to {LIMIT_MAX}"))
    });
    let limit = limit.unwrap_or(LIMIT_DEFAULT);
    let filter = DeliveryFilter {
        payment: parameters.take("payment", PaymentId::parse),
        order: parameters.take("order", OrderId::parse),
        outcome: parameters.take("outcome", parse_word::<OutcomeKind>),
        // An offset's plus sign reads as a space where nobody has encoded it.
        since: parameters.take("since", |text| parse_timestamp(&text.replace(' ', "+"))),
        before: parameters.take("cursor", |text| DeliveryId::parse(text).ok_or("must be a nextCursor")),
        limit: limit + 1,
    };
    parameters.finish(DeliveriesQuery { filter, limit: usize::try_from(limit).unwrap_or_default() })
}

/// Reads whether a replay is only to be tried.
pub(crate) fn read_dry_run(query: &str) -> Result<bool, Vec<FieldError>> {
    let mut parameters = Parameters::read(query, &["dryRun"])?;
    let dry_run = parameters.take("dryRun", |text| text.parse::<bool>().map_err(|_| "must be true or false"));
    parameters.finish(dry_run.unwrap_or(false))
}

struct Parameters {
    pairs: Vec<(String, String)>,
    errors: Vec<FieldError>,
}

impl Parameters {
    fn read(query: &str, known: &[&str]) -> Result<Self, Vec<FieldError>> {
        let pairs = Query::<Vec<(String, String)>>::from_query(query)
            .map_err(|_| vec![FieldError::new("query", "must be name=value pairs")])?
            .into_inner();
        let mut errors = Vec::new();
        for (index, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                errors.push(FieldError::new("query", format!("takes only {}", known.join(", "))));
            } else if pairs[..index].iter().any(|(earlier, _)| earlier == name) {
                errors.push(FieldError::new(name, "must not stand twice"));
            }
        }
        Ok(Self { pairs, errors })
    }

    fn take<T, E: ToString>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        let (_, value) = self.pairs.iter().find(|(parameter, value)| parameter == name && !value.is_empty())?;
        parse(value).map_err(|error| self.errors.push(FieldError::new(name, error.to_string()))).ok()
    }

    fn finish<T>(self, value: T) -> Result<T, Vec<FieldError>> {
        if self.errors.is_empty() { Ok(value) } else { Err(self.errors) }
    }
}
