//! What `Sink` promises: each check runs for every sink that it applies to.

mod checks;
mod outputs;
mod transactions;

/// Makes a module of tests for each sink, one test a check.
macro_rules! conformance {
    ($($sink:ident: $($check:ident),+ $(,)?;)+) => {
        $(mod $sink {
            $(#[test]
            fn $check() {
                super::checks::$check(&super::outputs::$sink());
            })+
        })+
    };
}

conformance!(
    csv:
        shows_nothing_before_a_commit,
        shows_all_in_order_after_a_commit,
        leaves_nothing_when_dropped,
        a_drop_keeps_what_was_committed,
        loses_nothing_that_is_written_again,
        a_commit_without_messages_is_harmless,
        is_due_only_with_something_written,
        starts_anew_after_a_commit;
    // Holds in memory what is not committed, but not without bound: beyond that it goes to the topic before its
    // commit, so that the promise to a pipeline is only that nothing is lost: at least once.
    embedded_topic:
        shows_nothing_before_a_commit,
        shows_all_in_order_after_a_commit,
        leaves_nothing_when_dropped,
        a_drop_keeps_what_was_committed,
        loses_nothing_that_is_written_again,
        a_commit_without_messages_is_harmless,
        is_due_only_with_something_written,
        starts_anew_after_a_commit;
    // Sends messages as they are written, so readers may see them before their commit, also when it never comes. The
    // promise is that all of them are there after it: at least once.
    kafka_topic:
        shows_all_in_order_after_a_commit,
        a_drop_keeps_what_was_committed,
        loses_nothing_that_is_written_again,
        a_commit_without_messages_is_harmless,
        is_due_only_with_something_written,
        starts_anew_after_a_commit;
);
