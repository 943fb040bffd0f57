//! Generated from `wit/`. Plugins name nothing in here; [`export!`](crate::export) and its like do.

use crate::wire;

/// The interface of plugins that answer questions.
pub use apogee_sdk_answers as answers;
/// The world of plugins with state.
pub use apogee_sdk_stateful as stateful;

/// The world of plugins that know where their messages come from.
pub use apogee_sdk_positioned as positioned;

wit_bindgen::generate!({
    path: "../../wit",
    world: "transformer",
    pub_export_macro: true,
    default_bindings_module: "apogee_sdk::bindings",
    // One type for all worlds. Those of an exported interface belong to their world, and so have conversions below.
    with: { "apogee:plugin/messages@0.1.0": apogee_sdk_stateful::apogee::plugin::messages },
});

/// Conversions into the types of another world.
macro_rules! into_world {
    ($world:ident) => {
        const _: () = {
            use self::$world::exports::apogee::plugin::transform::{Description, Field, Kind, Opened};

            impl From<wire::Description> for Description {
                fn from(wire::Description { name, version, summary, settings }: wire::Description) -> Self {
                    Self { name, version, summary, settings }
                }
            }

            impl From<wire::Opened> for Opened {
                fn from(wire::Opened { fields, key, groups }: wire::Opened) -> Self {
                    Self { fields: fields.into_iter().map(Field::from).collect(), key, groups }
                }
            }

            impl From<crate::Field> for Field {
                fn from(crate::Field { name, kind, nullable }: crate::Field) -> Self {
                    let kind = match kind {
                        crate::Kind::Boolean => Kind::Boolean,
                        crate::Kind::Integer => Kind::Integer,
                        crate::Kind::Float => Kind::Float,
                        crate::Kind::Text => Kind::Text,
                        crate::Kind::Timestamp => Kind::Timestamp,
                    };
                    Self { name, kind, nullable }
                }
            }
        };
    };
}

into_world!(stateful);
into_world!(positioned);
