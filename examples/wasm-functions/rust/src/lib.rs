//! A function in Rust: counts visits in the key/value store, and greets by name.
//!
//! `wit/` holds skerry-function.wit. Build: `cargo build --release --target wasm32-wasip2`.

wit_bindgen::generate!({ world: "function", path: "wit" });

use exports::skerry::function::handler::Guest;
use skerry::function::types::{Request, Response};
use skerry::function::{kv, log};

struct Greeter;

impl Guest for Greeter {
    fn handle(request: Request) -> Result<Response, String> {
        let name = request.url.split_once("name=").map_or("world", |(_, name)| name);
        let visits = kv::get("visits")?
            .and_then(|bytes| String::from_utf8(bytes).ok()?.parse::<u64>().ok())
            .unwrap_or(0)
            + 1;
        kv::put("visits", visits.to_string().as_bytes(), None)?;
        log::write(log::Level::Info, &format!("visit {visits}"));
        let greeting = std::env::var("GREETING").unwrap_or_else(|_| "Hello".into());
        Ok(Response {
            status: 200,
            headers: vec![("content-type".into(), "text/plain".into())],
            body: format!("{greeting}, {name}! Visit {visits}.\n").into_bytes(),
        })
    }
}

export!(Greeter);
