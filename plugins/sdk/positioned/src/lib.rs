//! Generated from `wit/`: the world of plugins that know where their messages come from. Plugins use `apogee-sdk`.
//!
//! A crate of its own, because the macros that wit-bindgen exports for two worlds have the same names.

wit_bindgen::generate!({
    path: "../../../wit",
    world: "positioned",
    pub_export_macro: true,
    default_bindings_module: "apogee_sdk_positioned",
    with: { "apogee:plugin/messages@0.1.0": apogee_sdk_stateful::apogee::plugin::messages },
});
