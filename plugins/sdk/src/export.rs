//! The macros that make a component, one for each set of capabilities.

/// What every component is built around: the plugin, from when it is opened on, and the interface `transform`. `process`
/// is what a batch goes through.
#[doc(hidden)]
#[rustfmt::skip]
#[macro_export]
macro_rules! component {
    ($plugin:ty, $transform:path, $process:expr) => {
        use $crate::wire;
        use $transform as transform;

        ::std::thread_local! {
            static PLUGIN: ::std::cell::RefCell<Option<$plugin>> =
                const { ::std::cell::RefCell::new(None) };
        }

        fn with<R>(call: impl FnOnce(&mut $plugin) -> R) -> R {
            PLUGIN.with_borrow_mut(|it| call(it.as_mut().expect("the host calls `open` first")))
        }

        struct Component;

        impl transform::Guest for Component {
            fn describe() -> transform::Description {
                $crate::describe::<$plugin>().into()
            }

            fn open(settings: String) -> Result<transform::Opened, String> {
                let plugin: $plugin = $crate::open(&settings)?;
                let opened = $crate::opened(&plugin);
                PLUGIN.set(Some(plugin));
                Ok(opened.into())
            }

            fn process(batch: wire::Batch) -> wire::Output {
                with(|plugin| $process(plugin, batch))
            }
        }
    };
}

/// Makes a component of a [`Transform`](crate::Transform). Does nothing in a native build.
// rustfmt moves the last line of it to the left, each time it is run.
#[rustfmt::skip]
#[macro_export]
macro_rules! export {
    ($plugin:ty) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            $crate::component!($plugin, $crate::bindings::exports::apogee::plugin::transform, $crate::process);

            $crate::bindings::export!(Component with_types_in $crate::bindings);
        };
    };
}

/// Makes a component of a [`Stateful`](crate::Stateful) plugin. Does nothing in a native build.
#[rustfmt::skip]
#[macro_export]
macro_rules! export_stateful {
    ($plugin:ty) => {
        $crate::export_stateful!($plugin, {});
    };
    ($plugin:ty, { $($more:item)* }) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            use $crate::bindings::stateful::exports::apogee::plugin::{state, timer};

            $crate::component!(
                $plugin,
                $crate::bindings::stateful::exports::apogee::plugin::transform,
                $crate::process
            );

            impl timer::Guest for Component {
                fn advance(watermark: i64) -> wire::Output {
                    with(|plugin| $crate::advance(plugin, watermark))
                }
            }

            impl state::Guest for Component {
                fn changes() -> wire::Entries {
                    with(|plugin| $crate::changes(plugin))
                }

                fn restore(version: String, entries: wire::Entries) -> Result<(), String> {
                    with(|plugin| $crate::restore(plugin, &version, entries))
                }
            }

            $crate::bindings::stateful::export!(Component with_types_in $crate::bindings::stateful);

            $($more)*
        };
    };
}

/// Makes a component of a plugin that [`Answers`](crate::Answers) questions. Does nothing in a native build.
#[rustfmt::skip]
#[macro_export]
macro_rules! export_aggregator {
    ($plugin:ty) => {
        $crate::export_stateful!($plugin, {
            impl $crate::bindings::answers::exports::apogee::plugin::query::Guest for Component {
                fn ask(question: String) -> Result<String, String> {
                    with(|plugin| $crate::ask(plugin, &question))
                }
            }

            $crate::bindings::answers::export!(Component with_types_in $crate::bindings::answers);
        });
    };
}

/// Makes a component of a [`Positioned`](crate::Positioned) plugin. Does nothing in a native build.
#[rustfmt::skip]
#[macro_export]
macro_rules! export_positioned {
    ($plugin:ty) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            use $crate::bindings::positioned::exports::apogee::plugin::position;

            ::std::thread_local! {
                static PLACE: ::std::cell::Cell<(u32, Vec<i64>)> =
                    const { ::std::cell::Cell::new((0, Vec::new())) };
            }

            $crate::component!(
                $plugin,
                $crate::bindings::positioned::exports::apogee::plugin::transform,
                |plugin, batch| {
                    let (partition, offsets) = PLACE.take();
                    $crate::process_at(plugin, partition, &offsets, batch)
                }
            );

            impl position::Guest for Component {
                fn locate(partition: u32, offsets: Vec<i64>) {
                    PLACE.set((partition, offsets));
                }
            }

            $crate::bindings::positioned::export!(Component with_types_in $crate::bindings::positioned);
        };
    };
}
