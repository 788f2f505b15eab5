//! One attempt of an outbound HTTP call, and what its answer means: a client that follows no redirects and uses no
//! proxy, answers of bounded size, failures by kind, and a verdict. Schedules, payloads, signatures and logging are
//! for the callers.
//!
//! ```no_run
//! # async fn notify(body: Vec<u8>, url: outbound::Url) -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use outbound::{Client, Limits, RetryRules, StatusCode, Verdict, post_json, reason};
//!
//! const RULES: RetryRules = RetryRules {
//!     is_final: |status| status == StatusCode::GONE,
//!     retry_after_max: Duration::from_secs(36_000),
//! };
//! let client = Client::new(Limits {
//!     connect_max: Duration::from_secs(2),
//!     attempt_max: Duration::from_secs(10),
//!     idle_max: Duration::from_secs(4),
//!     answer_bytes_max: 64 * 1024,
//! })?;
//! let attempted = client.attempt(&post_json(url, body)).await;
//! match RULES.verdict(&attempted) {
//!     Verdict::Delivered => println!("delivered"),
//!     Verdict::RetryAtOnce => println!("again, now: {}", reason(&attempted)),
//!     Verdict::RetryAfterPause { at_least } => println!("again, not before {at_least:?}: {}", reason(&attempted)),
//!     Verdict::GiveUp => println!("never again: {}", reason(&attempted)),
//! }
//! # Ok(())
//! # }
//! ```

mod answer;
mod client;
mod failure;
mod jitter;
mod verdict;

pub use answer::Answer;
pub use client::{Client, Limits, post_json};
pub use failure::{Failure, FailureKind, chain};
pub use jitter::jittered;
pub use reqwest::{Method, Request, StatusCode, Url, header};
pub use verdict::{RetryRules, Verdict, final_unless_transient, reason};
