//! What the operator reads of each way to misbehave, with the limits of the test.

pub const TEXTS: [(&str, &str); 38] = [
    (
        "loop-in-open",
        "plugin hostile 0.1.0 was stopped in open: it ran longer than 300ms; if it needs longer, raise `call` in [plugin.limits]",
    ),
    (
        "trap-in-open",
        "plugin hostile 0.1.0 failed in open: it gave up (a panic, an abort or an uncaught exception); it said: thread '<unnamed>' (1) panicked at plugins/hostile/src/lib.rs:48:32: / it does not open / note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace",
    ),
    (
        "loop-in-process",
        "plugin hostile 0.1.0 was stopped in process: it ran longer than 300ms; if it needs longer, raise `call` in [plugin.limits]",
    ),
    (
        "allocate",
        "plugin hostile 0.1.0 was stopped in process: it asked for 33619968 bytes of memory and may have 33554432; if it needs more, raise `memory` in [plugin.limits]",
    ),
    (
        "recurse",
        "plugin hostile 0.1.0 failed in process: it reached outside of its memory (often a recursion without end)",
    ),
    (
        "trap",
        "plugin hostile 0.1.0 failed in process: it gave up (a panic, an abort or an uncaught exception); it said: thread '<unnamed>' (1) panicked at plugins/hostile/src/lib.rs:65:26: / the plugin said so / note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace",
    ),
    ("abort", "plugin hostile 0.1.0 failed in process: it gave up (a panic, an abort or an uncaught exception)"),
    (
        "lengths-too-long",
        "plugin hostile 0.1.0 gave back nonsense from process: lengths of the values that sum up to 1000011 for 11 bytes; nothing of it was used, and this is the plugin's fault",
    ),
    (
        "lengths-negative",
        "plugin hostile 0.1.0 gave back nonsense from process: a length of -2 among the values; nothing of it was used, and this is the plugin's fault",
    ),
    (
        "lengths-short",
        "plugin hostile 0.1.0 gave back nonsense from process: lengths of the values that sum up to 10 for 11 bytes; nothing of it was used, and this is the plugin's fault",
    ),
    (
        "columns-uneven",
        "plugin hostile 0.1.0 gave back nonsense from process: 3 keys for 0 messages; nothing of it was used, and this is the plugin's fault",
    ),
    (
        "headers-out-of-range",
        "plugin hostile 0.1.0 gave back nonsense from process: a header that names message 4294967295 of 3; nothing of it was used, and this is the plugin's fault",
    ),
    (
        "origins-out-of-range",
        "plugin hostile 0.1.0 gave back nonsense from process: an origin that names message 4294967295 of 3; nothing of it was used, and this is the plugin's fault",
    ),
    (
        "origins-missing",
        "plugin hostile 0.1.0 gave back nonsense from process: 0 origins for 3 messages; nothing of it was used, and this is the plugin's fault",
    ),
    (
        "rejected-out-of-range",
        "plugin hostile 0.1.0 gave back nonsense from process: a rejection that names message 4294967295 of 3; nothing of it was used, and this is the plugin's fault",
    ),
    (
        "rejected-twice",
        "plugin hostile 0.1.0 gave back nonsense from process: message 0 rejected twice; nothing of it was used, and this is the plugin's fault",
    ),
    (
        "million-messages",
        "plugin hostile 0.1.0 was stopped in process: it put out more than 10000 messages or 1048576 bytes in one call; if it needs more, raise `output_messages` and `output_bytes` in [plugin.limits]",
    ),
    (
        "giant-output",
        "plugin hostile 0.1.0 was stopped in process: it asked for 1074855936 bytes of memory and may have 33554432; if it needs more, raise `memory` in [plugin.limits]",
    ),
    (
        "giant-reason",
        "plugin hostile 0.1.0 was stopped in process: it put out more than 10000 messages or 1048576 bytes in one call; if it needs more, raise `output_messages` and `output_bytes` in [plugin.limits]",
    ),
    (
        "hoard-handles",
        "plugin hostile 0.1.0 was stopped in process: it held more than 100 handles to host resources; if it needs more, raise `resources` in [plugin.limits]",
    ),
    (
        "hoard-streams",
        "plugin hostile 0.1.0 was stopped in process: it held more than 100 handles to host resources; if it needs more, raise `resources` in [plugin.limits]",
    ),
    ("hoard-random", "plugin hostile 0.1.0 failed in process: requested len 18446744073709551615 exceeds limit 65536"),
    (
        "bad-fields",
        "plugin hostile 0.1.0 gave back nonsense from open: 10001 fields, where 10000 are the most; nothing of it was used, and this is the plugin's fault",
    ),
    (
        "duplicate-fields",
        "plugin hostile 0.1.0 gave back nonsense from open: a field without a name, or with one that is there twice: \"\\u{1b}[31mred\"; nothing of it was used, and this is the plugin's fault",
    ),
    (
        "loop-in-restore",
        "plugin hostile 0.1.0 was stopped in restore: it ran longer than 300ms; if it needs longer, raise `call` in [plugin.limits]",
    ),
    (
        "trap-in-restore",
        "plugin hostile 0.1.0 failed in restore: it gave up (a panic, an abort or an uncaught exception); it said: thread '<unnamed>' (1) panicked at plugins/hostile/src/lib.rs:128:35: / the state is not to my taste / note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace",
    ),
    (
        "refuse-state",
        "plugin hostile 0.1.0 refuses the state that its version 0.1.0 kept: \\u{1b}[31mnot mine; go back to that version, or start without it under another `group`",
    ),
    (
        "loop-in-advance",
        "plugin hostile 0.1.0 was stopped in advance: it ran longer than 300ms; if it needs longer, raise `call` in [plugin.limits]",
    ),
    (
        "trap-in-advance",
        "plugin hostile 0.1.0 failed in advance: it gave up (a panic, an abort or an uncaught exception); it said: thread '<unnamed>' (1) panicked at plugins/hostile/src/lib.rs:99:35: / the time is not right / note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace",
    ),
    (
        "million-in-advance",
        "plugin hostile 0.1.0 was stopped in advance: it put out more than 10000 messages or 1048576 bytes in one call; if it needs more, raise `output_messages` and `output_bytes` in [plugin.limits]",
    ),
    (
        "origins-in-advance",
        "plugin hostile 0.1.0 gave back nonsense from advance: origins or rejections where no message came in; nothing of it was used, and this is the plugin's fault",
    ),
    (
        "loop-in-changes",
        "plugin hostile 0.1.0 was stopped in changes: it ran longer than 300ms; if it needs longer, raise `call` in [plugin.limits]",
    ),
    (
        "trap-in-changes",
        "plugin hostile 0.1.0 failed in changes: it gave up (a panic, an abort or an uncaught exception); it said: thread '<unnamed>' (1) panicked at plugins/hostile/src/lib.rs:112:35: / nothing ever changes / note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace",
    ),
    (
        "changes-too-long",
        "plugin hostile 0.1.0 gave back nonsense from changes: lengths of the keys that sum up to 1000000 for 1 bytes; nothing of it was used, and this is the plugin's fault",
    ),
    (
        "changes-uneven",
        "plugin hostile 0.1.0 gave back nonsense from changes: 1 values for 2 messages; nothing of it was used, and this is the plugin's fault",
    ),
    (
        "changes-without-key",
        "plugin hostile 0.1.0 gave back nonsense from changes: an entry of state without a key; nothing of it was used, and this is the plugin's fault",
    ),
    (
        "changes-without-end",
        "plugin hostile 0.1.0 gave back nonsense from changes: more than 67108864 bytes of state; nothing of it was used, and this is the plugin's fault",
    ),
    (
        "nothing-without-end",
        "plugin hostile 0.1.0 gave back nonsense from changes: more than 67108864 bytes of state; nothing of it was used, and this is the plugin's fault",
    ),
];
