//! Generated from `wit/`: the world of plugins with state. Plugins use `apogee-sdk`.
//!
//! A crate of its own, because the macros that wit-bindgen exports for two worlds have the same names.

wit_bindgen::generate!({
    path: "../../../wit",
    world: "stateful",
    pub_export_macro: true,
    default_bindings_module: "apogee_sdk_stateful",
});
