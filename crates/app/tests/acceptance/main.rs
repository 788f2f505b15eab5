//! The service as others meet it: the real program, over real sockets, on each of its stores. What the
//! contract promises stands here as facts, by theme.
//!
//! Those on PostgreSQL need a server where databases may be made: `TEST_DATABASE_URL`, or `make test`.

/// Makes two tests of each fact: one on SQLite and one on PostgreSQL.
macro_rules! on_both_stores {
    ($($fact:ident,)*) => {
        mod sqlite {
            $(
                #[test]
                fn $fact() {
                    super::$fact($crate::test_app::Store::sqlite());
                }
            )*
        }

        mod postgres {
            $(
                #[test]
                fn $fact() {
                    super::$fact($crate::test_app::Store::postgres());
                }
            )*
        }
    };
}

mod answers;
mod authentication;
mod background;
mod central_logging;
mod commands;
mod concurrency;
mod connections;
mod deliveries;
mod events;
#[cfg(target_os = "linux")]
mod failover;
mod files;
mod held_rows;
mod logs;
mod metrics;
mod openapi;
mod outages;
mod payloads;
mod pooling;
mod printed;
mod pruning;
mod readiness;
mod reading;
mod recorded;
mod registration;
mod roles;
mod rule;
mod sending;
mod servers;
mod starting;
mod stopping;
mod telling;
mod test_app;
