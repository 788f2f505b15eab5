//! What every [`Ledger`](ports::Ledger) must do. Each fact is a function over a fresh ledger;
//! [`ledger_conformance`](crate::ledger_conformance) makes tests of all of them.

pub mod audit_trail;
pub mod committing;
pub mod concurrency;
pub mod leases;
pub mod migrating;
pub mod outbox;
pub mod parking;
pub mod retention;
pub mod round_trip;
pub mod serializing;
pub mod settling;
pub mod sharing;
pub mod sql;
pub mod stats;

/// Makes a test of every fact. `$fresh` is called for each: it returns a fresh ledger and what has to live as
/// long as the ledger does.
#[macro_export]
macro_rules! ledger_conformance {
    ($fresh:ident) => {
        $crate::ledger_conformance! { $fresh;
            committing {
                of_identical_completions_at_once_one_counts,
                what_arrives_during_a_commit_is_committed_together,
                each_caller_hears_of_its_own_callback,
                a_full_queue_says_so_at_once,
                finishing_settles_what_waits_and_takes_no_more,
                a_caller_that_goes_away_changes_nothing,
                what_the_ledger_refuses_does_not_sink_its_neighbours,
                what_hinders_the_ledger_holds_up_itself_alone,
                what_another_session_holds_is_set_apart_and_settles_when_it_is_free,
                what_stays_held_is_given_up_when_it_has_waited_long_enough,
                a_panic_is_told_to_its_callers_and_the_next_are_settled,
                what_is_committed_is_observed,
                entries_stand_in_the_order_in_which_they_were_decided,
            }
            parking {
                what_waits_is_applied_in_the_order_of_its_parking_and_once,
                what_is_applied_leaves_an_entry_of_its_own,
                the_same_notification_waits_once,
                what_differs_in_what_it_says_waits_beside,
                what_waits_for_another_payment_goes_on_waiting,
                a_registration_that_is_refused_leaves_everything_waiting,
                what_contradicts_its_registration_is_rejected_when_it_is_applied,
            }
            concurrency {
                overlapping_batches_neither_block_each_other_nor_lose_anything,
                one_completion_of_many_at_once_counts,
                of_two_payments_at_once_one_pays_their_order,
                an_order_is_cancelled_or_paid_but_not_both,
                a_notification_that_races_its_registration_is_never_lost,
                a_payment_is_registered_once,
                one_registration_of_many_that_differ_counts,
                two_payments_of_one_new_order_are_registered_at_once,
                the_first_price_of_an_order_counts,
                a_reader_never_sees_half_of_a_settlement,
                an_order_that_is_found_as_it_comes_to_be_is_cancelled_or_paid_but_not_both,
                what_is_decided_beside_a_stranger_overwrites_nothing,
            }
            settling {
                a_batch_settles_many_payments_at_once,
                a_batch_may_repeat_a_payment,
                a_batch_may_hold_what_settles_what_parks_and_what_contradicts,
                of_two_payments_in_a_batch_one_pays_their_order,
                a_contradiction_changes_nothing,
                a_partial_refund_is_known_again_by_its_time,
                partial_refunds_of_one_moment_are_told_apart_by_their_transactions,
                a_partial_refund_completes_what_was_not_completed,
                a_cancelled_order_is_not_paid,
                a_paid_order_and_an_unknown_one_are_not_cancelled,
                a_registration_that_says_otherwise_changes_nothing,
                what_a_panic_interrupts_is_not_stored,
                what_cannot_be_stored_in_full_is_not_stored_at_all,
                what_is_discarded_is_not_stored,
                a_replay_goes_through_the_same_rule,
                an_invalid_or_unknown_delivery_is_not_replayed,
                nothing_to_settle_is_nothing_to_store,
                any_history_reads_like_the_one_in_memory,
            }
            round_trip {
                a_registered_payment_is_read_back_exactly,
                a_payment_its_record_and_its_order_are_read_back_as_they_now_stand,
                a_payment_without_a_transaction_keeps_none,
                an_entry_with_everything_set_is_read_back_exactly,
                an_entry_with_nothing_set_is_read_back_exactly,
                an_entry_that_could_be_read_in_part_is_read_back_exactly,
                every_outcome_is_read_back_with_its_reason,
                a_time_is_kept_to_the_microsecond_in_every_year_that_can_be_written,
                ids_that_look_alike_are_different,
                amounts_of_any_size_and_precision_are_kept,
                what_is_unknown_is_none,
                a_ledger_that_is_ready_says_so,
                an_order_shows_its_payments_in_the_order_of_their_registration,
            }
            audit_trail {
                entries_are_found_by_any_combination_of_filters,
                pages_follow_each_other_without_gap_or_overlap,
                since_means_the_microsecond_of_receipt,
                a_payment_shows_the_newest_of_a_long_history,
                pages_of_a_payment_begin_before_it_was_registered,
            }
            stats {
                there_is_nothing_to_see_of_an_empty_ledger,
                a_payment_is_open_until_its_end_is_heard,
                a_notification_is_parked_until_its_payment_is_registered,
                money_is_unapplied_until_it_is_refunded,
                the_newest_callback_counts_whatever_came_of_it,
            }
            leases {
                of_two_holders_one_has_the_lease,
                a_lease_past_its_end_is_free,
                a_renewed_lease_ends_as_its_renewal_says,
                a_released_lease_is_free,
                a_release_by_another_changes_nothing,
                leases_of_different_names_are_independent,
                of_many_holders_at_once_one_gets_the_lease,
            }
            outbox {
                an_event_is_claimed_with_what_the_portal_is_told,
                the_events_of_an_order_are_claimed_in_the_order_of_their_settlements,
                what_leads_to_no_event_leaves_nothing_to_send,
                a_claimed_queue_is_free_when_its_claim_has_ended,
                queues_are_claimed_side_by_side_up_to_a_limit,
                the_queue_that_is_due_for_the_longest_time_is_claimed_first,
                what_is_delivered_is_not_claimed_again,
                a_queue_that_failed_is_due_after_its_pause_and_holds_up_itself_alone,
                attempts_that_failed_are_counted,
                a_dead_event_holds_up_no_other,
                an_event_that_is_added_to_a_claimed_queue_is_not_forgotten,
                a_long_queue_is_claimed_in_parts,
                a_claim_may_be_given_back_unused,
                an_event_is_redelivered_whatever_its_state,
                all_events_that_a_filter_lets_through_are_redelivered,
                events_are_found_by_any_combination_of_filters,
                pages_of_events_follow_each_other_without_gap_or_overlap,
                monitoring_sees_what_is_to_be_sent_and_what_was_given_up,
                of_many_that_claim_at_once_each_queue_goes_to_one,
                events_that_are_settled_while_others_are_sent_are_sent_in_order,
            }
            retention {
                what_is_settled_told_and_old_is_removed,
                what_is_not_old_stays,
                a_dry_run_counts_the_same_and_removes_nothing,
                everything_of_an_order_with_an_open_payment_stays,
                what_the_portal_was_not_told_stays,
                an_order_with_a_dead_event_stays,
                an_event_that_is_sent_again_meanwhile_stays,
                an_unapplied_payment_stays_until_it_is_refunded,
                what_waits_for_its_payment_stays,
                what_was_said_about_no_registered_payment_is_removed,
                what_was_rejected_stays_as_long_as_its_payment_is_open,
                a_partial_refund_is_known_again_when_its_entry_is_gone,
                a_replay_leaves_an_entry_after_the_removal,
                records_are_looked_at_in_parts,
                callbacks_are_settled_while_records_are_removed,
            }
        }
    };
    ($fresh:ident; $($group:ident { $($fact:ident,)* })*) => {
        $(
            mod $group {
                $(
                    #[test]
                    fn $fact() {
                        let (ledger, _keep) = super::$fresh();
                        $crate::ledger::$group::$fact(&ledger);
                    }
                )*
            }
        )*
    };
}

/// Makes a test of every fact about two ledgers over one store. `$fresh` returns both and what has to live as
/// long as they do.
#[macro_export]
macro_rules! shared_ledger_conformance {
    ($fresh:ident) => {
        $crate::shared_ledger_conformance! { $fresh;
            replicas_settle_each_other_s_payments,
            of_identical_completions_on_two_replicas_one_counts,
            a_notification_that_races_its_registration_elsewhere_is_never_lost,
            replicas_share_leases_and_one_has_each,
            replicas_share_the_events_to_send,
            replicas_send_the_events_of_an_order_one_after_the_other,
        }
    };
    ($fresh:ident; $($fact:ident,)*) => {
        mod sharing {
            $(
                #[test]
                fn $fact() {
                    let (one, other, _keep) = super::$fresh();
                    $crate::ledger::sharing::$fact(&one, &other);
                }
            )*
        }
    };
}

/// Makes a test of every fact about a ledger in an SQL database. `$fresh` returns a fresh ledger and a
/// [`Database`](crate::ledger::sql::Database) that reaches behind it.
#[macro_export]
macro_rules! sql_ledger_conformance {
    ($fresh:ident) => {
        $crate::sql_ledger_conformance! { $fresh;
            a_payment_that_cannot_be_understood_is_corrupt,
            a_record_that_cannot_be_understood_is_corrupt,
            a_record_is_a_view_of_its_payment,
            an_entry_that_cannot_be_understood_is_corrupt,
            what_waits_and_is_incomplete_goes_on_waiting,
            what_an_earlier_version_parked_is_applied,
            a_corrupt_row_does_not_sink_its_neighbours,
            the_database_itself_refuses_what_the_rule_excludes,
            events_are_numbered_as_they_happened,
            an_event_that_cannot_be_understood_holds_up_its_order_alone,
            nothing_is_stored_of_a_dry_run_or_a_refusal,
            counting_stops_at_its_limit,
            many_events_to_send_are_counted_in_time,
        }
    };
    ($fresh:ident; $($fact:ident,)*) => {
        mod sql {
            $(
                #[test]
                fn $fact() {
                    let (ledger, database) = super::$fresh();
                    $crate::ledger::sql::$fact(&ledger, &database);
                }
            )*
        }
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_fact_is_in_the_suite() {
        let contract = include_str!("ledger.rs");
        for group in [
            include_str!("ledger/committing.rs"),
            include_str!("ledger/parking.rs"),
            include_str!("ledger/concurrency.rs"),
            include_str!("ledger/settling.rs"),
            include_str!("ledger/sharing.rs"),
            include_str!("ledger/sql.rs"),
            include_str!("ledger/round_trip.rs"),
            include_str!("ledger/audit_trail.rs"),
            include_str!("ledger/stats.rs"),
            include_str!("ledger/leases.rs"),
            include_str!("ledger/outbox.rs"),
            include_str!("ledger/retention.rs"),
        ] {
            let facts = group.lines().filter_map(|line| line.strip_prefix("pub fn ")?.split('(').next());
            for fact in facts {
                assert!(contract.contains(&format!(" {fact},\n")), "{fact} is listed");
            }
        }
    }
}
