//! The description of the interface (OpenAPI 3.1): what `routes/openapi.rs` puts together of the routes and
//! their documents, and what holds for all of them.

pub(crate) mod examples;
pub(crate) mod problems;

use serde_json::{Value, json};
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa::openapi::{Components, Header, OpenApi, PathItem, RefOr};
use utoipa::{PartialSchema as _, ToSchema as _};

use crate::documents::{
    DeliveriesDocument, DeliveryDocument, EventAttemptDocument, EventDocument, EventHistoryDocument, EventsDocument,
    OrderDocument, OrderHistoryDocument, PaymentDocument, PaymentHistoryDocument, ReadyDocument, RecordDocument,
    RedeliveredDocument, RegistrationDocument, ReplayDocument, SettledDocument, TaskDocument,
};
use crate::vocabulary::{NewPaymentId, RequestId, string, word};
use crate::wire::{NotificationBody, RegistrationBody};

const X_REQUEST_ID: &str = "X-Request-Id";

/// Security schemes: name, header, and what it holds.
const SECURITY_SCHEMES: [(&str, &str, &str); 6] = [
    ("paymentKey", "X-API-Key", "One of the keys of `PAYMENT_API_KEY`, for callbacks."),
    ("portalKey", "X-API-Key", "One of the keys of `PORTAL_API_KEY`, for the portal's own calls."),
    ("operatorKey", "X-API-Key", "One of the keys of `OPERATOR_API_KEY`, for operators' calls."),
    ("webhookId", "webhook-id", "Standard Webhooks: the id of the message."),
    ("webhookTimestamp", "webhook-timestamp", "Standard Webhooks: seconds since 1970, at most 5 minutes off."),
    (
        "webhookSignature",
        "webhook-signature",
        "Standard Webhooks: `v1,` and the HMAC-SHA256 of `id.timestamp.body` in base64, with a secret of \
         `PAYMENT_WEBHOOK_SECRET`. The body before it is compressed, if it is.",
    ),
];

/// The document as it is served: what the routes say, and what holds for all of them.
pub(crate) fn finished(mut document: OpenApi) -> Result<Value, serde_json::Error> {
    add_security_schemes(&mut document);
    add_alias(&mut document, "/api/payments", "/api/marathon/payment/register", "register_marathon_payment");
    add_request_ids(&mut document);
    let mut document = serde_json::to_value(document)?;
    add_what_utoipa_cannot_say(&mut document);
    Ok(document)
}

fn add_security_schemes(document: &mut OpenApi) {
    let components = document.components.get_or_insert_with(Components::new);
    for (name, header, description) in SECURITY_SCHEMES {
        let scheme = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(header, description)));
        components.add_security_scheme(name, scheme);
    }
}

/// The same handler at another path.
fn add_alias(document: &mut OpenApi, path: &str, alias: &str, operation_id: &str) {
    let Some(mut item) = document.paths.get_path_item(path).cloned() else { return };
    for operation in operations(&mut item) {
        operation.operation_id = Some(operation_id.to_owned());
    }
    document.paths.paths.insert(alias.to_owned(), item);
}

/// Every request may have an id, and every response has one.
fn add_request_ids(document: &mut OpenApi) {
    for operation in document.paths.paths.values_mut().flat_map(operations) {
        operation.parameters.get_or_insert_default().push(request_id_given());
        for response in operation.responses.responses.values_mut() {
            if let RefOr::T(response) = response {
                response.headers.insert(X_REQUEST_ID.to_owned(), request_id_answered());
            }
        }
    }
}

fn request_id_given() -> Parameter {
    let description = "The id under which everything about this request is logged. Kept if it is 1 to 128 of \
                       `A-Za-z0-9._:-`; otherwise, there will be a fresh one.";
    ParameterBuilder::new()
        .name(X_REQUEST_ID)
        .parameter_in(ParameterIn::Header)
        .description(Some(description))
        .schema(Some(string()))
        .build()
}

fn request_id_answered() -> Header {
    let mut header = Header::new(RequestId::schema());
    header.description = Some("The id of the request: the caller's or a fresh one.".to_owned());
    header
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post].into_iter().flatten()
}

fn add_what_utoipa_cannot_say(document: &mut Value) {
    demand_headers(&mut document["paths"]);
    let Some(schemas) = document["components"]["schemas"].as_object_mut() else { return };
    for (name, examples) in [
        (PaymentDocument::name(), json!([examples::payment()])),
        (OrderDocument::name(), json!([examples::order()])),
        (DeliveryDocument::name(), json!([examples::delivery()])),
        (SettledDocument::name(), json!([examples::settled()])),
        (PaymentHistoryDocument::name(), json!([examples::payment_history()])),
        (OrderHistoryDocument::name(), json!([examples::order_history()])),
        (RegistrationDocument::name(), json!([examples::registered()])),
        (DeliveriesDocument::name(), json!([examples::deliveries()])),
        (ReplayDocument::name(), json!([examples::replay()])),
        (EventDocument::name(), json!([examples::event()])),
        (EventAttemptDocument::name(), json!([examples::event_attempt()])),
        (EventHistoryDocument::name(), json!([examples::event_history()])),
        (EventsDocument::name(), json!([examples::events()])),
        (RedeliveredDocument::name(), json!([examples::redelivered()])),
        (NotificationBody::name(), json!([examples::notification(), examples::partial_refund()])),
        (RegistrationBody::name(), json!([examples::registration()])),
    ] {
        schemas.entry(name).and_modify(|schema| schema["examples"] = examples);
    }
    for name in [
        PaymentDocument::name(),
        RecordDocument::name(),
        OrderDocument::name(),
        DeliveryDocument::name(),
        SettledDocument::name(),
        PaymentHistoryDocument::name(),
        OrderHistoryDocument::name(),
        RegistrationDocument::name(),
        DeliveriesDocument::name(),
        ReplayDocument::name(),
        EventDocument::name(),
        EventAttemptDocument::name(),
        EventsDocument::name(),
        RedeliveredDocument::name(),
        ReadyDocument::name(),
        TaskDocument::name(),
    ] {
        schemas.entry(name).and_modify(demand_members);
    }
    // But for the cursor of a history, which is left out where there is nothing to go on with.
    let of_history = json!(["payment", "order", "deliveries"]);
    schemas.entry(PaymentHistoryDocument::name()).and_modify(|schema| schema["required"] = of_history);
    for name in [NotificationBody::name(), RegistrationBody::name()] {
        schemas.entry(name).and_modify(allow_empty_texts);
    }
    // One of the two names, and what counts as absent is not enough.
    let id = format!("#/components/schemas/{}", NewPaymentId::name());
    let named = |name: &str| json!({ "required": [name], "properties": { name: { "$ref": id } } });
    let either = json!([named("externalPaymentId"), named("paymentId")]);
    schemas.entry(RegistrationBody::name()).and_modify(|schema| schema["anyOf"] = either);
}

/// In a body, what may be `null` may be empty as well.
fn allow_empty_texts(schema: &mut Value) {
    let members = schema["properties"].as_object_mut().into_iter().flat_map(|members| members.values_mut());
    for forms in members.filter_map(|member| member.get_mut("oneOf").and_then(Value::as_array_mut)) {
        forms.push(json!(word("")));
    }
}

/// A response has all the headers that are described.
fn demand_headers(value: &mut Value) {
    let Some(members) = value.as_object_mut() else { return };
    for (name, member) in members {
        if let ("headers", Some(headers)) = (name.as_str(), member.as_object_mut()) {
            headers.values_mut().for_each(|header| header["required"] = json!(true));
        } else {
            demand_headers(member);
        }
    }
}

/// In responses, what is absent is `null`, not left out.
fn demand_members(schema: &mut Value) {
    if let Some(kinds) = schema.get_mut("oneOf").and_then(Value::as_array_mut) {
        kinds.iter_mut().for_each(demand_members);
    } else if let Some(members) = schema["properties"].as_object() {
        schema["required"] = members.keys().cloned().collect();
    }
}
