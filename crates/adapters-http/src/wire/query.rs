//! The part of an address after the question mark.

use actix_web::web::Query;
use chrono::{DateTime, Utc};
use domain::{DeliveryId, EventId, EventState, OrderId, OutcomeKind, PaymentId, parse_timestamp, parse_word};
use ports::{DeliveryFilter, EventFilter};
use usecases::REDELIVERED_EVENTS_MAX;
use utoipa::IntoParams;
use utoipa::openapi::Type;
use utoipa::openapi::schema::{Object, ObjectBuilder};

use super::FieldError;
use crate::vocabulary;

const LIMIT_DEFAULT: i64 = 50;
const LIMIT_MAX: i64 = 500;
const DELIVERIES_PARAMETERS: [&str; 6] = ["payment", "order", "outcome", "since", "limit", "cursor"];
const REPLAY_PARAMETERS: [&str; 1] = ["dryRun"];
const EVENTS_PARAMETERS: [&str; 6] = ["state", "order", "payment", "since", "limit", "cursor"];
const REDELIVERY_PARAMETERS: [&str; 4] = ["state", "order", "since", "dryRun"];

/// The query of the audit trail.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes what is read below")]
pub(crate) struct DeliveriesParameters {
    /// Only those of this payment.
    payment: Option<vocabulary::PaymentId>,
    /// Only those of this order.
    order: Option<vocabulary::OrderId>,
    /// Only those with this outcome.
    outcome: Option<vocabulary::Outcome>,
    /// Only those received at this time or later.
    since: Option<vocabulary::GivenTime>,
    /// How many at most.
    #[param(schema_with = limit, required = false)]
    limit: Option<i64>,
    /// The `nextCursor` of the page before.
    cursor: Option<vocabulary::DeliveryId>,
}

fn limit() -> Object {
    let limits = ObjectBuilder::new().minimum(Some(1)).maximum(Some(LIMIT_MAX)).default(Some(LIMIT_DEFAULT.into()));
    limits.schema_type(Type::Integer).build()
}

/// The query of a replay.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[expect(dead_code, reason = "it describes what is read below")]
pub(crate) struct ReplayParameters {
    /// Whether it is only to be tried: nothing is changed and no entry left.
    #[param(default = false)]
    dry_run: Option<bool>,
}

/// The query of events.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes what is read below")]
pub(crate) struct EventsParameters {
    /// Only those in this state.
    state: Option<vocabulary::EventState>,
    /// Only those of this order.
    order: Option<vocabulary::OrderId>,
    /// Only those of this payment.
    payment: Option<vocabulary::PaymentId>,
    /// Only those that happened at this time or later.
    since: Option<vocabulary::GivenTime>,
    /// How many at most.
    #[param(schema_with = limit, required = false)]
    limit: Option<i64>,
    /// The `nextCursor` of the page before.
    cursor: Option<vocabulary::EventId>,
}

/// The query of a redelivery of many events.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[expect(dead_code, reason = "it describes what is read below")]
pub(crate) struct RedeliveryParameters {
    /// Only those in this state.
    state: Option<vocabulary::EventState>,
    /// Only those of this order.
    order: Option<vocabulary::OrderId>,
    /// Only those that happened at this time or later.
    since: Option<vocabulary::GivenTime>,
    /// Whether they are only to be counted.
    #[param(default = false)]
    dry_run: Option<bool>,
}

/// Which page of a list is wanted.
#[derive(Debug)]
pub(crate) struct Page<F> {
    /// What to ask the store: one more than the page holds, to see whether another page follows.
    pub(crate) filter: F,
    /// How many the page holds.
    pub(crate) limit: usize,
}

/// Reads the query of the audit trail.
pub(crate) fn read_deliveries_query(query: &str) -> Result<Page<DeliveryFilter>, Vec<FieldError>> {
    let mut parameters = Parameters::read(query, &DELIVERIES_PARAMETERS)?;
    let limit = parameters.limit();
    let filter = DeliveryFilter {
        payment: parameters.take("payment", PaymentId::parse),
        order: parameters.take("order", OrderId::parse),
        outcome: parameters.take("outcome", parse_word::<OutcomeKind>),
        since: parameters.since(),
        before: parameters.take("cursor", |text| DeliveryId::parse(text).ok_or("must be a nextCursor")),
        limit: limit + 1,
    };
    parameters.finish(Page { filter, limit: usize::try_from(limit).unwrap_or_default() })
}

/// Reads the query of events.
pub(crate) fn read_events_query(query: &str) -> Result<Page<EventFilter>, Vec<FieldError>> {
    let mut parameters = Parameters::read(query, &EVENTS_PARAMETERS)?;
    let limit = parameters.limit();
    let filter = EventFilter {
        state: parameters.take("state", parse_word::<EventState>),
        order: parameters.take("order", OrderId::parse),
        payment: parameters.take("payment", PaymentId::parse),
        since: parameters.since(),
        before: parameters.take("cursor", |text| EventId::parse(text).ok_or("must be a nextCursor")),
        limit: limit + 1,
    };
    parameters.finish(Page { filter, limit: usize::try_from(limit).unwrap_or_default() })
}

/// Which events are to be redelivered.
#[derive(Debug)]
pub(crate) struct RedeliveryQuery {
    /// Those that it lets through.
    pub(crate) filter: EventFilter,
    /// Whether they are only to be counted.
    pub(crate) dry_run: bool,
}

/// Reads the query of a redelivery of many events.
pub(crate) fn read_redelivery_query(query: &str) -> Result<RedeliveryQuery, Vec<FieldError>> {
    let mut parameters = Parameters::read(query, &REDELIVERY_PARAMETERS)?;
    let filter = EventFilter {
        state: parameters.take("state", parse_word::<EventState>),
        order: parameters.take("order", OrderId::parse),
        since: parameters.since(),
        ..EventFilter::any(REDELIVERED_EVENTS_MAX)
    };
    let dry_run = parameters.dry_run();
    parameters.finish(RedeliveryQuery { filter, dry_run })
}

/// Reads whether a replay is only to be tried.
pub(crate) fn read_dry_run(query: &str) -> Result<bool, Vec<FieldError>> {
    let mut parameters = Parameters::read(query, &REPLAY_PARAMETERS)?;
    let dry_run = parameters.dry_run();
    parameters.finish(dry_run)
}

/// Reads the query of a change that takes no parameters: a `dryRun` that is ignored would change something.
pub(crate) fn read_no_query(query: &str) -> Result<(), Vec<FieldError>> {
    Parameters::read(query, &[])?.finish(())
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
                let taken = if known.is_empty() { "nothing".to_owned() } else { format!("only {}", known.join(", ")) };
                errors.push(FieldError::new("query", format!("takes {taken}")));
            } else if pairs[..index].iter().any(|(earlier, _)| earlier == name) {
                errors.push(FieldError::new(name, "must not stand twice"));
            }
        }
        Ok(Self { pairs, errors })
    }

    /// An empty value is a bad one, not an absent one: an empty `dryRun` must not replay (contract §6).
    fn take<T, E: ToString>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        let (_, value) = self.pairs.iter().find(|(parameter, _)| parameter == name)?;
        parse(value).map_err(|error| self.errors.push(FieldError::new(name, error.to_string()))).ok()
    }

    fn limit(&mut self) -> i64 {
        let limit = self.take("limit", |text| {
            let limit = text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
            limit.ok_or_else(|| format!("must be a whole number from 1 to {LIMIT_MAX}"))
        });
        limit.unwrap_or(LIMIT_DEFAULT)
    }

    /// An offset's plus sign that was not encoded reads as a space.
    fn since(&mut self) -> Option<DateTime<Utc>> {
        self.take("since", |text| parse_timestamp(&text.replace(' ', "+")))
    }

    fn dry_run(&mut self) -> bool {
        self.take("dryRun", |text| text.parse().map_err(|_| "must be true or false")).unwrap_or(false)
    }

    fn finish<T>(self, value: T) -> Result<T, Vec<FieldError>> {
        if self.errors.is_empty() { Ok(value) } else { Err(self.errors) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names<T: IntoParams>() -> Vec<String> {
        T::into_params(|| None).into_iter().map(|parameter| parameter.name).collect()
    }

    #[test]
    fn the_parameters_that_are_read_are_those_that_are_described() {
        assert_eq!(names::<DeliveriesParameters>(), DELIVERIES_PARAMETERS);
        assert_eq!(names::<ReplayParameters>(), REPLAY_PARAMETERS);
        assert_eq!(names::<EventsParameters>(), EVENTS_PARAMETERS);
        assert_eq!(names::<RedeliveryParameters>(), REDELIVERY_PARAMETERS);
    }
}
