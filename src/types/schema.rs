//! What programs are told of the words that are not plain numbers: their form in JSON Schema.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{CounterId, Name, PaymentHash, TokenId};

macro_rules! text {
    ($($name:ident: $pattern:literal, $what:literal;)*) => {$(
        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "description": $what })
            }
        }
    )*};
}
text! {
    PaymentHash: "^[0-9a-fA-F]{64}$", "The payment hash of a Lightning payment, in hexadecimal.";
    TokenId: "^[0-9a-fA-F]{64}$", "Names one token, in hexadecimal.";
    CounterId: "^[0-9a-fA-F]{64}$", "Names the counter of one limit, in hexadecimal.";
    Name: "^[a-z][a-z0-9_-]{0,63}$", "The name of a service or a route.";
}
