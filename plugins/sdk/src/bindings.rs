//! Generated from `wit/`. Plugins name nothing in here; [`export!`](crate::export) does.

wit_bindgen::generate!({
    path: "../../wit",
    world: "transformer",
    pub_export_macro: true,
    default_bindings_module: "apogee_sdk::bindings",
});
