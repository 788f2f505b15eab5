//! The routes. A handler verifies, parses, calls and translates.

mod deliveries;
mod docs;
mod health;
mod metrics;
mod openapi;
mod orders;
mod payments;
mod webhook;

use actix_web::{Resource, Route, web};

use crate::problem::Problem;

pub(crate) use docs::FILES as DOCS_FILES;
pub(crate) use metrics::LedgerReadings;
pub(crate) use webhook::Webhook;

/// Where callbacks come in.
pub(crate) const WEBHOOK: &str = "/api/payments/webhook";

/// All routes of the service.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    let registrations = ["/api/payments", "/api/marathon/payment/register"];
    config
        .service(resource(WEBHOOK, "POST", web::post().to(webhook::receive)))
        .service(web::resource(registrations).route(web::post().to(payments::register)).default_service(only("POST")))
        .service(resource("/api/payments/{id}", "GET", web::get().to(payments::show)))
        .service(resource("/api/orders/{id}", "GET", web::get().to(orders::show)))
        .service(resource("/api/orders/{id}/cancel", "POST", web::post().to(orders::cancel)))
        .service(resource("/api/deliveries", "GET", web::get().to(deliveries::list)))
        .service(resource("/api/deliveries/{id}", "GET", web::get().to(deliveries::show)))
        .service(resource("/api/deliveries/{id}/replay", "POST", web::post().to(deliveries::replay)))
        .service(resource("/healthz", "GET", web::get().to(health::alive)))
        .service(resource("/readyz", "GET", web::get().to(health::ready)))
        .service(resource("/metrics", "GET", web::get().to(metrics::show)))
        .service(resource("/api/openapi.json", "GET", web::get().to(openapi::show)))
        .service(resource("/docs", "GET", web::get().to(docs::page)))
        .service(resource("/docs/{file}", "GET", web::get().to(docs::file)))
        .default_service(web::to(async || Err::<&str, _>(Problem::not_found())));
}

fn resource(path: &str, method: &'static str, route: Route) -> Resource {
    web::resource(path).route(route).default_service(only(method))
}

/// Answers every other method.
fn only(method: &'static str) -> Route {
    web::to(move || async move { Err::<&str, _>(Problem::method_not_allowed(method)) })
}
