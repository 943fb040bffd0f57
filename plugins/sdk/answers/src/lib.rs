//! Generated from `wit/`: the interface of plugins that answer questions. Plugins use `apogee-sdk`.
//!
//! A world of this one interface: a component that exports it beside those of plugins with state is an `aggregator`.

wit_bindgen::generate!({
    inline: "package apogee:sdk; world answers { export apogee:plugin/query@0.1.0; }",
    path: "../../../wit",
    world: "apogee:sdk/answers",
    pub_export_macro: true,
    default_bindings_module: "apogee_sdk_answers",
});
