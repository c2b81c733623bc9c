//! The part of bitcoind's JSON-RPC that LDK Node uses, over the in-box chain.
