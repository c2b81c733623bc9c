//! The commented file that `tollhouse init` writes. It passes `tollhouse check` as it stands, and sells nothing: what
//! nobody wrote must not count as something to sell. Its example is the lines that begin with `#` and no space.

use bitcoin::Network;

/// A configuration file for `network`, every setting explained.
pub fn template(network: Network) -> String {
    let chain = match network {
        Network::Signet => ESPLORA.replace("{url}", "https://mempool.space/signet/api"),
        Network::Bitcoin => ESPLORA.replace("{url}", "https://mempool.space/api"),
        Network::Testnet => ESPLORA.replace("{url}", "https://mempool.space/testnet/api"),
        _ => BITCOIND.to_owned(),
    };
    let name = if network == Network::Bitcoin { "mainnet".to_owned() } else { network.to_string() };
    TEXT.replace("{network}", &name).replace("{chain}", &chain)
}

const ESPLORA: &str = r#"source = "esplora"
# The server sees your addresses: run your own where that matters.
url = "{url}"

# Or your own bitcoind:
# source = "bitcoind"
# host = "127.0.0.1"
# port = 38332
# cookie_file = "~/.bitcoin/signet/.cookie"
# … or user = "alice" and password = "…" (better: TOLLHOUSE_CHAIN_PASSWORD)"#;

const BITCOIND: &str = r#"source = "bitcoind"
host = "127.0.0.1"
port = 18443
# bitcoind writes this file at each start. Instead of it, `user` and `password` can
# stand here (the password better in TOLLHOUSE_CHAIN_PASSWORD).
cookie_file = "~/.bitcoin/regtest/.cookie"

# Or an Esplora server:
# source = "esplora"
# url = "http://127.0.0.1:3002"
# Or an Electrum server: source = "electrum", url = "tcp://127.0.0.1:50001""#;

const TEXT: &str = r#"# Tollhouse. `tollhouse check` reads this file and says what is wrong with it.
#
# Each setting is also a flag and an environment variable: gateway.listen is
# --gateway-listen and TOLLHOUSE_GATEWAY_LISTEN. A flag wins over a variable, and a
# variable wins over this file.

# regtest, signet, testnet or mainnet (real money: `tollhouse run` goes through a list first).
network = "{network}"

# Keys, channels and the ledger. Default: ~/.local/share/tollhouse
# data_dir = "/var/lib/tollhouse"

# error, warn, info, debug, or a filter such as "info,tollhouse::proxy=debug".
# log = "info"

# Services may stand in a file of their own: [[service]] blocks as below. It is read again
# on SIGHUP, and the services that it names are edited there alone.
# services_file = "services.toml"

[gateway]
# Where customers' requests arrive: HTTP/1 and HTTP/2. Give it a certificate, or put a TLS
# proxy in front of it.
listen = "0.0.0.0:8402"
# PEM files: the certificate with its chain, and its key. Read again on SIGHUP.
# tls = { cert = "/etc/tollhouse/fullchain.pem", key = "/etc/tollhouse/privkey.pem" }
# The address that customers use, when something stands in front.
# public_url = "https://api.example.com"
# Proxies in front, by address or network: from them, and only from them, X-Forwarded-For, -Proto and
# -Host are believed. forwarded_by = "forwarded" reads the header Forwarded in their place.
# trusted_proxies = ["127.0.0.1"]
# Whether their connections begin with a header of the PROXY protocol: off, v1, v2 or any.
# proxy_protocol = "off"
# How often one network (IPv4 /24, IPv6 /48) and all together may ask without paying, and come with
# credentials that are not good. "off" lifts a limit.
# limits = { challenges = "600 per minute", all_challenges = "60000 per minute", failures = "120 per minute", all_failures = "12000 per minute" }
# A token with a condition that is not known here: "deny", for who narrowed it meant something by it, or
# "skip", as the L402 specification has it.
# unknown_caveats = "deny"

[admin]
# The operator's page and API. Keep it on this machine.
listen = "127.0.0.1:8403"
# Further host names that it answers to, for a proxy or a tunnel in front.
# allowed_hosts = ["tollhouse.internal"]

# Where another proxy asks whether to let a request through (Caddy's forward_auth, Traefik's
# ForwardAuth, Envoy's ext_authz). It shows a key: tollhouse keys add --label caddy --scope forward_auth
# [forward_auth]
# listen = "127.0.0.1:8404"

# What opens the seed at the start. Without either, a passphrase is asked for at the terminal, or the
# appliance starts locked and waits for `tollhouse unlock`. (Test networks make a key file beside the seed.)
[unlock]
# A file or descriptor whose first line is the passphrase, such as /dev/fd/3. systemd's credential
# "tollhouse-passphrase" is found by itself.
# passphrase_file = "/run/secrets/tollhouse"
# A file with a key, for a machine that starts by itself: whoever copies it and the seed has the coins.
# key_file = "/media/stick/tollhouse.key"

[lightning]
# Where other nodes connect.
listen = ["0.0.0.0:9735"]
# The name that other nodes see, at most 32 bytes.
# alias = "my tollhouse"
# Public keys of peers whose channels need no coins kept in reserve.
# trusted_peers_no_reserve = []

# The recovery snapshot, with which channels' coins come home after this disk is lost. A second copy of it goes
# to a directory on another disk or machine; what is in it is sealed under the seed.
[snapshot]
# dir = "/mnt/other-disk"

# Where blocks come from.
[chain]
{chain}

# Or several in place of one, the preferred one first: when it does not answer for give_up_after the node is
# built anew on the next one that does, and returns when the first has answered for return_after.
# sources = ["bitcoind://127.0.0.1:8332?cookie_file=~/.bitcoin/.cookie", "electrum+ssl://electrum.example:50002", "esplora+https://esplora.example/api"]
# give_up_after = "2m"
# return_after = "15m"
# Without news of the chain for so long, nothing is sold.
# stale_after = "1h"

# Where the map of channels comes from: p2p, or rapid_sync with a url.
[gossip]
source = "p2p"

# Copies of the ledger and of the tokens' keys, sealed: the seed words alone open them. Best on another disk,
# or one that is carried away. Without a directory none are made.
[backup]
# dir = "/mnt/backup/tollhouse"
# every = "1d"
# keep = 14

# Exchange rates, for prices in a currency. Nobody is asked while all prices are in sats and no
# currency is to be displayed.
[rates]
# A rate is the median of sources that agree; at least two must. Default: three exchanges, for USD.
# sources = [{ name = "one", url = "https://api.example.com/ticker", pointer = "/data/amount", currency = "EUR" }, { name = "two", url = "https://example.org/btc", pointer = "/last", currency = "EUR" }]
# Or simply: one bitcoin costs this much. For tests; it asks nobody and never grows old.
# fixed = { USD = "64000" }
# The currency whose rate is kept with each payment and shown beside it. Without it, one that a price needs anyway.
# display = "USD"
# How often they are asked, and how old a rate may be that is sold at.
# refresh = "1m"
# max_age = "15m"
# How far sources may differ, and how far a rate may move before more polls must confirm it.
# max_step_percent = 5

# From when on something is an alarm: an event with a code, and what to do about it (tollhouse doctor).
[alarms]
# chain_stale = "10m"
# fees_stale = "2h"
# peers_offline = "3m"
# What can be received, in sales at the highest price.
# receivable_sales = 10
# disk_free = "1 GiB"
# clock_skew = "2m"
# monitor_size = "8 MiB"
# backup_age = "2 days"
# snapshot_age = "10m"

# Paying out asks the servers of Lightning addresses for invoices: on this machine and in private networks
# only when you say so.
[payouts]
# allow_private = false

# What the appliance keeps up by itself; off by default. Paying out over Lightning is what makes room to
# receive; splicing out takes earned coins on-chain and leaves receivable as it was.
[rules]
# pay_out = { to = "me@example.com", below_sat = 200000, until_sat = 1000000, per_day_sat = 2000000, max_fee_ppm = 10000 }
# splice_out = { to = "vault", above_sat = 5000000, keep_sat = 1000000, per_day_sat = 10000000 }

# One API behind the gate. Repeat the block for each; or put it on sale on the page, under First steps.
# What follows is an example, and sells nothing: remove the # at the beginning of a line to use it.
#[[service]]
#name = "example"
# The requests that it answers to: a host (default: any) and a path with all below it.
# host = "api.example.com"
#path = "/v1"
# Where paid requests go; a path here is put before the request's own. h2c:// is HTTP/2
# without TLS, for gRPC.
#upstream = "http://127.0.0.1:9000"
# Taken off the front of the request's path first.
# strip_prefix = "/v1"
# The Host header that the upstream gets. Default: the upstream's own.
# upstream_host = "internal.example.com"
# Headers that the upstream gets, such as its own API key.
# upstream_headers = { Authorization = { env = "UPSTREAM_KEY", prefix = "Bearer " }, X-Plan = "gold" }
# "50 sat", "250 msat", "0.002 USD" or "free".
#price = "50 sat"
# What to sell at when there is no exchange rate; without it nothing is sold meanwhile.
# fallback = "60 sat"
# What a buyer may choose; the first is the default.
# offers = ["request", { pack = 100, price = "4000 sat" }, { pass = "1 day", price = "9000 sat" }]
# Requests that cost nothing: so many in a time, by "ip" or for "everyone" together.
# free = { requests = 20, per = "day", by = "ip" }
# Answers that give the unit back.
# restore_on = ["5xx", "404"]
# In which dialects the 402 says the price: add "lsat" for clients from before L402.
# dialects = ["l402", "payment"]
# on, off, or shadow: everything passes, and what it would have cost is counted.
# mode = "on"

# Exceptions. What a route leaves out it has from its service. The path is as the client sends it:
# /v1/files/* is all below /v1/files, and in /v1/users/{id} the braces are any one segment.
#[[service.route]]
#path = "/v1/health"
#price = "free"

# [[service.route]]
# name = "upload"
# method = "POST"
# path = "/v1/files/*"
# price = "200 sat"
"#;
