//! What `Sink` promises: each check runs for every sink that it applies to.

mod checks;
mod one_file;
pub mod outputs;
mod transactions;
pub mod writer;

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

/// What every sink does that says that a message has its effect exactly once.
macro_rules! exactly_once {
    ($($sink:ident: $($check:ident),* $(,)?;)+) => {
        conformance!($($sink:
            is_in_the_same_place_each_time,
            shows_nothing_before_a_commit,
            shows_all_in_order_after_a_commit,
            a_drop_leaves_nothing_but_the_last_checkpoint,
            gives_back_the_state,
            ends_early_with_the_state,
            checkpoint_state_and_output_are_one,
            several_partitions_take_effect_in_one_step,
            a_second_owner_fences_the_first,
            commits_without_output,
            goes_on_in_another_sink_after_a_close,
            an_abort_leaves_nothing_and_the_sink_goes_on,
            hands_out_what_was_kept_while_it_commits,
            $($check,)*
        ;)+);
    };
}

exactly_once!(
    embedded: letters_are_in_the_step, is_full_and_due_at_once;
    kafka: letters_are_in_the_step;
    embedded_in_avro: letters_are_in_the_step;
    kafka_in_avro: letters_are_in_the_step;
    csv: is_full_and_due_at_once;
    csv_gz:;
    csv_s3: is_full_and_due_at_once;
    parquet: is_full_and_due_at_once;
    parquet_s3: is_full_and_due_at_once;
    delta: is_full_and_due_at_once;
    delta_s3: is_full_and_due_at_once;
    sqlite: is_full_and_due_at_once;
);

conformance!(
    // What it shows cannot be taken back; what it keeps is that of its store.
    stdout: is_in_the_same_place_each_time, commits_without_output, hands_out_what_was_kept_without_output;
);
