//! The routes. A handler verifies, parses, calls and translates.

mod deliveries;
mod docs;
mod events;
mod health;
mod metrics;
mod openapi;
mod orders;
mod payments;
mod webhook;

use actix_web::{Resource, Route, guard, web};

use crate::paths::{GET, POST, WEBHOOK};
use crate::problem::Problem;

pub(crate) use health::LedgerReadiness;
pub(crate) use webhook::Webhook;

/// All routes of the service.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    let registrations = ["/api/payments", "/api/marathon/payment/register"];
    // The page's own addresses are relative, so that it may stand behind any prefix: at /docs/ they begin there.
    let (description, files) = (["/api/openapi.json", "/docs/api/openapi.json"], ["/docs/{file}", "/docs/docs/{file}"]);
    config
        .service(resource(WEBHOOK, POST, web::post().to(webhook::receive)))
        .service(web::resource(registrations).route(web::post().to(payments::register)).default_service(only(POST)))
        .service(resource("/api/payments/{id}", GET, get().to(payments::show)))
        .service(resource("/api/orders/{id}", GET, get().to(orders::show)))
        .service(resource("/api/orders/{id}/cancel", POST, web::post().to(orders::cancel)))
        .service(resource("/api/deliveries", GET, get().to(deliveries::list)))
        .service(resource("/api/deliveries/{id}", GET, get().to(deliveries::show)))
        .service(resource("/api/deliveries/{id}/replay", POST, web::post().to(deliveries::replay)))
        .service(resource("/api/events", GET, get().to(events::list)))
        .service(resource("/api/events/redeliver", POST, web::post().to(events::redeliver_many)))
        .service(resource("/api/events/{id}", GET, get().to(events::show)))
        .service(resource("/api/events/{id}/redeliver", POST, web::post().to(events::redeliver)))
        .service(resource("/healthz", GET, get().to(health::alive)))
        .service(resource("/readyz", GET, get().to(health::ready)))
        .service(resource("/metrics", GET, get().to(metrics::show)))
        .service(web::resource(description).route(get().to(openapi::show)).default_service(only(GET)))
        .service(resource("/docs", GET, get().to(docs::page)))
        .service(web::resource(files).route(get().to(docs::file)).default_service(only(GET)))
        .default_service(web::to(async || Err::<&str, _>(Problem::not_found())));
}

fn resource(path: &str, methods: &'static str, route: Route) -> Resource {
    web::resource(path).route(route).default_service(only(methods))
}

/// `HEAD` as well: the HTTP library leaves the body out.
fn get() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// Answers every other method.
fn only(methods: &'static str) -> Route {
    web::to(move || async move { Err::<&str, _>(Problem::method_not_allowed(methods)) })
}
